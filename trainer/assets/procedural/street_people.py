"""People on foot: x forward, standing on z = 0, metres. Some hundred triangles: enough for a few dozen pixels."""

from dataclasses import dataclass

from trainer.assets.procedural.blocks import hexahedron
from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import ellipsoid

Parts = list[tuple[Shape, Surface | None]]
Point = tuple[float, float, float]

SKINS = ("#e8b998", "#c98f6b", "#8d5a3b", "#f0cdb2")
HAIRS = ("#2a1d14", "#5a3d24", "#b08a55", "#15110e", "#8c8c8c")
TOPS = ("#23395b", "#8b1e2d", "#e6e1d6", "#3b3b3d", "#3f6b4c", "#c7792b", "#6b6f8a", "#d9c94a")
TROUSERS = ("#27303f", "#1e1e20", "#5c5347", "#8a8378", "#394b63")


@dataclass(frozen=True)
class Person:
    """The clothes and the pose of a person."""

    height: float
    #: 0: standing; up to about 0.3: how far each foot is ahead of or behind the body, in m.
    stride: float
    skin: str
    hair: str
    top: str
    trousers: str
    #: A coat that reaches to the knees.
    coat: bool = False
    bag: bool = False


def person(who: Person) -> Parts:
    """Return a standing or walking person with the proportions of an adult of 1.75 m."""
    s = who.stride
    hip, shoulder = 0.9, 1.45
    legs, shoes, arms, hands = [], [], [], []
    for side, ahead in ((1, s), (-1, -s)):
        foot = (ahead, 0.1 * side, 0.06 + abs(min(ahead, 0)) * 0.25)
        # The knee of the leg behind bends.
        knee = (ahead * 0.55 + 0.05, 0.1 * side, 0.5)
        legs += [_limb((0.0, 0.09 * side, hip), knee, 0.085, 0.065), _limb(knee, foot, 0.065, 0.045)]
        shoes.append(ellipsoid(0.27, 0.1, 0.11, 8, 4).moved(foot[0] + 0.06, foot[1], foot[2] - 0.005))
        elbow = (-ahead * 0.45 - 0.03, 0.25 * side, 1.15)
        hand = (-ahead * 0.8 + 0.06, 0.24 * side, 0.88)
        arms += [_limb((0.0, 0.2 * side, shoulder - 0.03), elbow, 0.06, 0.05), _limb(elbow, hand, 0.05, 0.035)]
        hands.append(ellipsoid(0.09, 0.06, 0.13, 6, 4).moved(hand[0] + 0.01, hand[1], hand[2] - 0.05))
    torso = [
        _trunk(0.1, 0.16, hip - 0.06, 0.12, 0.17, 1.1),
        _trunk(0.12, 0.17, 1.1, 0.11, 0.22, shoulder - 0.05),
        _trunk(0.11, 0.22, shoulder - 0.05, 0.06, 0.09, shoulder + 0.06),
    ]
    if who.coat:
        torso.append(_trunk(0.17 + s * 0.4, 0.2, 0.55, 0.12, 0.17, hip + 0.05))
    head = [ellipsoid(0.2, 0.16, 0.25, 10, 6).moved(0.02, 0.0, 1.62), _limb((0, 0, 1.56), (0, 0, 1.45), 0.05, 0.055)]
    hair = ellipsoid(0.2, 0.175, 0.22, 10, 6).moved(-0.02, 0.0, 1.655)
    parts: list[tuple[list[Shape], str, float]] = [
        (legs, who.trousers, 0.9),
        (shoes, "#1c1a19", 0.7),
        (torso + arms, who.top, 0.9),
        (head + hands, who.skin, 0.6),
        ([hair], who.hair, 0.8),
    ]
    if who.bag:
        bag = hexahedron([*_level(-0.2, -0.1, 0.15, 1.0), *_level(-0.22, -0.1, 0.14, 1.4)])
        parts.append(([bag], "#41464c" if who.top != "#3b3b3d" else "#8b1e2d", 0.8))
    factor = who.height / 1.75
    ground = min(float(shape.points[:, 2].min()) for shapes, _, _ in parts for shape in shapes)
    return [
        (joined(shapes).moved(z=-ground).scaled(factor, factor, factor), Surface(linear(color), roughness=roughness))
        for shapes, color, roughness in parts
    ]


def _trunk(half_x: float, half_y: float, bottom: float, top_x: float, top_y: float, top: float) -> Shape:
    return hexahedron([*_level(-half_x, half_x, half_y, bottom), *_level(-top_x, top_x, top_y, top)])


def _level(x0: float, x1: float, half_y: float, z: float) -> list[Point]:
    return [(x0, -half_y, z), (x1, -half_y, z), (x1, half_y, z), (x0, half_y, z)]


def _limb(upper: Point, lower: Point, thick: float, thin: float) -> Shape:
    """Return a four-sided limb between two points; `thick` and `thin` are half its widths at the ends."""

    def around(point: Point, half: float) -> list[Point]:
        x, y, z = point
        return [(x - half, y - half, z), (x + half, y - half, z), (x + half, y + half, z), (x - half, y + half, z)]

    return hexahedron([*around(lower, thin), *around(upper, thick)])
