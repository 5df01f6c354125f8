"""Traffic signs, traffic lights and street lamps, in metres, on z = 0. They face a viewer who looks along +x."""

import math

from trainer.assets.procedural.blocks import block
from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import extruded, tube, turned

Parts = list[tuple[Shape, Surface | None]]
Outline = list[tuple[float, float]]
#: What is painted on a sign, from its ground to its topmost layer: colours and outlines.
Layers = list[tuple[str, Outline]]

SIGNS = ("speed-limit", "no-entry", "warning", "stop", "parking", "priority", "crossing", "traffic-light")
_STEEL = Surface(linear("#8d9296"), roughness=0.5)
_BACK = Surface(linear("#7c8185"), roughness=0.6)
_COLORS = {"red": "#b5121b", "white": "#f2f2ee", "blue": "#1d4f9c", "yellow": "#f0b81b", "black": "#151515"}


def sign(kind: str) -> Parts:
    """Return a sign of `SIGNS` on its post."""
    if kind == "traffic-light":
        return _traffic_light()
    middle, layers = 2.35, _layers()[kind]
    parts: Parts = [
        (turned([(0.035, 0.0), (0.035, middle + 0.3)], 7), _STEEL),
        (_plate(layers[0][1], -0.05, 0.02).moved(z=middle), _BACK),
    ]
    for place, (color, outline) in enumerate(layers):
        face = _plate(outline, -0.062 - 0.008 * place, 0.006).moved(z=middle)
        parts.append((face, Surface(linear(_COLORS[color]), roughness=0.4)))
    return parts


def lamp(height: float, reach: float, color: str = "#5f666b") -> Parts:
    """Return a street lamp, switched off, whose arm reaches over the road to +y."""
    bend = [(0.0, reach * (1 - math.cos(a)), height - 0.6 + 0.6 * math.sin(a)) for a in (0.0, 0.5, 1.0, math.pi / 2)]
    pole = turned([(0.09, 0.0), (0.09, 1.0), (0.055, height - 0.6)], 8)
    head = block((-0.13, 0.13), (reach - 0.05, reach + 0.6), (height - 0.06, height + 0.06))
    glass = block((-0.1, 0.1), (reach, reach + 0.5), (height - 0.09, height - 0.06))
    steel = Surface(linear(color), roughness=0.5)
    return [(joined([pole, tube(bend, 0.045, 7), head]), steel), (glass, Surface(linear("#e8e6dc"), roughness=0.3))]


def _traffic_light() -> Parts:
    box = block((-0.12, 0.12), (-0.15, 0.15), (2.2, 3.1))
    pole = turned([(0.06, 0.0), (0.06, 2.25)], 8)
    parts: Parts = [(pole, _STEEL), (box, Surface(linear("#1b1f1d"), roughness=0.6))]
    for z, color in ((2.93, "#5b1512"), (2.65, "#5c4a12"), (2.37, "#19b35a")):
        parts.append((_plate(_polygon(12, 0.1), -0.125, 0.01).moved(z=z), Surface(linear(color), roughness=0.3)))
    return parts


def _plate(outline: Outline, x: float, thick: float) -> Shape:
    """Return a flat shape at an x from its outline (right, up) as seen along +x."""
    # Outlines of solids lie in the xz plane for who looks along +y.
    return extruded(outline, thick).turned("z", -90).moved(x=x)


def _polygon(corners: int, radius: float, first_deg: float = 90.0) -> Outline:
    angles = [math.radians(first_deg + 360 * corner / corners) for corner in range(corners)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _rectangle(width: float, height: float, x: float = 0.0) -> Outline:
    left, right, low, high = x - width / 2, x + width / 2, -height / 2, height / 2
    return [(left, low), (right, low), (right, high), (left, high)]


def _layers() -> dict[str, Layers]:
    figures = [("black", _rectangle(0.1, 0.2, x)) for x in (-0.08, 0.08)]
    return {
        "speed-limit": [("red", _polygon(20, 0.32)), ("white", _polygon(20, 0.24)), *figures],
        "no-entry": [("red", _polygon(20, 0.32)), ("white", _rectangle(0.44, 0.12))],
        "warning": [("red", _polygon(3, 0.48)), ("white", _polygon(3, 0.32)), ("black", _rectangle(0.06, 0.22))],
        "stop": [("red", _polygon(8, 0.4, 22.5)), ("white", _rectangle(0.5, 0.16))],
        "parking": [
            ("blue", _rectangle(0.6, 0.6)),
            ("white", _rectangle(0.1, 0.4, -0.1)),
            ("white", _polygon(8, 0.12)),
        ],
        "priority": [("white", _polygon(4, 0.45)), ("yellow", _polygon(4, 0.32))],
        "crossing": [("blue", _rectangle(0.6, 0.6)), ("white", _polygon(3, 0.26)), ("black", _rectangle(0.06, 0.16))],
    }
