"""Validation of a scene by the rules of scene.proto."""

from collections.abc import Callable, Mapping

from google.protobuf.message import Message
from metasim.v1 import scene_pb2 as pb

from render_server.checks import field_checks as check
from render_server.errors import InvalidTask
from render_server.limits import LimitExceeded, Limits
from render_server.scene.scene_graph import LENS_FIELDS, RESPONSE_FIELDS, SKY_FIELDS

#: Masks have 16 bits, and 0 stands for the background.
MAX_CLASSES = 65_534

_TRANSFORM = ("x_m", "y_m", "z_m", "yaw_deg", "pitch_deg", "roll_deg")
_COLOR = ("red", "green", "blue")


def validate_scene(scene: pb.Scene, limits: Limits) -> dict[str, int]:
    """Check everything that concerns the scene alone.

    Returns:
        Index of each node by its id.

    Raises:
        InvalidTask: the first field that is wrong.
    """
    if len(scene.nodes) > limits.nodes:
        raise LimitExceeded("scene.nodes", f"{len(scene.nodes)} long", f"this worker takes at most {limits.nodes}")
    classes = _classes(scene)
    if scene.HasField("background"):
        check.not_negative(scene.background, "scene.background", *_COLOR)
    index = _index(scene)
    camera = surroundings = None
    for i, node in enumerate(scene.nodes):
        path = f"scene.nodes[{i}]"
        if node.parent and node.parent not in index:
            raise InvalidTask(f"{path}.parent", check.shown(node.parent), "it must be the id of a node, or empty")
        if node.class_name and node.class_name not in classes:
            raise InvalidTask(
                f"{path}.class_name", check.shown(node.class_name), "it must be in scene.classes, or empty"
            )
        if node.HasField("transform"):
            check.finite(node.transform, f"{path}.transform", *_TRANSFORM)
            check.positive_if_present(node.transform, f"{path}.transform", "scale")
        content = node.WhichOneof("content")
        if node.settles and content != "mesh":
            raise InvalidTask(f"{path}.settles", "true", "only a mesh settles")
        if content is None:
            continue
        _CONTENTS[content](getattr(node, content), f"{path}.{content}")
        if content == "camera":
            if camera is not None:
                raise InvalidTask(f"{path}.camera", "a second camera", f"scene.nodes[{camera}] has one already")
            camera = i
        if content == "light" and node.light.WhichOneof("kind") in ("environment", "sky"):
            if surroundings is not None:
                what = f"scene.nodes[{surroundings}] has one already"
                raise InvalidTask(f"{path}.light", "a second environment map or sky", what)
            surroundings = i
    _refuse_cycles(scene, index)
    if camera is None:
        raise InvalidTask("scene.nodes", "without a camera", "exactly one node must carry one")
    _refuse_scaled_camera(scene, index, camera)
    return index


def ancestry(scene: pb.Scene, index: Mapping[str, int], node: int) -> list[int]:
    """Return the node and its ancestors, upwards, in a scene without cycles."""
    chain = [node]
    while scene.nodes[chain[-1]].parent:
        chain.append(index[scene.nodes[chain[-1]].parent])
    return chain


def _classes(scene: pb.Scene) -> set[str]:
    if len(scene.classes) > MAX_CLASSES:
        raise InvalidTask("scene.classes", f"{len(scene.classes)} long", f"at most {MAX_CLASSES} are allowed")
    classes: set[str] = set()
    for i, name in enumerate(scene.classes):
        check.identifier(f"scene.classes[{i}]", name)
        if name in classes:
            raise InvalidTask(f"scene.classes[{i}]", check.shown(name), "it is there already; names must be unique")
        classes.add(name)
    return classes


def _index(scene: pb.Scene) -> dict[str, int]:
    index: dict[str, int] = {}
    for i, node in enumerate(scene.nodes):
        check.identifier(f"scene.nodes[{i}].id", node.id)
        if node.id in index:
            raise InvalidTask(
                f"scene.nodes[{i}].id",
                check.shown(node.id),
                f"scene.nodes[{index[node.id]}] has it; ids must be unique",
            )
        index[node.id] = i
    return index


def _refuse_cycles(scene: pb.Scene, index: Mapping[str, int]) -> None:
    parents = [index[node.parent] if node.parent else -1 for node in scene.nodes]
    reaches_root = [False] * len(parents)
    for start in range(len(parents)):
        walked: dict[int, None] = {}
        node = start
        while node >= 0 and not reaches_root[node]:
            if node in walked:
                value = check.shown(scene.nodes[node].parent)
                raise InvalidTask(f"scene.nodes[{node}].parent", value, "parents must not form a cycle")
            walked[node] = None
            node = parents[node]
        for node in walked:
            reaches_root[node] = True


