"""Parts of household objects, in metres. Each stands on z = 0 with its front to -y; all of its sides look different."""

import math

import numpy as np

from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.prints import Print, sheet
from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import WHOLE, box, ellipsoid, extruded, tube, turned

Parts = list[tuple[Shape, Surface | None]]

_SEGMENTS = 40


def cereal_box() -> Parts:
    """Return a box of oats, 12 x 5.5 x 17 cm, with a different print on each side."""
    size = 48, 64
    front = Print(*size, "#d8262c")
    front.ellipse(0.5, 0.68, 0.84, 0.46, "#ffd23f")
    front.ellipse(0.5, 0.64, 0.6, 0.26, "#fff6dd")
    front.text(0.5, 0.22, "OATS", 0.2, "#ffffff")
    right = Print(*size, "#1f7a3d")
    for row in range(4):
        right.rectangle(0.15, 0.14 + 0.2 * row, 0.85, 0.24 + 0.2 * row, "#f2f0dc")
    back = Print(*size, "#2456a6")
    back.rectangle(0.0, 0.0, 1.0, 0.3, "#f6f4ea")
    back.star(0.5, 0.65, 0.62, 0.48, "#ffd23f")
    back.text(0.5, 0.15, "WIN", 0.13, "#2456a6")
    left = Print(*size, "#f08a24")
    left.ellipse(0.5, 0.3, 0.7, 0.4, "#5a2d0c")
    left.rectangle(0.15, 0.64, 0.85, 0.84, "#fff6dd")
    top = Print(*size, "#a51b20")
    top.rectangle(0.0, 0.4, 1.0, 0.6, "#ffd23f")
    bottom = Print(*size, "#b9a586")
    print_, cells = sheet([side.image() for side in (front, right, back, left, top, bottom)], 3)
    return [(box(0.12, 0.055, 0.17, cells), Surface(texture=print_, roughness=0.6))]


def mug() -> Parts:
    """Return a mug, 8.6 cm wide and 9.5 cm high: handle to +x, a heart in front, a star behind, rings on the left."""
    outside = Print(160, 56, "#2a9fb8")
    # u runs from the back (0) by the left (0.25), the front (0.5) and the right, with the handle, to the back.
    outside.rectangle(0.19, 0.0, 0.31, 1.0, "#fff6dd")
    outside.rectangle(0.225, 0.0, 0.275, 1.0, "#e4572e")
    outside.heart(0.5, 0.52, 0.19, 0.66, "#d7263d")
    for end in (0.0, 1.0):
        outside.star(end, 0.52, 0.2, 0.74, "#ffd23f")
    outside.rectangle(0.0, 0.0, 1.0, 0.09, "#123b52")
    radius, height, wall = 0.043, 0.095, 0.004
    handle = [
        (radius - 0.002 + 0.031 * math.sin(angle), 0.0, 0.049 + 0.029 * math.cos(angle))
        for angle in np.linspace(0.0, math.pi, 11)
    ]
    inside = turned(
        [(radius, height), (radius - wall, height), (radius - wall, 0.012), (0.0, 0.012)],
        _SEGMENTS,
    )
    glaze = Surface(color=linear("#f4ecd8"), roughness=0.35)
    return [
        (turned([(radius, 0.0), (radius, height)], _SEGMENTS), Surface(texture=outside.image(), roughness=0.35)),
        (joined([inside, turned([(0.0, 0.0), (radius, 0.0)], _SEGMENTS)]), glaze),
        (tube(handle, 0.0062), Surface(color=linear("#123b52"), roughness=0.35)),
    ]


def bottle() -> Parts:
    """Return a flat bottle of washing-up liquid, 8.6 x 5.6 x 21 cm: labels in front and behind, spout to +x."""
    print_ = Print(144, 88, "#3fae49")
    print_.rectangle(0.31, 0.34, 0.69, 0.92, "#fff9e6")
    print_.ellipse(0.5, 0.72, 0.17, 0.32, "#f7c600")
    print_.text(0.5, 0.45, "LEMON", 0.13, "#1d6b2a")
    for left, right in ((0.0, 0.17), (0.83, 1.0)):
        print_.rectangle(left, 0.34, right, 0.92, "#1b4fa0")
    for row in range(3):
        for left, right in ((0.0, 0.12), (0.88, 1.0)):
            print_.rectangle(left, 0.42 + 0.16 * row, right, 0.5 + 0.16 * row, "#f3f3f3")
    body = [(0.04, 0.0), (0.043, 0.006), (0.043, 0.1), (0.041, 0.12), (0.034, 0.137), (0.022, 0.148)]
    base = [(0.0, 0.0), (0.04, 0.0)]
    neck = [(0.022, 0.148), (0.0155, 0.153), (0.0155, 0.165)]
    cap = [(0.017, 0.161), (0.017, 0.183), (0.012, 0.19), (0.0065, 0.194), (0.0065, 0.2), (0.0, 0.2)]
    spout = tube([(0.0, 0.0, 0.196), (0.012, 0.0, 0.2), (0.026, 0.0, 0.206)], 0.005)
    tip = ellipsoid(0.0115, 0.0115, 0.0115, 12, 6).moved(x=0.027, z=0.2065)
    red = Surface(color=linear("#d7263d"), roughness=0.4)
    return [
        (turned(body, _SEGMENTS).scaled(1.0, 0.65, 1.0), Surface(texture=print_.image(), roughness=0.4)),
        (
            joined([turned(base), turned(neck, 24)]).scaled(1.0, 0.65, 1.0),
            Surface(color=linear("#3fae49"), roughness=0.4),
        ),
        (joined([turned(cap, 24), spout, tip]), red),
    ]


