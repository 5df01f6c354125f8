"""Checks that invalid tasks are refused: each rule of the specification, and a task that breaks it."""

import math
from collections.abc import Callable

import numpy as np
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Check, Rule, Worker
from trainer.checks.endpoint_tasks import (
    demand,
    goes_on,
    good,
    ready,
)

_Change = Callable[[pb.RenderTask], object]


def _set(path: str, value: object) -> _Change:
    """Return a change of one field, by its path in the task; a number stands for an index."""

    def change(task: pb.RenderTask) -> None:
        *parents, last = path.split(".")
        message: object = task
        for name in parents:
            message = message[int(name)] if name.isdigit() else getattr(message, name)  # type: ignore[index]
        setattr(message, last, value)

    return change


_INVALID: dict[str, tuple[str, _Change]] = {
    "id-empty": ("id has 1 to 256 characters", _set("id", "")),
    "outputs-empty": ("without columns there is an output", lambda t: t.ClearField("outputs")),
    "outputs-twice": ("no output twice", lambda t: t.outputs.append(t.outputs[0])),
    "output-unspecified": ("OUTPUT_UNSPECIFIED is invalid", lambda t: t.outputs.append(pb.OUTPUT_UNSPECIFIED)),
    "width-zero": ("width_px >= 1", _set("settings.width_px", 0)),
    "samples-zero": ("samples >= 1", _set("settings.samples", 0)),
    "filter-too-wide": ("filter_width_px is 0 to 4", _set("settings.filter_width_px", 5)),
    "view-transform-unspecified": ("VIEW_TRANSFORM_UNSPECIFIED is invalid", _set("settings.view_transform", 0)),
    "timeout-negative": ("timeout_s >= 0", _set("timeout_s", -1)),
    "node-id-twice": ("ids of nodes are unique", _set("scene.nodes.1.id", "camera")),
    "parent-unknown": ("parent is the id of a node", _set("scene.nodes.1.parent", "nobody")),
    "parents-cycle": ("parents form no cycle", _set("scene.nodes.1.parent", "thing")),
    "class-unknown": ("class_name is one of Scene.classes", _set("scene.nodes.1.class_name", "unknown")),
    "classes-twice": ("classes are unique", lambda t: t.scene.classes.append("thing")),
    "camera-missing": ("exactly one camera", lambda t: t.scene.nodes[0].ClearField("camera")),
    "camera-twice": ("exactly one camera", lambda t: t.scene.nodes[1].camera.orthographic.SetInParent()),
    "projection-unset": ("a camera has a projection", lambda t: t.scene.nodes[0].camera.ClearField("orthographic")),
    "camera-scaled": ("a camera is not scaled", _set("scene.nodes.0.transform.scale", 2)),
    "near-beyond-far": ("near < far", _set("scene.nodes.0.camera.near_m", 2000)),
    "shape-unset": ("a mesh has a shape", lambda t: t.scene.nodes[1].mesh.SetInParent()),
    "light-unset": ("a light has a kind", lambda t: t.scene.nodes[1].light.SetInParent()),
    "not-finite": ("numbers are finite", _set("scene.nodes.1.transform.x_m", math.nan)),
    "scale-zero": ("scale > 0", _set("scene.nodes.1.transform.scale", 0)),
    "sprite-size-negative": ("width_m > 0", _set("scene.nodes.1.sprite.width_m", -1)),
    "colour-negative": ("colours are >= 0", _set("scene.nodes.1.sprite.tint.red", -0.1)),
    "raw-with-meshes": (
        "VIEW_TRANSFORM_RAW is for sprites",
        lambda t: t.scene.nodes.add(id="m").mesh.CopyFrom(scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE)),
    ),
    "column-node-unknown": (
        "Column.node is the id of a node",
        lambda t: t.columns.add(node="nobody", attribute=scene_pb2.ATTRIBUTE_X),
    ),
    "column-attribute-missing": (
        "the node has the attribute",
        lambda t: t.columns.add(node="thing", attribute=scene_pb2.ATTRIBUTE_FOV),
    ),
    "column-twice": (
        "each (node, attribute) at most once",
        lambda t: t.columns.extend([pb.Column(node="thing", attribute=scene_pb2.ATTRIBUTE_X)] * 2),
    ),
    "column-outside-range": (
        "the value lies inside the column's range",
        lambda t: t.columns.add(node="thing", attribute=scene_pb2.ATTRIBUTE_X, minimum=100.0),
    ),
    "gradient-without-columns": (
        "an image gradient needs columns",
        lambda t: t.image_gradient.CopyFrom(tensor_to_proto(np.zeros((32, 32, 3), np.float32))),
    ),
}


def _refuses(name: str, change: _Change) -> Check:
    def check(worker: Worker) -> None:
        task = good(worker, name)
        change(task)
        with worker.talk() as talk:
            ready(worker, talk)
            talk.task(task)
            error = talk.error(pb.CODE_INVALID_ARGUMENT)
            demand(error.id == task.id, f"the answer has the id {error.id!r}")
            goes_on(worker, talk)

    return check


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = tuple(
    Rule(f"invalid-{name}", text, _refuses(name, change)) for name, (text, change) in _INVALID.items()
)
