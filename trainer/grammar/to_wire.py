"""Scene graphs and render settings as messages of `metasim.v1`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from metasim.v1 import render_pb2, scene_pb2

from trainer.grammar.scene_graph import AssetRef, Camera, Light, Mesh, Node, SceneGraph, Sprite

if TYPE_CHECKING:
    from trainer.grammar.grammar import RenderOptions

AssetHash = Callable[[AssetRef], str]

_TRANSFORM = {
    "x": "x_m",
    "y": "y_m",
    "z": "z_m",
    "yaw": "yaw_deg",
    "pitch": "pitch_deg",
    "roll": "roll_deg",
    "scale": "scale",
}
_VIEW_TRANSFORMS = {
    "standard": render_pb2.VIEW_TRANSFORM_STANDARD,
    "raw": render_pb2.VIEW_TRANSFORM_RAW,
}


def scene_to_proto(scene: SceneGraph, asset_hash: AssetHash) -> scene_pb2.Scene:
    """The scene on the wire; `asset_hash` gives the content hash of an asset."""
    message = scene_pb2.Scene(classes=scene.classes)
    if any(scene.background):
        red, green, blue = scene.background
        message.background.CopyFrom(scene_pb2.Color(red=red, green=green, blue=blue))
    for node in scene.nodes:
        values = node.values
        wire = message.nodes.add(
            id=node.id,
            parent="" if node.parent is None else scene.nodes[node.parent].id,
            class_name=node.class_name,
            transform=scene_pb2.Transform(
                **{field: values[name] for name, field in _TRANSFORM.items() if name in values}
            ),
        )
        content = scene.kinds[node.kind].content
        if isinstance(content, Sprite):
            wire.sprite.CopyFrom(_sprite(node, asset_hash))
        elif isinstance(content, Mesh):
            wire.mesh.CopyFrom(_mesh(node, content, asset_hash))
        elif isinstance(content, Camera):
            wire.camera.CopyFrom(_camera(node, content))
        elif isinstance(content, Light):
            wire.light.CopyFrom(_light(node, content))
    return message


def render_settings_to_proto(options: "RenderOptions") -> render_pb2.RenderSettings:
    """Render settings on the wire."""
    return render_pb2.RenderSettings(
        width_px=options.width_px,
        height_px=options.height_px,
        samples=options.samples,
        filter_width_px=options.filter_width_px,
        view_transform=_VIEW_TRANSFORMS[options.view_transform],
        max_bounces=options.max_bounces,
    )


def _color(node: Node, default: float) -> scene_pb2.Color | None:
    values = node.values
    if not ("red" in values or "green" in values or "blue" in values):
        return None
    red, green, blue = (values.get(name, default) for name in ("red", "green", "blue"))
    return scene_pb2.Color(red=red, green=green, blue=blue)


def _sprite(node: Node, asset_hash: AssetHash) -> scene_pb2.Sprite:
    if node.asset is None:
        raise ValueError(f"{node.id} is a sprite without an asset")
    return scene_pb2.Sprite(
        asset=asset_hash(node.asset),
        width_m=node.values["width"],
        height_m=node.values["height"],
        tint=_color(node, 1.0),
    )


def _mesh(node: Node, content: Mesh, asset_hash: AssetHash) -> scene_pb2.Mesh:
    values = node.values
    message = scene_pb2.Mesh(size_x=values.get("width"), size_y=values.get("depth"), size_z=values.get("height"))
    if node.asset is not None:
        message.asset.hash = asset_hash(node.asset)
        message.asset.format = node.asset.mesh_format or scene_pb2.MESH_FORMAT_UNSPECIFIED
    elif content.primitive is not None:
        message.primitive = content.primitive
    color = _color(node, 0.8)
    if color is None and node.texture is not None:
        color = scene_pb2.Color(red=1, green=1, blue=1)  # The texture as it is, not darkened by the default grey.
    if color is not None or content.roughness is not None or "intensity" in values:
        message.material.CopyFrom(
            scene_pb2.Material(
                base_color=color,
                texture="" if node.texture is None else asset_hash(node.texture),
                roughness=content.roughness,
                emission=values.get("intensity", 0.0),
            )
        )
    return message


def _camera(node: Node, content: Camera) -> scene_pb2.Camera:
    message = scene_pb2.Camera(near_m=content.near, far_m=content.far)
    if content.projection == "orthographic":
        message.orthographic.height_m = node.values["fov"]
    else:
        message.perspective.vertical_fov_deg = node.values["fov"]
    return message


def _light(node: Node, content: Light) -> scene_pb2.Light:
    message = scene_pb2.Light(color=_color(node, 1.0))
    intensity = node.values["intensity"]
    if content.kind == "sun":
        message.sun.CopyFrom(scene_pb2.SunLight(irradiance_w_m2=intensity, angle_deg=content.size))
    elif content.kind == "point":
        message.point.CopyFrom(scene_pb2.PointLight(power_w=intensity, radius_m=content.size))
    else:
        message.area.CopyFrom(scene_pb2.AreaLight(power_w=intensity, edge_m=content.size))
    return message
