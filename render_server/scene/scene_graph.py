"""A scene with its tree resolved: parents, world matrices, and attributes addressed by number."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from metasim.transforms import local_matrix
from metasim.v1 import scene_pb2 as pb

from render_server.errors import InvalidTask

#: Attributes that are angles: they wrap at 360 degrees.
ANGLES = frozenset({pb.ATTRIBUTE_YAW, pb.ATTRIBUTE_PITCH, pb.ATTRIBUTE_ROLL})

_TRANSFORM_FIELDS = {
    pb.ATTRIBUTE_X: "x_m",
    pb.ATTRIBUTE_Y: "y_m",
    pb.ATTRIBUTE_Z: "z_m",
    pb.ATTRIBUTE_YAW: "yaw_deg",
    pb.ATTRIBUTE_PITCH: "pitch_deg",
    pb.ATTRIBUTE_ROLL: "roll_deg",
    pb.ATTRIBUTE_SCALE: "scale",
}
_MESH_SIZES = {pb.ATTRIBUTE_WIDTH: "size_x", pb.ATTRIBUTE_HEIGHT: "size_z", pb.ATTRIBUTE_DEPTH: "size_y"}
_SPRITE_SIZES = {pb.ATTRIBUTE_WIDTH: "width_m", pb.ATTRIBUTE_HEIGHT: "height_m"}
#: Attributes of a camera's response: the field, its value when absent, and its range.
RESPONSE_FIELDS: Mapping[int, tuple[str, float, float, float]] = {
    pb.ATTRIBUTE_EXPOSURE: ("exposure_ev", 0.0, -8.0, 8.0),
    pb.ATTRIBUTE_TEMPERATURE: ("temperature_k", 6500.0, 1700.0, 25_000.0),
    pb.ATTRIBUTE_TINT: ("tint", 0.0, -1.0, 1.0),
    pb.ATTRIBUTE_CONTRAST: ("contrast", 1.0, 0.01, 10.0),
    pb.ATTRIBUTE_SATURATION: ("saturation", 1.0, 0.0, 10.0),
    pb.ATTRIBUTE_VIGNETTING: ("vignetting", 0.0, 0.0, 1.0),
    pb.ATTRIBUTE_BLUR: ("blur_px", 0.0, 0.0, 50.0),
    pb.ATTRIBUTE_SHOT_NOISE: ("shot_noise", 0.0, 0.0, 1.0),
    pb.ATTRIBUTE_READ_NOISE: ("read_noise", 0.0, 0.0, 1.0),
    pb.ATTRIBUTE_JPEG_QUALITY: ("jpeg_quality", 0.0, 0.0, 100.0),
}
#: Attributes of a clear sky, as `RESPONSE_FIELDS`.
SKY_FIELDS: Mapping[int, tuple[str, float, float, float]] = {
    pb.ATTRIBUTE_ELEVATION: ("sun_elevation_deg", 0.0, 0.0, 90.0),
    pb.ATTRIBUTE_TURBIDITY: ("turbidity", 3.0, 2.0, 10.0),
}
#: Attributes of a perspective camera's lens, as `RESPONSE_FIELDS`.
LENS_FIELDS: Mapping[int, tuple[str, float, float, float]] = {
    pb.ATTRIBUTE_CENTER_X: ("center_x", 0.5, -1.0, 2.0),
    pb.ATTRIBUTE_CENTER_Y: ("center_y", 0.5, -1.0, 2.0),
    pb.ATTRIBUTE_ASPECT: ("aspect", 1.0, 0.5, 2.0),
    pb.ATTRIBUTE_K1: ("k1", 0.0, -10.0, 10.0),
    pb.ATTRIBUTE_K2: ("k2", 0.0, -10.0, 10.0),
    pb.ATTRIBUTE_P1: ("p1", 0.0, -10.0, 10.0),
    pb.ATTRIBUTE_P2: ("p2", 0.0, -10.0, 10.0),
    pb.ATTRIBUTE_K3: ("k3", 0.0, -10.0, 10.0),
}
_BOUNDED: Mapping[int, tuple[str, float, float, float]] = {**RESPONSE_FIELDS, **SKY_FIELDS, **LENS_FIELDS}
_STRENGTHS = {"sun": "irradiance_w_m2", "sky": "irradiance_w_m2", "environment": "strength"}
_CHANNELS = {pb.ATTRIBUTE_RED: "red", pb.ATTRIBUTE_GREEN: "green", pb.ATTRIBUTE_BLUE: "blue"}

#: Default of each channel of a tint or light, and of a base colour.
DEFAULT_TINT = 1.0
DEFAULT_BASE_COLOR = 0.8


class SceneGraph:
    """A scene with its tree resolved. It does not change after construction; `with_value` returns another one.

    Attributes:
        nodes: the wire nodes, in the order of `Scene.nodes`.
        parents: index of each node's parent; -1 for a root.
        world: each node's 4x4 matrix to the world frame, float64; p_world = world[i] @ (x, y, z, 1).
        camera: index of the camera's node.
        changed: the nodes whose matrix or content differs from the graph that `with_value` was called on.
    """

    def __init__(self, scene: pb.Scene) -> None:
        self.nodes: list[pb.Node] = list(scene.nodes)
        self._indices = {node.id: index for index, node in enumerate(self.nodes)}
        self.parents = [self._parent(index) for index in range(len(self.nodes))]
        self._children: list[list[int]] = [[] for _ in self.nodes]
        self._order = _parents_first(self.parents, self._children)
        self._rank = {index: rank for rank, index in enumerate(self._order)}
        self.world: list[np.ndarray] = [_IDENTITY] * len(self.nodes)
        self._place(self._order)
        cameras = [index for index, node in enumerate(self.nodes) if node.HasField("camera")]
        if len(cameras) != 1:
            raise InvalidTask("scene.nodes", f"a list with {len(cameras)} cameras", "it must hold exactly one")
        self.camera = cameras[0]
        self.changed: tuple[int, ...] = ()

    def index(self, node_id: str) -> int | None:
        """Return the index of the node with that id; None if there is none."""
        return self._indices.get(node_id)

    def subtree(self, index: int) -> tuple[int, ...]:
        """Return the node and its descendants, parents first."""
        found = [index]
        for each in found:  # The list grows during the loop.
            found.extend(self._children[each])
        return tuple(found)

    def value(self, index: int, attribute: pb.Attribute.ValueType) -> float | None:
        """Return the attribute's value or default; None if the node has no such attribute."""
        place = _locate(self.nodes[index], attribute)
        if place is None:
            return None
        path, field, default = place
        message: Any = self.nodes[index]
        for name in path:
            if not message.HasField(name):
                return default
            message = getattr(message, name)
        if message.DESCRIPTOR.fields_by_name[field].has_presence and not message.HasField(field):
            return default
        return getattr(message, field)

    def with_value(self, index: int, attribute: pb.Attribute.ValueType, value: float) -> "SceneGraph":
        """Return the graph with one attribute of a node changed; the node's descendants move with it.

        Raises:
            InvalidTask: the node has no such attribute.
        """
        graph = SceneGraph.__new__(SceneGraph)
        graph.nodes, graph.world = list(self.nodes), list(self.world)
        graph._indices, graph.parents, graph._children = self._indices, self.parents, self._children
        graph._order, graph._rank = self._order, self._rank
        graph.camera = self.camera
        graph.nodes[index] = _copied(self.nodes[index])
        _set(graph.nodes[index], f"scene.nodes[{index}]", attribute, value)
        changed = {index}
        if attribute in _TRANSFORM_FIELDS:
            changed.update(self.subtree(index))
            graph._place(sorted(changed, key=self._rank.__getitem__))
        graph.changed = tuple(sorted(changed))
        return graph

    def _parent(self, index: int) -> int:
        parent = self.nodes[index].parent
        if not parent:
            return -1
        if parent not in self._indices:
            raise InvalidTask(f"scene.nodes[{index}].parent", repr(parent), "it must be the id of a node or empty")
        return self._indices[parent]

    def _place(self, indices: Sequence[int]) -> None:
        for index in indices:
            local = local_matrix(self.nodes[index].transform)
            parent = self.parents[index]
            self.world[index] = local if parent < 0 else self.world[parent] @ local