def _refuse_scaled_camera(scene: pb.Scene, index: Mapping[str, int], camera: int) -> None:
    for i in ancestry(scene, index, camera):
        transform = scene.nodes[i].transform
        if transform.HasField("scale") and transform.scale != 1:
            path = f"scene.nodes[{i}].transform.scale"
            raise InvalidTask(
                path, transform.scale, "it must be 1: a camera must neither be scaled nor inherit a scale"
            )


def _sprite(sprite: pb.Sprite, path: str) -> None:
    check.asset_hash(f"{path}.asset", sprite.asset)
    check.positive(sprite, path, "width_m", "height_m")
    if sprite.HasField("tint"):
        check.not_negative(sprite.tint, f"{path}.tint", *_COLOR)


def _mesh(mesh: pb.Mesh, path: str) -> None:
    shape = mesh.WhichOneof("shape")
    if shape is None:
        raise InvalidTask(f"{path}.shape", "absent", "allowed: primitive, asset")
    if shape == "primitive":
        check.known(f"{path}.primitive", mesh.primitive, pb.Primitive.DESCRIPTOR)
    else:
        check.asset_hash(f"{path}.asset.hash", mesh.asset.hash)
        check.known(f"{path}.asset.format", mesh.asset.format, pb.MeshFormat.DESCRIPTOR)
    check.positive_if_present(mesh, path, "size_x", "size_y", "size_z")
    if mesh.HasField("material"):
        _material(mesh.material, f"{path}.material")


def _material(material: pb.Material, path: str) -> None:
    if material.HasField("base_color"):
        check.not_negative(material.base_color, f"{path}.base_color", *_COLOR)
    for field in ("texture", "normal_texture", "roughness_texture", "metallic_texture"):
        if getattr(material, field):
            check.asset_hash(f"{path}.{field}", getattr(material, field))
    for field in ("roughness", "metallic", "specular", "opacity"):
        check.within(material, path, field, 0, 1)
    check.positive_if_present(material, path, "uv_scale")
    check.not_negative(material, path, "emission")


def _camera(camera: pb.Camera, path: str) -> None:
    projection = camera.WhichOneof("projection")
    if projection is None:
        raise InvalidTask(f"{path}.projection", "absent", "allowed: orthographic, perspective")
    if projection == "orthographic":
        check.positive(camera.orthographic, f"{path}.orthographic", "height_m")
    else:
        check.positive(camera.perspective, f"{path}.perspective", "vertical_fov_deg")
        if camera.perspective.vertical_fov_deg >= 180:
            field = f"{path}.perspective.vertical_fov_deg"
            raise InvalidTask(field, camera.perspective.vertical_fov_deg, "it must be < 180")
        _bounded(camera.perspective.lens, f"{path}.perspective.lens", LENS_FIELDS)
    check.positive_if_present(camera, path, "near_m", "far_m")
    near_m = camera.near_m if camera.HasField("near_m") else 0.1
    far_m = camera.far_m if camera.HasField("far_m") else 1000.0
    if near_m >= far_m:
        raise InvalidTask(f"{path}.near_m", near_m, f"it must be < far_m, which is {far_m}")
    _bounded(camera.response, f"{path}.response", RESPONSE_FIELDS)


def _bounded(message: Message, path: str, fields: Mapping[int, tuple[str, float, float, float]]) -> None:
    """Require that each field that is present lies in its range."""
    present = {field.name for field, _ in message.ListFields()}
    for field, _, low, high in fields.values():
        if field in present:
            check.within(message, path, field, low, high)


def _light(light: pb.Light, path: str) -> None:
    kind = light.WhichOneof("kind")
    if kind is None:
        raise InvalidTask(f"{path}.kind", "absent", "allowed: sun, point, area, environment, sky")
    if kind == "sun":
        check.not_negative(light.sun, f"{path}.sun", "irradiance_w_m2")
        check.within(light.sun, f"{path}.sun", "angle_deg", 0, 180)
    elif kind == "point":
        check.not_negative(light.point, f"{path}.point", "power_w", "radius_m")
    elif kind == "environment":
        check.asset_hash(f"{path}.environment.asset", light.environment.asset)
        check.not_negative(light.environment, f"{path}.environment", "strength")
    elif kind == "sky":
        check.not_negative(light.sky, f"{path}.sky", "irradiance_w_m2")
        _bounded(light.sky, f"{path}.sky", SKY_FIELDS)
    else:
        check.not_negative(light.area, f"{path}.area", "power_w")
        check.positive(light.area, f"{path}.area", "edge_m")
    if light.HasField("color"):
        check.not_negative(light.color, f"{path}.color", *_COLOR)


_CONTENTS: dict[str, Callable[..., None]] = {"sprite": _sprite, "mesh": _mesh, "camera": _camera, "light": _light}
