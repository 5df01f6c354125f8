"""Cars, vans and trucks: x forward, y to the left, standing on z = 0, the middle of their length at x = 0; metres.

Of some hundred triangles each: painted bodies with wheel arches, glass, pillars, wheels, lights, number plates. Sizes
are those of usual European models.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from trainer.assets.procedural.blocks import bar, block, mirrored, tapered
from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import extruded, turned

Parts = list[tuple[Shape, Surface | None]]

#: As common as they are on European roads, roughly: three in four are white, grey or black.
PAINTS = (
    "#e9eaea",
    "#f2f1ec",
    "#c3c6c8",
    "#9fa4a8",
    "#6d7277",
    "#3d4145",
    "#17181a",
    "#222529",
    "#1f3a6e",
    "#4a6f96",
    "#a3171c",
    "#c9b79a",
    "#234a35",
)
_GLASS = Surface(linear("#1d262c"), roughness=0.1)
_RUBBER = Surface(linear("#1b1b1c"), roughness=0.9)
_RIM = Surface(linear("#a9adb1"), roughness=0.4)
_TRIM = Surface(linear("#222427"), roughness=0.7)
_LAMP = Surface(linear("#f3f4ee"), roughness=0.15)
_TAIL = Surface(linear("#c1121f"), roughness=0.25)
_PLATE = Surface(linear("#f4f4ec"), roughness=0.6)
_SPOKES = 14


@dataclass(frozen=True)
class Body:
    """The side view of a body: x from the front bumper backwards as fractions of the length, heights in metres."""

    length: float
    width: float
    height: float
    #: Where the bonnet meets the windscreen, the roof begins and ends, and the rear window meets the body.
    windscreen: float
    roof_front: float
    roof_rear: float
    rear_window: float
    #: Heights of the bonnet's front edge, the belt line under the windows, and the tail's upper edge.
    nose: float
    belt: float
    tail: float
    clearance: float = 0.19
    wheel: float = 0.31
    #: Where the axles are.
    front_axle: float = 0.19
    rear_axle: float = 0.79
    #: How much narrower the roof is than the body, on each side.
    lean: float = 0.17
    #: Windows behind the front doors; vans for goods have none.
    rear_windows: bool = True


BODIES: Mapping[str, Body] = MappingProxyType(
    {
        "hatchback": Body(3.95, 1.70, 1.48, 0.27, 0.43, 0.86, 0.975, 0.72, 0.92, 0.95, rear_axle=0.83),
        "sedan": Body(4.55, 1.79, 1.45, 0.28, 0.42, 0.68, 0.84, 0.70, 0.92, 0.99),
        "estate": Body(4.65, 1.80, 1.48, 0.27, 0.41, 0.90, 0.975, 0.70, 0.92, 0.95),
        "suv": Body(4.50, 1.86, 1.69, 0.25, 0.38, 0.88, 0.975, 0.88, 1.07, 1.10, clearance=0.24, wheel=0.36),
        "minivan": Body(4.40, 1.80, 1.66, 0.18, 0.36, 0.90, 0.985, 0.78, 1.00, 1.02, clearance=0.2),
    }
)
VANS: Mapping[str, Body] = MappingProxyType(
    {
        "van": Body(5.20, 1.95, 2.15, 0.15, 0.27, 0.985, 0.995, 0.95, 1.22, 1.22, lean=0.12, wheel=0.34),
        "panel-van": Body(
            5.60, 2.00, 2.45, 0.15, 0.26, 0.99, 0.995, 0.95, 1.25, 1.25, lean=0.1, wheel=0.35, rear_windows=False
        ),
    }
)


def car(body: Body, paint: str) -> Parts:
    """Return a passenger car or a van."""
    painted = Surface(linear(paint), roughness=0.35)
    b, half = body, body.width / 2
    under_window, roof = half - 0.03, half - b.lean
    x = {name: _along(b, getattr(b, name)) for name in ("windscreen", "roof_front", "roof_rear", "rear_window")}
    glass_top = b.height - 0.05
    cabin = tapered(
        (x["rear_window"], x["windscreen"], -under_window, under_window),
        b.belt - 0.02,
        (x["roof_rear"], x["roof_front"], -roof, roof),
        glass_top,
    )
    roof_panel = tapered(
        (x["roof_rear"] - 0.06, x["roof_front"] + 0.06, -roof - 0.03, roof + 0.03),
        b.height - 0.1,
        (x["roof_rear"] + 0.05, x["roof_front"] - 0.12, -roof + 0.07, roof - 0.07),
        b.height,
    )
    pillars = [
        pillar
        for at_belt, at_roof, thick in _pillars(x)
        for pillar in mirrored(bar((at_belt, under_window, b.belt - 0.02), (at_roof, roof, glass_top), thick, 0.03))
    ]
    lower = [_lower_body(b), *pillars, roof_panel]
    if not b.rear_windows:
        behind = x["windscreen"] - 0.36 * (x["windscreen"] - x["rear_window"])
        lower.append(
            tapered(
                (x["rear_window"] - 0.01, behind, -under_window - 0.012, under_window + 0.012),
                b.belt - 0.02,
                (x["roof_rear"] - 0.02, behind, -roof - 0.03, roof + 0.03),
                b.height - 0.06,
            )
        )
    parts: Parts = [(joined(lower), painted), (cabin, _GLASS)]
    return parts + _wheels(b.wheel, half, (_along(b, b.front_axle), _along(b, b.rear_axle))) + _details(b)


def pickup(paint: str) -> Parts:
    """Return a pick-up truck: a cabin in front, an open bed behind."""
    b = Body(5.20, 1.86, 1.78, 0.26, 0.36, 0.56, 0.60, 0.95, 1.10, 1.02, clearance=0.28, wheel=0.38)
    bed = block((_along(b, 0.97), _along(b, 0.64)), (-0.78, 0.78), (1.0, 1.03))
    return [*car(b, paint), (bed, _TRIM)]


def truck(paint: str, cargo: str, length: float, height: float) -> Parts:
    """Return a rigid truck: a cab over the engine and a cargo box."""
    half, cab_length = 1.22, 1.9
    front, rear = length / 2, -length / 2
    cab_rear = front - cab_length
    nose = front - 0.04
    cab = tapered((cab_rear, front, -half, half), 0.55, (cab_rear, nose, -half, half), 1.55)
    head = tapered((cab_rear, nose, -half, half), 1.55, (cab_rear, front - 0.3, 0.06 - half, half - 0.06), 2.75)
    behind = front - 0.5
    windscreen = tapered(
        (behind, front - 0.025, 0.1 - half, half - 0.1), 1.6, (behind, front - 0.2, 0.14 - half, half - 0.14), 2.4
    )
    windows = tapered(
        (cab_rear + 0.35, front - 0.25, -half - 0.01, half + 0.01),
        1.6,
        (cab_rear + 0.4, front - 0.42, 0.035 - half, half - 0.035),
        2.35,
    )
    box = block((rear, cab_rear - 0.12), (-half - 0.03, half + 0.03), (1.05, height))
    chassis = block((rear + 0.1, cab_rear + 0.1), (-0.5, 0.5), (0.6, 1.05))
    guards = mirrored(block((rear + 1.9, cab_rear - 0.3), (half - 0.15, half - 0.1), (0.5, 1.0)))
    bumper = block((front - 0.1, front + 0.03), (-half, half), (0.4, 0.75))
    lamps = mirrored(block((front - 0.05, front + 0.04), (0.75, 1.1), (0.8, 0.98)))
    tails = mirrored(block((rear - 0.03, rear + 0.05), (0.85, 1.15), (0.85, 1.0)))
    axles = (front - 1.1, rear + 1.4) if length < 8 else (front - 1.1, rear + 2.4, rear + 1.3)
    return [
        (joined([cab, head]), Surface(linear(paint), roughness=0.35)),
        (joined([windscreen, windows]), _GLASS),
        (box, Surface(linear(cargo), roughness=0.6)),
        (joined([chassis, *guards, bumper]), _TRIM),
        (joined(lamps), _LAMP),
        (joined(tails), _TAIL),
        *_wheels(0.48, half, axles, 0.3),
    ]


def _along(body: Body, part: float) -> float:
    return body.length * (0.5 - part)


def _pillars(x: Mapping[str, float]) -> list[tuple[float, float, float]]:
    """x at the belt line, x at the roof and thickness of the pillars on one side."""
    front = (x["windscreen"] - 0.04, x["roof_front"] - 0.02, 0.09)
    rear = (x["rear_window"] + 0.08, x["roof_rear"] + 0.04, 0.2)
    span = x["roof_front"] - x["roof_rear"]
    middle = [x["roof_front"] - span * part for part in ((0.42,) if span < 1.5 else (0.36, 0.74))]
    return [front, rear, *((place - 0.02, place, 0.09) for place in middle)]


def _lower_body(body: Body) -> Shape:
    """Return the body below the windows, with round wheel arches."""
    b = body
    front, rear = b.length / 2, -b.length / 2
    outline = [(rear + 0.08, b.clearance + 0.06)]
    for axle in (b.rear_axle, b.front_axle):
        outline += _arch(_along(b, axle), b.wheel, b.clearance)
    windscreen, rear_window = _along(b, b.windscreen), _along(b, b.rear_window)
    outline += [
        (front - 0.12, b.clearance),
        (front - 0.02, b.clearance + 0.12),
        (front, b.nose - 0.25),
        (front - 0.05, b.nose - 0.04),
        (front - 0.2, b.nose + 0.04),
        (windscreen, b.belt),
        (rear_window, b.tail),
        (rear + 0.04, b.tail - 0.03),
        (rear, b.tail - 0.3),
        (rear + 0.02, b.clearance + 0.2),
    ]
    shape = extruded(outline, b.width)
    # Seen from above, bumpers are rounder than doors.
    part = np.abs(shape.points[:, 0]) / (b.length / 2)
    narrower = 1 - 0.13 * np.clip((part - 0.85) / 0.15, 0, 1) ** 1.5
    points = shape.points.copy()
    points[:, 1] *= narrower
    return Shape(points, shape.normals, shape.uvs, shape.triangles)


def _arch(axle: float, wheel: float, clearance: float) -> list[tuple[float, float]]:
    radius = wheel + 0.06
    low = math.asin(min((wheel - clearance) / radius, 0.9))
    return [
        (axle - radius * math.cos(angle), wheel + radius * math.sin(angle))
        for angle in np.linspace(-low, math.pi + low, 8)
    ]


def _wheels(radius: float, half_width: float, axles: tuple[float, ...], wide: float = 0.2) -> Parts:
    """Return wheels whose outer sides lie slightly inside the body's."""
    tyre = turned([(0.0, 0.0), (radius, 0.0), (radius, wide), (radius * 0.68, wide)], _SPOKES)
    rim = turned([(radius * 0.68, wide - 0.01), (radius * 0.3, wide - 0.035), (0.0, wide - 0.02)], _SPOKES)
    parts: Parts = []
    for shape, surface in ((tyre, _RUBBER), (rim, _RIM)):
        upright = shape.turned("x", -90).moved(y=half_width - 0.02 - wide, z=radius)
        parts.append((joined([side.moved(x=axle) for axle in axles for side in mirrored(upright)]), surface))
    return parts


