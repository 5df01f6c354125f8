"""The numeric attributes that a node can have: units, ranges, defaults. Named as in `metasim.v1.Attribute`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from metasim.v1 import scene_pb2 as pb

INFINITY = math.inf
#: Smallest size, scale or field of view: all of them must be above zero.
TINY = 1e-6
FULL_TURN = 360.0


@dataclass(frozen=True)
class AttributeKind:
    """A row of the table of attributes."""

    name: str
    wire: "pb.Attribute.ValueType"
    unit: str  # "length" stands for the grammar's own unit of length
    low: float  # Default range, inclusive
    high: float
    default: float | None  # Value where a grammar does not state the attribute; None: it must be stated
    least: float = -INFINITY  # No range may reach below or above these.
    most: float = INFINITY
    is_angle: bool = False


def _length(name: str, wire: "pb.Attribute.ValueType") -> AttributeKind:
    return AttributeKind(name, wire, "length", -INFINITY, INFINITY, 0.0)


def _angle(name: str, wire: "pb.Attribute.ValueType") -> AttributeKind:
    return AttributeKind(name, wire, "deg", -180.0, 180.0, 0.0, -FULL_TURN, FULL_TURN, is_angle=True)


def _size(name: str, wire: "pb.Attribute.ValueType", default: float | None, unit: str = "length") -> AttributeKind:
    return AttributeKind(name, wire, unit, TINY, INFINITY, default, TINY)


def _color(name: str, wire: "pb.Attribute.ValueType", default: float) -> AttributeKind:
    return AttributeKind(name, wire, "1", 0.0, 1.0, default, 0.0)


def _table(*rows: AttributeKind) -> Mapping[str, AttributeKind]:
    return {row.name: row for row in rows}


_TRANSFORM = (
    _length("x", pb.ATTRIBUTE_X),
    _length("y", pb.ATTRIBUTE_Y),
    _length("z", pb.ATTRIBUTE_Z),
    _angle("yaw", pb.ATTRIBUTE_YAW),
    _angle("pitch", pb.ATTRIBUTE_PITCH),
    _angle("roll", pb.ATTRIBUTE_ROLL),
    AttributeKind("scale", pb.ATTRIBUTE_SCALE, "1", TINY, INFINITY, 1.0, TINY),
)


def _colors(default: float) -> tuple[AttributeKind, ...]:
    return (
        _color("red", pb.ATTRIBUTE_RED, default),
        _color("green", pb.ATTRIBUTE_GREEN, default),
        _color("blue", pb.ATTRIBUTE_BLUE, default),
    )


#: The camera's response; `CameraResponse` in scene.proto says what each does.
RESPONSE = (
    AttributeKind("exposure", pb.ATTRIBUTE_EXPOSURE, "EV", -2.0, 2.0, 0.0, -8.0, 8.0),
    AttributeKind("temperature", pb.ATTRIBUTE_TEMPERATURE, "K", 2500.0, 12000.0, 6500.0, 1700.0, 25000.0),
    AttributeKind("tint", pb.ATTRIBUTE_TINT, "1", -0.5, 0.5, 0.0, -1.0, 1.0),
    AttributeKind("contrast", pb.ATTRIBUTE_CONTRAST, "1", 0.5, 2.0, 1.0, 0.01, 10.0),
    AttributeKind("saturation", pb.ATTRIBUTE_SATURATION, "1", 0.0, 2.0, 1.0, 0.0, 10.0),
    AttributeKind("vignetting", pb.ATTRIBUTE_VIGNETTING, "1", 0.0, 0.8, 0.0, 0.0, 1.0),
    AttributeKind("blur", pb.ATTRIBUTE_BLUR, "px", 0.0, 3.0, 0.0, 0.0, 50.0),
    AttributeKind("shot_noise", pb.ATTRIBUTE_SHOT_NOISE, "1", 0.0, 0.2, 0.0, 0.0, 1.0),
    AttributeKind("read_noise", pb.ATTRIBUTE_READ_NOISE, "1", 0.0, 0.2, 0.0, 0.0, 1.0),
    AttributeKind("jpeg_quality", pb.ATTRIBUTE_JPEG_QUALITY, "1", 0.0, 100.0, 0.0, 0.0, 100.0),
)


#: The lens; `Lens` in scene.proto says what each does.
LENS = (
    AttributeKind("center_x", pb.ATTRIBUTE_CENTER_X, "1", 0.0, 1.0, 0.5, -1.0, 2.0),
    AttributeKind("center_y", pb.ATTRIBUTE_CENTER_Y, "1", 0.0, 1.0, 0.5, -1.0, 2.0),
    AttributeKind("aspect", pb.ATTRIBUTE_ASPECT, "1", 0.5, 2.0, 1.0, 0.5, 2.0),
    AttributeKind("k1", pb.ATTRIBUTE_K1, "1", -1.0, 1.0, 0.0, -10.0, 10.0),
    AttributeKind("k2", pb.ATTRIBUTE_K2, "1", -1.0, 1.0, 0.0, -10.0, 10.0),
    AttributeKind("p1", pb.ATTRIBUTE_P1, "1", -0.1, 0.1, 0.0, -10.0, 10.0),
    AttributeKind("p2", pb.ATTRIBUTE_P2, "1", -0.1, 0.1, 0.0, -10.0, 10.0),
    AttributeKind("k3", pb.ATTRIBUTE_K3, "1", -1.0, 1.0, 0.0, -10.0, 10.0),
)


def _intensity(unit: str, default: float | None) -> AttributeKind:
    return AttributeKind("intensity", pb.ATTRIBUTE_INTENSITY, unit, 0.0, INFINITY, default, 0.0)


#: Attributes by content of the node, in their fixed order.
ATTRIBUTES: Mapping[str, Mapping[str, AttributeKind]] = {
    "nothing": _table(*_TRANSFORM),
    "sprite": _table(
        *_TRANSFORM,
        _size("width", pb.ATTRIBUTE_WIDTH, None),
        _size("height", pb.ATTRIBUTE_HEIGHT, None),
        *_colors(1.0),
    ),
    "mesh": _table(
        *_TRANSFORM,
        _size("width", pb.ATTRIBUTE_WIDTH, 1.0, "1"),
        _size("height", pb.ATTRIBUTE_HEIGHT, 1.0, "1"),
        _size("depth", pb.ATTRIBUTE_DEPTH, 1.0, "1"),
        *_colors(0.8),
        _intensity("1", 0.0),
    ),
    "card": _table(
        *_TRANSFORM,
        _size("width", pb.ATTRIBUTE_WIDTH, 1.0, "1"),
        _size("height", pb.ATTRIBUTE_HEIGHT, 1.0, "1"),
        _size("depth", pb.ATTRIBUTE_DEPTH, 1.0, "1"),
    ),
    "perspective camera": _table(
        *_TRANSFORM,
        AttributeKind("fov", pb.ATTRIBUTE_FOV, "deg", 1.0, 179.0, None, TINY, 180.0 - TINY),
        *RESPONSE,
        *LENS,
    ),
    "orthographic camera": _table(*_TRANSFORM, _size("fov", pb.ATTRIBUTE_FOV, None), *RESPONSE),
    "sun": _table(*_TRANSFORM, *_colors(1.0), _intensity("W/m2", None)),
    "point light": _table(*_TRANSFORM, *_colors(1.0), _intensity("W", None)),
    "area light": _table(*_TRANSFORM, *_colors(1.0), _intensity("W", None)),
    "environment": _table(*_TRANSFORM, *_colors(1.0), _intensity("1", None)),
    "sky": _table(
        *_TRANSFORM,
        *_colors(1.0),
        _intensity("W/m2", None),
        AttributeKind("elevation", pb.ATTRIBUTE_ELEVATION, "deg", 0.0, 90.0, None, 0.0, 90.0),
        AttributeKind("turbidity", pb.ATTRIBUTE_TURBIDITY, "1", 2.0, 10.0, 3.0, 2.0, 10.0),
    ),
}
