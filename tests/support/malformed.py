"""Tasks that break one rule of the wire contract each."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.tasks import sprite_task


@dataclass(frozen=True)
class Malformed:
    """A change that makes a good task bad.

    Attributes:
        name: of the case.
        change: breaks a task.
        field: how the error must begin.
        says: what else it must say.
    """

    name: str
    change: Callable[[pb.RenderTask], object]
    field: str
    says: str

    def task(self, task_id: str = "task") -> pb.RenderTask:
        """A good task, broken."""
        task = sprite_task(task_id)
        self.change(task)
        return task


def _mesh(**fields: object) -> Callable[[pb.RenderTask], object]:
    def change(task: pb.RenderTask) -> None:
        task.settings.view_transform = pb.VIEW_TRANSFORM_STANDARD
        task.scene.nodes.add(id="mesh", mesh=scene_pb2.Mesh(**fields))

    return change


def _light(**fields: object) -> Callable[[pb.RenderTask], object]:
    def change(task: pb.RenderTask) -> None:
        task.settings.view_transform = pb.VIEW_TRANSFORM_STANDARD
        task.scene.nodes.add(id="light", light=scene_pb2.Light(**fields))

    return change


def _encode(**fields: int) -> Callable[[pb.RenderTask], object]:
    def change(task: pb.RenderTask) -> None:
        task.outputs[:] = [pb.OUTPUT_IMAGE_U8]
        task.encodings.add(**{"output": pb.OUTPUT_IMAGE_U8, "format": pb.IMAGE_FORMAT_PNG, **fields})

    return change


def _encode_mask(task: pb.RenderTask) -> None:
    task.outputs[:] = [pb.OUTPUT_CLASS_MASK]
    task.encodings.add(output=pb.OUTPUT_CLASS_MASK, format=pb.IMAGE_FORMAT_WEBP)


def _node(index: int, **fields: object) -> Callable[[pb.RenderTask], object]:
    return lambda task: [setattr(task.scene.nodes[index], name, value) for name, value in fields.items()]


def _set(path: str, value: object) -> Callable[[pb.RenderTask], object]:
    def change(task: pb.RenderTask) -> None:
        message = task
        *parents, field = path.split(".")
        for part in parents:
            name, _, index = part.partition("[")
            message = getattr(message, name)
            if index:
                message = message[int(index[:-1])]
        setattr(message, field, value)

    return change


def _camera(camera: scene_pb2.Camera) -> Callable[[pb.RenderTask], object]:
    return lambda task: task.scene.nodes[0].camera.CopyFrom(camera)


_FINITE = "it must be finite"

#: Every rule at least once.
MALFORMED: list[Malformed] = [
    Malformed("long-id", _set("id", "x" * 257), "id is", "it must have 1 to 256 characters"),
    Malformed("no-width", _set("settings.width_px", 0), "settings.width_px is 0", "at least 1"),
    Malformed("no-height", _set("settings.height_px", 0), "settings.height_px is 0", "at least 1"),
    Malformed("no-samples", _set("settings.samples", 0), "settings.samples is 0", "at least 1"),
    Malformed("huge-image", _set("settings.width_px", 2**32 - 1), "settings.width_px is", "at most 16777216 pixels"),
    Malformed("many-bounces", _set("settings.max_bounces", 65), "settings.max_bounces is 65", "at most 64"),
    Malformed("nan-filter", _set("settings.filter_width_px", math.nan), "settings.filter_width_px is nan", _FINITE),
    Malformed("wide-filter", _set("settings.filter_width_px", 4.5), "settings.filter_width_px is 4.5", "from 0 to 4"),
    Malformed("no-view", _set("settings.view_transform", 0), "settings.view_transform is 0", "2 (VIEW_TRANSFORM_RAW)"),
    Malformed("unknown-view", _set("settings.view_transform", 7), "settings.view_transform is 7", "allowed: 1"),
    Malformed(
        "nothing", lambda t: (t.ClearField("outputs"), t.ClearField("columns")), "outputs is empty", "at least one"
    ),
    Malformed("unknown-output", lambda t: t.outputs.append(99), "outputs[1] is 99", "7 (OUTPUT_BOXES)"),
    Malformed("twice-output", lambda t: t.outputs.append(2), "outputs[1] is OUTPUT_IMAGE_F32", "may occur twice"),
    Malformed("nan-timeout", _set("timeout_s", math.nan), "timeout_s is nan", ">= 0"),
    Malformed("past-timeout", _set("timeout_s", -1), "timeout_s is -1.0", ">= 0"),
    Malformed("no-camera", lambda t: t.scene.nodes[0].ClearField("camera"), "scene.nodes is without a camera", "one"),
    Malformed(
        "two-cameras",
        lambda t: t.scene.nodes.add(id="c2").camera.CopyFrom(t.scene.nodes[0].camera),
        "scene.nodes[3].camera is a second camera",
        "scene.nodes[0]",
    ),
    Malformed("same-id", _node(1, id="digit"), "scene.nodes[2].id is 'digit'", "scene.nodes[1] has it"),
    Malformed("no-id", _node(1, id=""), "scene.nodes[1].id is ''", "1 to 256 characters"),
    Malformed("no-parent", _node(2, parent="nobody"), "scene.nodes[2].parent is 'nobody'", "the id of a node"),
    Malformed("own-parent", _node(2, parent="digit"), "scene.nodes[2].parent is 'digit'", "must not form a cycle"),
    Malformed("cycle", _node(1, parent="digit"), "scene.nodes[", "must not form a cycle"),
    Malformed("class", _node(2, class_name="cat"), "scene.nodes[2].class_name is 'cat'", "in scene.classes"),
    Malformed("twice-class", lambda t: t.scene.classes.append("digit"), "scene.classes[2] is 'digit'", "unique"),
    Malformed("empty-class", lambda t: t.scene.classes.append(""), "scene.classes[2] is ''", "1 to 256"),
    Malformed("nan-x", _set("scene.nodes[2].transform.x_m", math.nan), "scene.nodes[2].transform.x_m is nan", _FINITE),
    Malformed("inf-yaw", _set("scene.nodes[2].transform.yaw_deg", math.inf), "scene.nodes[2].transform.yaw", "finite"),
    Malformed("far-away", _set("scene.nodes[2].transform.z_m", 1e30), "scene.nodes[2].transform.z_m is 1e+30", "1e+12"),
    Malformed("no-scale", _set("scene.nodes[2].transform.scale", 0), "scene.nodes[2].transform.scale is 0.0", "> 0"),
    Malformed("scaled-camera", _set("scene.nodes[0].transform.scale", 2), "scene.nodes[0].transform.scale is 2.0", "1"),
    Malformed(
        "negative-background", _set("scene.background.red", -0.5), "scene.background.red is -0.5", "it must be >= 0"
    ),
    Malformed(
        "path-as-hash",
        _set("scene.nodes[2].sprite.asset", "../../etc/passwd"),
        "scene.nodes[2].sprite.asset is '../../etc/passwd'",
        "content hash",
    ),
    Malformed("no-hash", _set("scene.nodes[2].sprite.asset", ""), "scene.nodes[2].sprite.asset is ''", "64 lower-case"),
    Malformed("thin", _set("scene.nodes[2].sprite.width_m", 0), "scene.nodes[2].sprite.width_m is 0.0", "> 0"),
    Malformed("tint", _set("scene.nodes[2].sprite.tint.green", -1), "scene.nodes[2].sprite.tint.green is -1", ">= 0"),
    Malformed(
        "no-projection", _camera(scene_pb2.Camera()), "scene.nodes[0].camera.projection is absent", "perspective"
    ),
    Malformed(
        "half-turn",
        _camera(scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=180))),
        "scene.nodes[0].camera.perspective.vertical_fov_deg is 180.0",
        "< 180",
    ),
    Malformed("near", _set("scene.nodes[0].camera.near_m", 1000), "scene.nodes[0].camera.near_m is 1000.0", "< far_m"),
    Malformed("no-shape", _mesh(), "scene.nodes[3].mesh.shape is absent", "allowed: primitive, asset"),
    Malformed("unknown-shape", _mesh(primitive=9), "scene.nodes[3].mesh.primitive is 9", "3 (PRIMITIVE_SPHERE)"),
    Malformed("flat-mesh", _mesh(primitive=1, size_x=0), "scene.nodes[3].mesh.size_x is 0.0", "> 0"),
    Malformed(
        "rough",
        _mesh(primitive=1, material=scene_pb2.Material(roughness=1.5)),
        "scene.nodes[3].mesh.material.roughness is 1.5",
        "from 0 to 1",
    ),
    Malformed(
        "no-format",
        _mesh(asset=scene_pb2.MeshAsset(hash="a" * 64)),
        "scene.nodes[3].mesh.asset.format is 0",
        "1 (MESH_FORMAT_PLY)",
    ),
    Malformed("no-kind", _light(), "scene.nodes[3].light.kind is absent", "sun, point, area"),
    Malformed(
        "dark-sun",
        _light(sun=scene_pb2.SunLight(irradiance_w_m2=-1)),
        "scene.nodes[3].light.sun.irradiance_w_m2 is -1.0",
        ">= 0",
    ),
    Malformed(
        "raw-mesh",
        lambda t: t.scene.nodes.add(id="m", mesh=scene_pb2.Mesh(primitive=1)),
        "scene.nodes[3].mesh is present",
        "VIEW_TRANSFORM_RAW",
    ),
    Malformed("column-node", _set("columns[0].node", "nobody"), "columns[0].node is 'nobody'", "the id of a node"),
    Malformed("encoding-output", _encode(output=pb.OUTPUT_DEPTH), "encodings[0].output is", "returned as image files"),
    Malformed("encoding-unasked", _encode(output=pb.OUTPUT_CLASS_MASK), "encodings[0].output is", "the task's outputs"),
    Malformed("encoding-format", _encode(format=9), "encodings[0].format is 9", "1 (IMAGE_FORMAT_PNG)"),
    Malformed("encoding-quality", _encode(quality=1), "encodings[0].quality is 1", "at most 0"),
    Malformed(
        "encoding-percent", _encode(format=pb.IMAGE_FORMAT_JPEG, quality=101), "encodings[0].quality", "at most 100"
    ),
    Malformed("encoding-mask", _encode_mask, "encodings[0].format is IMAGE_FORMAT_WEBP", "IMAGE_FORMAT_PNG"),
    Malformed("encoding-twice", lambda task: (_encode()(task), _encode()(task)), "encodings[1].output is", "twice"),
    Malformed("column-attribute", _set("columns[0].attribute", 77), "columns[0].attribute is 77", "1 (ATTRIBUTE_X)"),
    Malformed("column-foreign", _set("columns[0].attribute", 15), "columns[0].attribute is ATTRIBUTE_FOV", "'digit'"),
    Malformed("column-twice", _set("columns[1].attribute", 1), "columns[1].attribute is ATTRIBUTE_X", "columns[0]"),
    Malformed("column-step", _set("columns[0].step", -1), "columns[0].step is -1.0", ">= 0"),
    Malformed("column-nan", _set("columns[0].step", math.nan), "columns[0].step is nan", _FINITE),
    Malformed("column-range", _set("columns[3].minimum", 2), "columns[3]", "range"),
    Malformed(
        "column-tight",
        lambda t: (_set("columns[3].minimum", 1)(t), _set("columns[3].maximum", 1)(t)),
        "columns[3].step is 0.05",
        "step",
    ),
    Malformed(
        "column-camera-scale",
        lambda t: _set("columns[3].node", "camera")(t),
        "columns[3].attribute is ATTRIBUTE_SCALE",
        "camera",
    ),
]