def _details(body: Body) -> Parts:
    """Return lights, plates, bumpers and mirrors, which stand slightly out of the body."""
    b, half = body, body.width / 2
    front, rear = b.length / 2, -b.length / 2
    side = half * 0.87
    lamps = mirrored(block((front - 0.16, front - 0.005), (side - 0.38, side - 0.02), (b.nose - 0.2, b.nose - 0.06)))
    grille = block((front - 0.1, front + 0.006), (-0.42, 0.42), (b.nose - 0.22, b.nose - 0.1))
    intake = block((front - 0.1, front + 0.004), (-0.6, 0.6), (b.clearance + 0.1, b.clearance + 0.24))
    high = b.height > 1.6
    wide, low, top = (0.15, b.tail - 0.42, b.tail - 0.04) if high else (0.34, b.tail - 0.3, b.tail - 0.12)
    tails = mirrored(block((rear - 0.008, rear + 0.16), (side - wide, side + 0.01), (low, top)))
    plates = [
        block((rear - 0.012, rear + 0.1), (-0.26, 0.26), (0.52, 0.63)),
        block((front - 0.1, front + 0.012), (-0.26, 0.26), (b.nose - 0.36, b.nose - 0.25)),
    ]
    bumper = block((rear - 0.004, rear + 0.12), (-side, side), (b.clearance + 0.1, b.clearance + 0.22))
    at = _along(b, b.windscreen) - 0.2
    mirrors = mirrored(block((at - 0.06, at + 0.06), (half - 0.13, half), (b.belt + 0.01, b.belt + 0.15)))
    return [
        (joined(lamps), _LAMP),
        (joined(tails), _TAIL),
        (joined(plates), _PLATE),
        (joined([grille, intake, bumper, *mirrors]), _TRIM),
    ]