def natural_range(node: pb.Node, attribute: pb.Attribute.ValueType) -> tuple[float, float, bool]:
    """Return the values that the wire allows for an attribute: (low, high, whether the ends are excluded)."""
    if attribute in _CHANNELS or attribute == pb.ATTRIBUTE_INTENSITY:
        return 0.0, math.inf, False
    if attribute in _MESH_SIZES or attribute == pb.ATTRIBUTE_SCALE:
        return 0.0, math.inf, True
    if attribute in _BOUNDED:
        _, _, low, high = _BOUNDED[attribute]
        return low, high, False
    if attribute == pb.ATTRIBUTE_FOV:
        return 0.0, 180.0 if node.camera.HasField("perspective") else math.inf, True
    return -math.inf, math.inf, False


def missing_attribute(field: str, node: pb.Node, attribute: pb.Attribute.ValueType) -> InvalidTask:
    """Return the error for an attribute that the node does not have."""
    has = [name for name, number in pb.Attribute.items() if number and _locate(node, number) is not None]
    name = pb.Attribute.Name(attribute) if attribute in pb.Attribute.values() else str(attribute)
    return InvalidTask(field, name, f"node {node.id!r} has {', '.join(has)}")


def _copied(node: pb.Node) -> pb.Node:
    copy = pb.Node()
    copy.CopyFrom(node)
    return copy


