"""Small tasks that every engine can draw, and their assets."""

import io

import numpy as np
from metasim.hashing import content_hash
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from PIL import Image


def sprite_png(seed: int = 0, size_px: int = 8) -> bytes:
    """A grey PNG with an alpha channel, different for each seed."""
    rng = np.random.default_rng(seed)
    texels = rng.integers(0, 256, (size_px, size_px, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(texels, "RGBA").save(buffer, format="PNG")
    return buffer.getvalue()


#: Every asset that the tasks of this module name.
ASSETS: dict[str, bytes] = {content_hash(data): data for data in map(sprite_png, range(4))}


def sprite_task(task_id: str = "task", *, seed: int = 0, size_px: int = 32, columns: bool = True) -> pb.RenderTask:
    """A sprite on a frame under an orthographic camera, with six columns.

    Scenes of different seeds place the sprite differently and take one of the assets in turn.
    """
    rng = np.random.default_rng(seed)
    x_m, y_m = rng.uniform(-4, 4, 2)
    scene = scene_pb2.Scene(
        classes=["digit", "other"],
        nodes=[
            scene_pb2.Node(
                id="camera",
                transform=scene_pb2.Transform(z_m=10),
                camera=scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=size_px)),
            ),
            scene_pb2.Node(id="frame", transform=scene_pb2.Transform(x_m=1)),
            scene_pb2.Node(
                id="digit",
                parent="frame",
                class_name="digit",
                transform=scene_pb2.Transform(x_m=x_m, y_m=y_m, yaw_deg=rng.uniform(-30, 30), scale=1),
                sprite=scene_pb2.Sprite(asset=list(ASSETS)[seed % len(ASSETS)], width_m=16, height_m=16),
            ),
        ],
    )
    task = pb.RenderTask(
        id=task_id,
        scene=scene,
        settings=pb.RenderSettings(
            width_px=size_px, height_px=size_px, samples=1, view_transform=pb.VIEW_TRANSFORM_RAW
        ),
        outputs=[pb.OUTPUT_IMAGE_F32],
    )
    if columns:
        steps = {
            scene_pb2.ATTRIBUTE_X: 0.5,
            scene_pb2.ATTRIBUTE_Y: 0.5,
            scene_pb2.ATTRIBUTE_YAW: 2.0,
            scene_pb2.ATTRIBUTE_SCALE: 0.05,
            scene_pb2.ATTRIBUTE_WIDTH: 0.5,
            scene_pb2.ATTRIBUTE_HEIGHT: 0.5,
        }
        for attribute, step in steps.items():
            task.columns.add(node="digit", attribute=attribute, step=step)
    return task


def without_timing(result: pb.RenderResult) -> bytes:
    """What must be the same bytes on every worker."""
    copy = pb.RenderResult()
    copy.CopyFrom(result)
    copy.ClearField("timing")
    return copy.SerializeToString(deterministic=True)
