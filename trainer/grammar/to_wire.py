"""Scene graphs as messages of `metasim.v1`."""

from collections.abc import Callable, Mapping, Sequence

from metasim.v1 import scene_pb2

from trainer.assets.asset_sets import AssetRef
from trainer.grammar.nodes import Camera, Light, Mesh, Node, NodeKind, Sprite

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

#: Fields of a camera's response by attribute.
_RESPONSE = {
    "exposure": "exposure_ev",
    "temperature": "temperature_k",
    "tint": "tint",
    "contrast": "contrast",
    "saturation": "saturation",
    "vignetting": "vignetting",
    "blur": "blur_px",
    "shot_noise": "shot_noise",
    "read_noise": "read_noise",
    "jpeg_quality": "jpeg_quality",
}


#: Fields of a camera's lens.
_LENS = ("center_x", "center_y", "aspect", "k1", "k2", "p1", "p2", "k3")


def scene_to_proto(
    nodes: Sequence[Node],
    kinds: Mapping[str, NodeKind],
    classes: Sequence[str],
    background: tuple[float, float, float],
    asset_hash: AssetHash,
) -> scene_pb2.Scene:
    """Return the scene on the wire.

    Args:
        nodes: parents before their children.
        kinds: the grammar's kinds by name.
        classes: the semantic classes in the order of the class mask.
        background: red, green, blue.
        asset_hash: returns the content hash of an asset.
    """
    message = scene_pb2.Scene(classes=classes)
    if any(background):
        red, green, blue = background
        message.background.CopyFrom(scene_pb2.Color(red=red, green=green, blue=blue))
    for node in nodes:
        values = node.values
        wire = message.nodes.add(
            id=node.id,
            parent="" if node.parent is None else nodes[node.parent].id,
            class_name=node.class_name,
            transform=scene_pb2.Transform(
                **{field: values[name] for name, field in _TRANSFORM.items() if name in values}
            ),
        )
        if node.placement is not None and node.placement.settles:
            wire.settles = True
        content = kinds[node.kind].content
        if isinstance(content, Sprite):
            wire.sprite.CopyFrom(_sprite(node, asset_hash))
        elif isinstance(content, Mesh):
            wire.mesh.CopyFrom(_mesh(node, content, asset_hash))
        elif isinstance(content, Camera):
            wire.camera.CopyFrom(_camera(node, content))
        elif isinstance(content, Light):
            wire.light.CopyFrom(_light(node, content, asset_hash))
    return message


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
    if color is not None or node.surface or "intensity" in values:
        message.material.CopyFrom(
            scene_pb2.Material(
                base_color=color,
                texture="" if node.texture is None else asset_hash(node.texture),
                emission=values.get("intensity", 0.0),
            )
        )
        for name, number in node.surface.items():
            setattr(message.material, name, number)
        for name, texture in node.maps.items():
            setattr(message.material, f"{name}_texture", asset_hash(texture))
    return message


def _camera(node: Node, content: Camera) -> scene_pb2.Camera:
    message = scene_pb2.Camera(near_m=content.near, far_m=content.far)
    if content.projection == "orthographic":
        message.orthographic.height_m = node.values["fov"]
    else:
        message.perspective.vertical_fov_deg = node.values["fov"]
        lens = {name: node.values[name] for name in _LENS if name in node.values}
        if lens:
            message.perspective.lens.CopyFrom(scene_pb2.Lens(**lens))
    response = {field: node.values[name] for name, field in _RESPONSE.items() if name in node.values}
    if response:
        message.response.CopyFrom(scene_pb2.CameraResponse(**response))
    return message


def _light(node: Node, content: Light, asset_hash: AssetHash) -> scene_pb2.Light:
    message = scene_pb2.Light(color=_color(node, 1.0))
    intensity = node.values["intensity"]
    if content.kind == "sun":
        message.sun.CopyFrom(scene_pb2.SunLight(irradiance_w_m2=intensity, angle_deg=content.size))
    elif content.kind == "point":
        message.point.CopyFrom(scene_pb2.PointLight(power_w=intensity, radius_m=content.size))
    elif content.kind == "environment":
        if node.asset is None:
            raise ValueError(f"{node.id} is an environment without a map")
        message.environment.CopyFrom(scene_pb2.EnvironmentLight(asset=asset_hash(node.asset), strength=intensity))
    elif content.kind == "sky":
        message.sky.CopyFrom(
            scene_pb2.SkyLight(
                irradiance_w_m2=intensity,
                sun_elevation_deg=node.values["elevation"],
                turbidity=node.values.get("turbidity"),
            )
        )
    else:
        message.area.CopyFrom(scene_pb2.AreaLight(power_w=intensity, edge_m=content.size))
    return message
