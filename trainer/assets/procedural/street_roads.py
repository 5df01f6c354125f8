"""Roads along an arc, with everything flat beside them: lanes and their marks, kerbs, pavements, verges.

A road begins `BEHIND_M` before its origin, heads along +x there and bends to the left where its curvature is positive;
y = 0 is its middle. Its strips follow the arc: what a grammar places along a path of the same curvature, y to the left
of it, stands on the strip that the profile has at y.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined

Parts = list[tuple[Shape, Surface | None]]

BEHIND_M, AHEAD_M = 20.0, 160.0
KERB_M = 0.12
#: Names of curvatures, in 1/m. 1/250 is a gentle bend of a main road, 1/90 about the sharpest at 50 km/h.
BENDS: Mapping[str, float] = MappingProxyType(
    {"straight": 0.0, "left": 1 / 250, "right": -1 / 250, "sharp-left": 1 / 90, "sharp-right": -1 / 90}
)
_STEP_M = 4.0
_MARK_M, _PROUD_M = 0.13, 0.006
_DASH_M, _GAP_M = 3.0, 6.0
_FAR_M = 80.0
#: A bend's inner edge may not reach its centre.
_LEAST_RADIUS_PART = 0.85

_ASPHALT = Surface(linear("#55575a"), roughness=0.9)
_PARKING = Surface(linear("#616264"), roughness=0.9)
_KERB = Surface(linear("#a3a19b"), roughness=0.9)
_PAVEMENT = Surface(linear("#8d8a84"), roughness=0.9)
_GRAVEL = Surface(linear("#86806f"), roughness=0.95)
_GRASS = Surface(linear("#5c6b38"), roughness=0.95)
_PAINT = Surface(linear("#dcdcd6"), roughness=0.7)


@dataclass(frozen=True)
class Profile:
    """The cross-section of a road, equal on both sides."""

    #: Lanes in each direction, and how wide they are.
    lanes: int
    lane_m: float
    #: Width of the strip for parked cars, the pavement (0: none, and no kerb) and the gravel beside the road.
    parking_m: float = 0.0
    pavement_m: float = 0.0
    gravel_m: float = 0.0
    #: "dashed", "double" or none.
    middle: str = "dashed"
    edges: bool = False

    @property
    def road_m(self) -> float:
        """Return the distance from the centre line to the edge of the outer lane."""
        return self.lanes * self.lane_m

    @property
    def kerb_m(self) -> float:
        """Return the distance from the centre line to the kerb or the end of the asphalt."""
        return self.road_m + self.parking_m

    @property
    def outside_m(self) -> float:
        """Return the distance from the centre line to the grass."""
        return self.kerb_m + max(self.pavement_m, self.gravel_m)


#: Widths after the German guidelines for streets in towns (RASt 06) and rural roads (RAL): lanes of 2.75 to 3.5 m,
#: pavements of at least 2.0 m. Their parking strips of 2.0 to 2.3 m are too narrow: so far from the camera as KITTI's
#: parked cars stand, they would stand in the kerb.
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "residential": Profile(1, 2.75, parking_m=2.8, pavement_m=2.2, middle="none"),
        "street": Profile(1, 3.25, parking_m=2.6, pavement_m=3.0),
        "avenue": Profile(2, 3.25, pavement_m=4.0, middle="double"),
        "rural": Profile(1, 3.5, gravel_m=1.2, edges=True),
    }
)


def road(profile: Profile, curvature: float) -> Parts:
    """Return the strips of a road."""
    p = profile
    asphalt = [_strip(-p.road_m, p.road_m, 0.0, 0.0, curvature)]
    parking, kerb, pavement, gravel = [], [], [], []
    low = KERB_M if p.pavement_m else 0.0
    grass = []
    for side in (1.0, -1.0):
        if p.parking_m:
            parking.append(_strip(side * p.road_m, side * p.kerb_m, 0.0, 0.0, curvature))
        if p.pavement_m:
            kerb.append(_strip(side * p.kerb_m, side * (p.kerb_m + 0.02), 0.0, KERB_M, curvature))
            kerb.append(_strip(side * (p.kerb_m + 0.02), side * (p.kerb_m + 0.18), KERB_M, KERB_M, curvature))
            pavement.append(_strip(side * (p.kerb_m + 0.18), side * p.outside_m, KERB_M, KERB_M, curvature))
        if p.gravel_m:
            gravel.append(_strip(side * p.kerb_m, side * p.outside_m, 0.0, 0.0, curvature))
        grass.append(_strip(side * p.outside_m, side * _FAR_M, low, low, curvature))
    strips = (asphalt, _ASPHALT), (parking, _PARKING), (kerb, _KERB), (pavement, _PAVEMENT), (gravel, _GRAVEL)
    parts: Parts = [(joined(shapes), surface) for shapes, surface in strips if shapes]
    return [*parts, (joined(grass), _GRASS), *_marks(p, curvature)]


def place_on_arc(s: np.ndarray, y: np.ndarray, curvature: float) -> np.ndarray:
    """[n, 2] places at arc length `s` along an arc, `y` to its left."""
    if curvature == 0:
        return np.stack((s, y), axis=1)
    angle = s * curvature
    return np.stack((np.sin(angle) * (1 / curvature - y), (1 - np.cos(angle)) / curvature + y * np.cos(angle)), axis=1)


def _marks(p: Profile, curvature: float) -> Parts:
    lines: list[Shape] = []
    if p.middle == "double":
        lines += [_line(side * 0.12, curvature) for side in (1, -1)]
    if p.middle == "dashed":
        lines += _dashes(0.0, curvature)
    for side in (1, -1):
        for lane in range(1, p.lanes):
            lines += _dashes(side * lane * p.lane_m, curvature)
        if p.edges:
            lines.append(_line(side * (p.road_m - 0.2), curvature))
        if p.parking_m:
            lines.append(_line(side * p.road_m, curvature))
    return [(joined(lines), _PAINT)] if lines else []


def _line(y: float, curvature: float, start: float = -BEHIND_M, end: float = AHEAD_M) -> Shape:
    return _strip(y - _MARK_M / 2, y + _MARK_M / 2, _PROUD_M, _PROUD_M, curvature, start, end)


def _dashes(y: float, curvature: float) -> list[Shape]:
    starts = np.arange(-BEHIND_M, AHEAD_M - _DASH_M, _DASH_M + _GAP_M)
    return [_line(y, curvature, start, start + _DASH_M) for start in starts.tolist()]


def _strip(
    near: float,
    far: float,
    near_z: float,
    far_z: float,
    curvature: float,
    start: float = -BEHIND_M,
    end: float = AHEAD_M,
) -> Shape:
    """Return a strip between two distances from the centre line, each at its height. Its upper side is visible."""
    if near > far:
        near, far, near_z, far_z = far, near, far_z, near_z
    if curvature:
        limit = _LEAST_RADIUS_PART / abs(curvature)
        near, far = (min(y, limit) if curvature > 0 else max(y, -limit) for y in (near, far))
    count = max(1, round((end - start) / _STEP_M)) if curvature else 1
    s = np.linspace(start, end, count + 1)
    right, left = (place_on_arc(s, np.full_like(s, y), curvature) for y in (near, far))
    points = np.concatenate(
        [np.column_stack((edge, np.full_like(s, z))) for edge, z in ((right, near_z), (left, far_z))]
    )
    first = np.arange(count)
    other = first + count + 1
    triangles = np.concatenate((np.stack((first, first + 1, other + 1), 1), np.stack((first, other + 1, other), 1)))
    normal = np.tile((0.0, 0.0, 1.0), (len(points), 1))
    if near_z != far_z:  # A kerb: nearly upright; its normals follow the arc.
        way = np.concatenate((left - right, left - right))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        normal = np.column_stack((-np.sign(far_z - near_z) * way, np.full(len(points), 0.15)))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Shape(points, normal, np.zeros((len(points), 2)), triangles)