def duck() -> Parts:
    """Return a rubber duck, 13 x 9 x 12 cm, facing -y: a sailor's collar, wings of different colours."""
    yellow = Surface(color=linear("#ffc91f"), roughness=0.4)
    orange = Surface(color=linear("#f2661b"), roughness=0.4)
    # The body's lower quarter is cut off by the table.
    body = ellipsoid(0.088, 0.118, 0.084, 24, 12).moved(y=0.006, z=0.032)
    body = Shape(np.maximum(body.points, (-np.inf, -np.inf, 0.0)), body.normals, body.uvs, body.triangles)
    tail = ellipsoid(0.036, 0.05, 0.022, 10, 6).turned("x", 38).moved(y=0.064, z=0.061)
    head = ellipsoid(0.062, 0.062, 0.058, 20, 10).moved(y=-0.026, z=0.091)
    upper = ellipsoid(0.034, 0.042, 0.011, 12, 6).turned("x", 12).moved(y=-0.06, z=0.088)
    lower = ellipsoid(0.028, 0.03, 0.009, 10, 6).turned("x", -8).moved(y=-0.056, z=0.081)
    collar = turned([(0.024, 0.0), (0.037, -0.003), (0.039, 0.004), (0.027, 0.013)], 24)
    wing = ellipsoid(0.016, 0.066, 0.042, 14, 8).turned("x", -14)
    eyes = [ellipsoid(0.011, 0.011, 0.014, 8, 6).moved(side * 0.019, -0.0475, 0.102) for side in (-1, 1)]
    return [
        (joined([body, tail, head]), yellow),
        (joined([upper, lower]), orange),
        (collar.turned("x", 14).moved(y=-0.022, z=0.063), Surface(color=linear("#1f55b5"), roughness=0.6)),
        (wing.moved(x=-0.042, y=0.012, z=0.042), Surface(color=linear("#2f9e44"), roughness=0.5)),
        (wing.moved(x=0.042, y=0.012, z=0.042), Surface(color=linear("#c92a6a"), roughness=0.5)),
        (joined(eyes), Surface(color=linear("#141414"), roughness=0.2)),
    ]


def drill() -> Parts:
    """Return a cordless drill, 20 x 6 x 17 cm: on its battery, pointing to +x, a badge on each side."""
    housing = [(-0.062, 0.112), (0.052, 0.112), (0.052, 0.158), (0.04, 0.166), (-0.05, 0.166), (-0.066, 0.15)]
    grip = [(-0.05, 0.034), (-0.012, 0.034), (0.0, 0.075), (0.008, 0.114), (-0.046, 0.114)]
    trigger = [(0.003, 0.078), (0.017, 0.084), (0.02, 0.11), (0.0, 0.114)]
    badges = [Print(56, 24, "#0e8f8a"), Print(56, 24, "#0e8f8a")]
    badges[0].rectangle(0.1, 0.24, 0.82, 0.76, "#ffe14d")
    badges[0].text(0.46, 0.5, "20V", 0.36, "#1c1c1c")
    badges[1].rectangle(0.1, 0.24, 0.82, 0.76, "#f4f4f4")
    badges[1].star(0.46, 0.5, 0.26, 0.48, "#d7263d")
    depth = 0.056
    body = extruded(housing, depth)
    black, steel = (
        Surface(color=linear(color), roughness=roughness) for color, roughness in (("#26282b", 0.6), ("#9aa0a6", 0.35))
    )
    chuck = turned([(0.0, 0.0), (0.023, 0.0), (0.023, 0.016), (0.013, 0.04), (0.0, 0.042)], 24)
    bit = turned([(0.0035, 0.0), (0.0035, 0.026), (0.0, 0.032)], 10)
    plates = []
    for side, badge in ((-1, badges[0]), (1, badges[1])):
        plate = box(0.1, 0.002, 0.042, (WHOLE,) * 6).moved(y=-depth / 2)
        plate = plate if side < 0 else plate.turned("z", 180)
        plates.append((plate.moved(x=-0.006, z=0.118), Surface(texture=badge.image(), roughness=0.5)))
    parts: Parts = [
        (body, Surface(color=linear("#0e8f8a"), roughness=0.5)),
        (extruded(grip, 0.036), black),
        (extruded(trigger, 0.018), Surface(color=linear("#d7263d"), roughness=0.5)),
        (box(0.095, 0.06, 0.036).moved(x=-0.03), black),
        (box(0.097, 0.062, 0.008).moved(x=-0.03, z=0.012), Surface(color=linear("#ffe14d"), roughness=0.5)),
        (chuck.turned("y", 90).moved(x=0.052, z=0.138), black),
        (bit.turned("y", 90).moved(x=0.09, z=0.138), steel),
        *plates,
    ]
    return [(shape.moved(x=-0.022), surface) for shape, surface in parts]
