"""Small flat scenes for benchmarks: one soft sprite each, which compresses about as well as a digit."""

import io
from collections.abc import Mapping

import numpy as np
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from PIL import Image

from trainer.pool.assets import AssetStore

_SPRITES = 8


def digit_tasks(
    count: int, size_px: int, steps: Mapping[scene_pb2.Attribute.ValueType, float], assets: AssetStore
) -> list[pb.RenderTask]:
    """Return tasks with images of `size_px` squared and a column for each attribute in `steps`."""
    rng = np.random.default_rng(0)
    sprites = [assets.add(_sprite(rng)) for _ in range(_SPRITES)]
    tasks = []
    for i in range(count):
        x_m, y_m = rng.uniform(-0.1, 0.1, 2) * size_px
        camera = scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=size_px))
        sprite = scene_pb2.Sprite(asset=sprites[i % _SPRITES], width_m=size_px / 2, height_m=size_px / 2)
        digit = scene_pb2.Node(id="digit", class_name="digit", sprite=sprite)
        digit.transform.CopyFrom(scene_pb2.Transform(x_m=x_m, y_m=y_m, yaw_deg=rng.uniform(-30, 30)))
        nodes = [scene_pb2.Node(id="camera", transform=scene_pb2.Transform(z_m=10), camera=camera), digit]
        settings = pb.RenderSettings(
            width_px=size_px, height_px=size_px, samples=1, view_transform=pb.VIEW_TRANSFORM_RAW
        )
        tasks.append(
            pb.RenderTask(
                id=f"digit-{i}",
                scene=scene_pb2.Scene(nodes=nodes, classes=["digit"]),
                settings=settings,
                outputs=[pb.OUTPUT_IMAGE_F32],
                columns=[pb.Column(node="digit", attribute=name, step=step) for name, step in steps.items()],
            )
        )
    return tasks


def _sprite(rng: np.random.Generator) -> bytes:
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    alpha = 255 * np.exp(-3 * (x**2 + 2 * y**2)) * rng.uniform(0.7, 1.0, x.shape)
    texels = np.full((28, 28, 4), 255, np.uint8)
    texels[..., 3] = alpha.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(texels, "RGBA").save(buffer, format="PNG")
    return buffer.getvalue()
