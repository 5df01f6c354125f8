"""The images of the fake engine as a differentiable formula: the exact derivative that its probes estimate.

Written from the formula in the engine's docstring, not from its code: with A = [a_x w/4, a_y h/4], the pixel vectors of
a node's axes times a quarter of its size, and c the projection of its origin,

    image(p) = background + Σ_nodes colour · exp(-|A⁻¹ (p - c)|² / 2)
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from metasim.v1 import render_pb2, scene_pb2
from torch import Tensor

Address = tuple[str, "scene_pb2.Attribute.ValueType"]
_SIZES = {"width": "size_x", "depth": "size_y", "height": "size_z"}
_Value = Callable[["scene_pb2.Attribute.ValueType"], Tensor]


def blob_jacobian(
    scene: scene_pb2.Scene, settings: render_pb2.RenderSettings, columns: Sequence[render_pb2.Column]
) -> np.ndarray:
    """∂image/∂attribute for each column, float64 [len(columns), height, width, 3], by forward differentiation."""
    nodes = {node.id: node for node in scene.nodes}
    addresses = [(column.node, column.attribute) for column in columns]
    values = torch.tensor([_stated(nodes[node], attribute) for node, attribute in addresses], dtype=torch.float64)

    def image(given: Tensor) -> Tensor:
        return blob_image(scene, settings, dict(zip(addresses, given, strict=True)))

    jacobian: Tensor = torch.func.jacfwd(image)(values)
    return jacobian.permute(3, 0, 1, 2).numpy()


def blob_image(scene: scene_pb2.Scene, settings: render_pb2.RenderSettings, values: Mapping[Address, Tensor]) -> Tensor:
    """The image, float64 [height, width, 3], not clipped.

    Args:
        values: of attributes, instead of those in the scene.
    """
    nodes = {node.id: node for node in scene.nodes}
    worlds: dict[str, Tensor] = {}

    def value_of(node: scene_pb2.Node) -> _Value:
        def value(attribute: "scene_pb2.Attribute.ValueType") -> Tensor:
            given = values.get((node.id, attribute))
            return torch.tensor(_stated(node, attribute), dtype=torch.float64) if given is None else given

        return value

    def world(node: scene_pb2.Node) -> Tensor:
        if node.id not in worlds:
            own = _transform(value_of(node))
            worlds[node.id] = world(nodes[node.parent]) @ own if node.parent else own
        return worlds[node.id]

    camera = next(node for node in scene.nodes if node.HasField("camera"))
    project = _projection(camera, world(camera), value_of(camera), settings)
    x = torch.arange(settings.width_px, dtype=torch.float64) + 0.5
    y = (torch.arange(settings.height_px, dtype=torch.float64) + 0.5)[:, None]
    background = (scene.background.red, scene.background.green, scene.background.blue)
    image = torch.tensor(background, dtype=torch.float64).expand(settings.height_px, settings.width_px, 3)
    for node in scene.nodes:
        if not (node.HasField("sprite") or node.HasField("mesh")):
            continue
        value, pose = value_of(node), world(node)
        second = scene_pb2.ATTRIBUTE_HEIGHT if node.HasField("sprite") else scene_pb2.ATTRIBUTE_DEPTH
        width, height = value(scene_pb2.ATTRIBUTE_WIDTH), value(second)
        origin = pose[:3, 3]
        centre = project(origin)
        ax, ay = project(origin + pose[:3, 0] * width / 4) - centre, project(origin + pose[:3, 1] * height / 4) - centre
        determinant = ax[0] * ay[1] - ay[0] * ax[1]
        dx, dy = x - centre[0], y - centre[1]
        u, v = (ay[1] * dx - ay[0] * dy) / determinant, (ax[0] * dy - ax[1] * dx) / determinant
        channels = (scene_pb2.ATTRIBUTE_RED, scene_pb2.ATTRIBUTE_GREEN, scene_pb2.ATTRIBUTE_BLUE)
        colour = torch.stack([value(channel) for channel in channels])
        image = image + torch.exp(-(u * u + v * v) / 2)[..., None] * colour
    return image


def _transform(value: _Value) -> Tensor:
    """[4, 4]: p_parent = (x, y, z) + Rz(yaw) Ry(pitch) Rx(roll) scale p."""
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

    def turn(attribute: "scene_pb2.Attribute.ValueType", first: int, second: int) -> Tensor:
        angle = torch.deg2rad(value(attribute))
        entries = [[one if row == column else zero for column in range(3)] for row in range(3)]
        entries[first][first] = entries[second][second] = torch.cos(angle)
        entries[first][second], entries[second][first] = -torch.sin(angle), torch.sin(angle)
        return torch.stack([torch.stack(row) for row in entries])

    rotation = (
        turn(scene_pb2.ATTRIBUTE_YAW, 0, 1)
        @ turn(scene_pb2.ATTRIBUTE_PITCH, 2, 0)
        @ turn(scene_pb2.ATTRIBUTE_ROLL, 1, 2)
    )
    axes = (scene_pb2.ATTRIBUTE_X, scene_pb2.ATTRIBUTE_Y, scene_pb2.ATTRIBUTE_Z)
    place = torch.stack([value(axis) for axis in axes])
    upper = torch.cat((rotation * value(scene_pb2.ATTRIBUTE_SCALE), place[:, None]), dim=1)
    return torch.cat((upper, torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)))


def _projection(
    camera: scene_pb2.Node, pose: Tensor, value: _Value, settings: render_pb2.RenderSettings
) -> Callable[[Tensor], Tensor]:
    """From world points [3] to pixels [2]."""
    rotation, place, fov = pose[:3, :3], pose[:3, 3], value(scene_pb2.ATTRIBUTE_FOV)
    perspective = camera.camera.HasField("perspective")
    focal = settings.height_px / (2 * torch.tan(torch.deg2rad(fov) / 2) if perspective else fov)
    middle = torch.tensor((settings.width_px / 2, settings.height_px / 2), dtype=torch.float64)

    def project(point: Tensor) -> Tensor:
        seen = rotation.T @ (point - place)
        scale = focal / -seen[2] if perspective else focal
        return middle + scale * torch.stack((seen[0], -seen[1]))

    return project


def _stated(node: scene_pb2.Node, attribute: "scene_pb2.Attribute.ValueType") -> float:
    """The number in the message, or its default."""
    name = scene_pb2.Attribute.Name(attribute).removeprefix("ATTRIBUTE_").lower()
    content = node.WhichOneof("content")
    if name in ("x", "y", "z"):
        return float(getattr(node.transform, f"{name}_m"))
    if name in ("yaw", "pitch", "roll"):
        return float(getattr(node.transform, f"{name}_deg"))
    if name == "scale":
        return node.transform.scale if node.transform.HasField("scale") else 1.0
    if name == "fov":
        camera = node.camera
        return camera.perspective.vertical_fov_deg if camera.HasField("perspective") else camera.orthographic.height_m
    if content == "sprite":
        if name in ("width", "height"):
            return float(getattr(node.sprite, f"{name}_m"))
        return float(getattr(node.sprite.tint, name)) if node.sprite.HasField("tint") else 1.0
    if content == "mesh" and name in _SIZES:
        return float(getattr(node.mesh, _SIZES[name])) if node.mesh.HasField(_SIZES[name]) else 1.0  # type: ignore[arg-type]
    if content == "mesh" and name in ("red", "green", "blue"):
        material = node.mesh.material
        return float(getattr(material.base_color, name)) if material.HasField("base_color") else 0.8
    return 0.0  # Blobs show neither lights nor what they emit.
