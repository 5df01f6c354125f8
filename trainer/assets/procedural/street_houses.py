"""Houses: the front, with the door, to -y; the middle of the front's lower edge at the origin, so that a row of them
stands on a line. Metres, on z = 0."""

from dataclasses import dataclass

import numpy as np

from trainer.assets.procedural.blocks import block, hexahedron, panel
from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined

Parts = list[tuple[Shape, Surface | None]]

WALLS = ("#e8e0cf", "#d9b98a", "#c8c4bb", "#b5694a", "#efe9dc", "#cfd6d4", "#a85f45", "#e3c9a3", "#8f8a80")
ROOFS = ("#8a3f2b", "#5b4640", "#3f4347", "#9c5136", "#6e6259")
DOORS = ("#5a3a22", "#2f4a3a", "#7a1f1f", "#33383d")
_GLASS = Surface(linear("#2c363d"), roughness=0.1)
_STOREY_M, _PLINTH_M = 2.9, 0.4
#: Windows and doors lie so far before the wall: walls have no holes.
_PROUD_M = 0.03


@dataclass(frozen=True)
class House:
    """The look of a house."""

    width: float
    depth: float
    storeys: int
    #: "gable" (ridge along the street), "front-gable" (across it), "hip" or "flat".
    roof: str
    wall: str
    tiles: str
    door: str
    frame: str = "#f3f1ea"
    chimney: bool = True


def house(look: House) -> Parts:
    """Return a house with windows on all four sides."""
    half, eaves = look.width / 2, _PLINTH_M + look.storeys * _STOREY_M
    walls = [block((-half, half), (0.0, look.depth), (0.0, eaves))]
    roof, ridge = _roof(look, half, eaves)
    if look.roof in ("gable", "front-gable"):
        walls.append(_gables(look, half, eaves, ridge))
    if look.chimney and look.roof != "flat":
        x, y = half * 0.5, look.depth * 0.62
        walls.append(block((x - 0.35, x + 0.35), (y - 0.35, y + 0.35), (eaves, ridge + 0.5)))
    glass: list[Shape] = []
    frames: list[Shape] = []
    for length, (x, y, angle) in _sides(look, half):
        count = max(1, int(length // 2.6))
        windows = [
            ((column + 0.5 - count / 2) * length / count, _PLINTH_M + storey * _STOREY_M + 0.85)
            for storey in range(look.storeys)
            for column in range(count)
            # The front's middle is the door's place.
            if (angle, storey, column) != (0, 0, count // 2)
        ]
        if windows:
            around = [_before_wall(at, 1.36, z - 0.08, 1.56, 0.6) for at, z in windows]
            panes = [_before_wall(at + side * 0.31, 0.54, z, 1.4, 1.0) for at, z in windows for side in (-1, 1)]
            frames.append(joined(around).turned("z", angle).moved(x, y))
            glass.append(joined(panes).turned("z", angle).moved(x, y))
    count = max(1, int(look.width // 2.6))
    at = (count // 2 + 0.5 - count / 2) * look.width / count
    doors = _before_wall(at, 1.1, 0.12, 2.2, 1.0)
    frames.append(_before_wall(at, 1.4, 0.1, 2.4, 0.6))
    steps = block((at - 0.8, at + 0.8), (-0.5, 0.02), (0.0, 0.14))
    plinth = block((-half - 0.02, half + 0.02), (-0.02, look.depth + 0.02), (0.0, _PLINTH_M - 0.1))
    return [
        (joined(walls), Surface(linear(look.wall), roughness=0.9)),
        (roof, Surface(linear(look.tiles), roughness=0.9)),
        (joined(frames), Surface(linear(look.frame), roughness=0.7)),
        (joined(glass), _GLASS),
        (doors, Surface(linear(look.door), roughness=0.6)),
        (joined([plinth, steps]), Surface(linear("#77736c"), roughness=0.9)),
    ]


def _sides(look: House, half: float) -> list[tuple[float, tuple[float, float, int]]]:
    """Return the length of each wall, the x and y of its centre, and the angle from the front wall to it."""
    return [
        (look.width, (0.0, 0.0, 0)),
        (look.depth, (half, look.depth / 2, 90)),
        (look.width, (0.0, look.depth, 180)),
        (look.depth, (-half, look.depth / 2, -90)),
    ]


def _before_wall(at: float, width: float, bottom: float, height: float, proud: float) -> Shape:
    """Return a rectangle before the front wall. `proud` is its distance, as a fraction of the largest one."""
    y = -_PROUD_M * proud
    left, right, top = at - width / 2, at + width / 2, bottom + height
    return panel([(left, y, bottom), (right, y, bottom), (right, y, top), (left, y, top)])


def _roof(look: House, half: float, eaves: float) -> tuple[Shape, float]:
    """Return the roof, and the height of its ridge."""
    over, depth = 0.35, look.depth
    if look.roof == "flat":
        top = eaves + 0.35
        return block((-half - 0.1, half + 0.1), (-0.1, depth + 0.1), (eaves - 0.1, top)), top
    span = look.width if look.roof == "front-gable" else depth
    ridge = eaves + span / 2 * np.tan(np.deg2rad(38))
    below = [
        (-half - over, -over, eaves - 0.1),
        (half + over, -over, eaves - 0.1),
        (half + over, depth + over, eaves - 0.1),
        (-half - over, depth + over, eaves - 0.1),
    ]
    middle = depth / 2
    if look.roof == "gable":
        ends = [(-half - over, middle), (half + over, middle), (half + over, middle), (-half - over, middle)]
    elif look.roof == "front-gable":
        ends = [(0.0, -over), (0.0, -over), (0.0, depth + over), (0.0, depth + over)]
    else:
        inset = min(depth, look.width) / 2
        left, right = min(-half + inset, 0.0), max(half - inset, 0.0)
        ends = [(left, middle), (right, middle), (right, middle), (left, middle)]
    # A hair apart, so that every side has a normal.
    near = 0.02
    ridges = [
        (x + (near if look.roof == "front-gable" and i in (1, 2) else 0.0), y + (near if i > 1 else 0.0), ridge)
        for i, (x, y) in enumerate(ends)
    ]
    if look.roof == "hip":
        ridges = [(x + (near if i in (1, 2) else 0.0), y, z) for i, (x, y, z) in enumerate(ridges)]
    return hexahedron(below + ridges), ridge


def _gables(look: House, half: float, eaves: float, ridge: float) -> Shape:
    """Return the gables: triangles of wall as high as the roof, slightly before its ends."""
    lower = ridge - 0.12
    if look.roof == "gable":
        corners = [(-half, 0.0), (half, 0.0), (half, look.depth), (-half, look.depth)]
        middle = look.depth / 2
        top = [(-half, middle - 0.01), (half, middle - 0.01), (half, middle + 0.01), (-half, middle + 0.01)]
    else:
        corners = [(-half, 0.0), (half, 0.0), (half, look.depth), (-half, look.depth)]
        top = [(-0.01, 0.0), (0.01, 0.0), (0.01, look.depth), (-0.01, look.depth)]
    return hexahedron([(x, y, eaves) for x, y in corners] + [(x, y, lower) for x, y in top])