def _set(node: pb.Node, field: str, attribute: pb.Attribute.ValueType, value: float) -> None:
    place = _locate(node, attribute)
    if place is None:
        raise missing_attribute(field, node, attribute)
    path, name, default = place
    message: Any = node
    for step in path:
        if not message.HasField(step) and step in ("tint", "base_color", "color"):
            getattr(message, step).CopyFrom(pb.Color(red=default, green=default, blue=default))
        message = getattr(message, step)
    setattr(message, name, value)


def _locate(node: pb.Node, attribute: pb.Attribute.ValueType) -> tuple[tuple[str, ...], str, float] | None:
    """Return (path of messages below the node, field, default when absent) of an attribute."""
    if attribute in _TRANSFORM_FIELDS:
        return ("transform",), _TRANSFORM_FIELDS[attribute], 1.0 if attribute == pb.ATTRIBUTE_SCALE else 0.0
    content = node.WhichOneof("content")
    if content == "sprite":
        if attribute in _SPRITE_SIZES:
            return ("sprite",), _SPRITE_SIZES[attribute], 0.0
        if attribute in _CHANNELS:
            return ("sprite", "tint"), _CHANNELS[attribute], DEFAULT_TINT
    elif content == "mesh":
        if attribute in _MESH_SIZES:
            return ("mesh",), _MESH_SIZES[attribute], 1.0
        # Without a material an asset shows its own materials, which have no single colour.
        if node.mesh.HasField("material") or node.mesh.HasField("primitive"):
            if attribute in _CHANNELS:
                return ("mesh", "material", "base_color"), _CHANNELS[attribute], DEFAULT_BASE_COLOR
            if attribute == pb.ATTRIBUTE_INTENSITY:
                return ("mesh", "material"), "emission", 0.0
    elif content == "light":
        if attribute in _CHANNELS:
            return ("light", "color"), _CHANNELS[attribute], DEFAULT_TINT
        kind = node.light.WhichOneof("kind")
        if attribute == pb.ATTRIBUTE_INTENSITY and kind is not None:
            return ("light", kind), _STRENGTHS.get(kind, "power_w"), 0.0
        if attribute in SKY_FIELDS and kind == "sky":
            name, default, _, _ = SKY_FIELDS[attribute]
            return ("light", "sky"), name, default
    elif content == "camera":
        if attribute in RESPONSE_FIELDS:
            name, default, _, _ = RESPONSE_FIELDS[attribute]
            return ("camera", "response"), name, default
        if attribute in LENS_FIELDS and node.camera.HasField("perspective"):
            name, default, _, _ = LENS_FIELDS[attribute]
            return ("camera", "perspective", "lens"), name, default
        if attribute == pb.ATTRIBUTE_FOV and node.camera.HasField("perspective"):
            return ("camera", "perspective"), "vertical_fov_deg", 0.0
        if attribute == pb.ATTRIBUTE_FOV and node.camera.HasField("orthographic"):
            return ("camera", "orthographic"), "height_m", 0.0
    return None


def _parents_first(parents: Sequence[int], children: list[list[int]]) -> tuple[int, ...]:
    """Return all indices, parents before their children; fill in the children of each."""
    order: list[int] = []
    for index, parent in enumerate(parents):
        (order if parent < 0 else children[parent]).append(index)
    for index in order:  # The list grows during the loop.
        order.extend(children[index])
    if len(order) < len(parents):
        lost = min(set(range(len(parents))).difference(order))
        raise InvalidTask(f"scene.nodes[{lost}].parent", "part of a cycle", "parents must lead to a root")
    return tuple(order)


_IDENTITY = np.eye(4)
