"""Small tasks for the checks of an endpoint."""

from collections.abc import Sequence

import numpy as np
from metasim.hashing import content_hash
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Worker
from trainer.checks.conversation import Broken, Conversation


def flat_scene(*nodes: scene_pb2.Node, height_m: float = 32.0, classes: Sequence[str] = ("thing",)) -> scene_pb2.Scene:
    """Return a scene seen from above by an orthographic camera, with one pixel per metre in an image of 32 x 32."""
    camera = scene_pb2.Node(
        id="camera",
        transform=scene_pb2.Transform(z_m=10),
        camera=scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=height_m)),
    )
    return scene_pb2.Scene(classes=classes, nodes=[camera, *nodes])


def make_task(task_id: str, scene: scene_pb2.Scene, *outputs: "pb.Output.ValueType") -> pb.RenderTask:
    """Return a task of 32 x 32 pixels with one sample per pixel and display values; default output: a float image."""
    raw = pb.VIEW_TRANSFORM_RAW
    return pb.RenderTask(
        id=task_id,
        scene=scene,
        settings=pb.RenderSettings(width_px=32, height_px=32, samples=1, view_transform=raw),
        outputs=outputs or (pb.OUTPUT_IMAGE_F32,),
    )


def demand(condition: object, text: str) -> None:
    """Raise `Broken` unless the condition holds."""
    if not condition:
        raise Broken(text)


def white(worker: Worker) -> str:
    return worker.texture(np.full((8, 8, 3), 255, np.uint8))


def absent() -> str:
    """Return the hash of an asset that nobody sends."""
    return content_hash(b"an asset that is never sent")


def sprite(asset: str, *, size_m: float = 8.0, node_id: str = "thing", **transform: float) -> scene_pb2.Node:
    return scene_pb2.Node(
        id=node_id,
        class_name="thing",
        transform=scene_pb2.Transform(**transform),
        sprite=scene_pb2.Sprite(
            asset=asset, width_m=size_m, height_m=size_m, tint=scene_pb2.Color(red=0.5, green=0.4, blue=0.3)
        ),
    )


def good(worker: Worker, task_id: str = "good") -> pb.RenderTask:
    return make_task(task_id, flat_scene(sprite(white(worker), x_m=3, y_m=-2, yaw_deg=20)))


def held(task_id: str) -> pb.RenderTask:
    """Return a task that waits for an asset that never comes."""
    return make_task(task_id, flat_scene(sprite(absent())))


def ready(worker: Worker, talk: Conversation) -> pb.Slots:
    """Read the slots and send every asset."""
    slots = talk.slots()
    for name, data in worker.assets.items():
        talk.asset(name, data)
    return slots


def goes_on(worker: Worker, talk: Conversation) -> None:
    """Demand that the stream still renders."""
    task = good(worker, "afterwards")
    for name, data in worker.assets.items():
        talk.asset(name, data)
    talk.task(task)
    demand(talk.result().id == "afterwards", "the next task is answered under another id")


def layers_of(result: pb.RenderResult) -> dict[int, np.ndarray]:
    return {layer.output: tensor_from_proto(layer.tensor) for layer in result.layers}


def image_of(worker: Worker, task: pb.RenderTask) -> np.ndarray:
    return layers_of(worker.render(task))[pb.OUTPUT_IMAGE_F32]
