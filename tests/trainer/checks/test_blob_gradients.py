"""The formula of blobs against the fake engine's own images, and against differences of itself."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import difference, image, task

from render_server.engines.fake import FakeEngine
from trainer.checks.blob_gradients import blob_image, blob_jacobian

SETTINGS = pb.RenderSettings(width_px=24, height_px=16, samples=1, view_transform=pb.VIEW_TRANSFORM_RAW)
ANGLES = tuple(getattr(scene_pb2, f"ATTRIBUTE_{name}") for name in ("YAW", "PITCH", "ROLL", "FOV"))
COLUMNS = [
    pb.Column(node=node, attribute=getattr(scene_pb2, f"ATTRIBUTE_{name}"))
    for node, names in {
        "frame": ("X", "YAW", "ROLL", "SCALE"),
        "sprite": ("Y", "PITCH", "WIDTH", "HEIGHT", "RED"),
        "mesh": ("Z", "WIDTH", "DEPTH", "BLUE"),
        "camera": ("X", "Z", "YAW", "FOV"),
    }.items()
    for name in names
]


def scene(camera: scene_pb2.Camera) -> scene_pb2.Scene:
    return scene_pb2.Scene(
        background=scene_pb2.Color(red=0.1, blue=0.2),
        nodes=[
            scene_pb2.Node(id="camera", transform=scene_pb2.Transform(z_m=10, x_m=0.3, roll_deg=4), camera=camera),
            scene_pb2.Node(id="frame", transform=scene_pb2.Transform(x_m=1, yaw_deg=20, roll_deg=10, scale=1.2)),
            scene_pb2.Node(
                id="sprite",
                parent="frame",
                transform=scene_pb2.Transform(x_m=-1, y_m=0.5, pitch_deg=15),
                sprite=scene_pb2.Sprite(width_m=4, height_m=2, tint=scene_pb2.Color(red=0.5, green=0.3, blue=0.1)),
            ),
            scene_pb2.Node(
                id="mesh",
                transform=scene_pb2.Transform(y_m=-1, z_m=1),
                mesh=scene_pb2.Mesh(
                    primitive=scene_pb2.PRIMITIVE_CUBE,
                    size_y=2,
                    material=scene_pb2.Material(base_color=scene_pb2.Color(red=0.2, green=0.1, blue=0.3)),
                ),
            ),
        ],
    )


@pytest.mark.parametrize(
    "camera",
    [
        scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=6)),
        scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=35)),
    ],
)
def test_image_and_derivatives_are_those_of_the_engine(camera: scene_pb2.Camera) -> None:
    shown = scene(camera)
    asked = [pb.Column(node=column.node, attribute=column.attribute, step=_step(column)) for column in COLUMNS]

    rendered = FakeEngine().render(task(shown, 24, 16, columns=asked), {})
    exact = blob_jacobian(shown, SETTINGS, COLUMNS)

    assert np.allclose(blob_image(shown, SETTINGS, {}).numpy(), image(rendered), atol=1e-6)
    assert np.abs(exact).max(axis=(1, 2, 3)).min() > 1e-4
    for number, derivative in enumerate(derivatives(rendered, len(asked))):
        # Differences come in half precision.
        assert np.abs(exact[number] - derivative).max() < 0.03 * np.abs(exact[number]).max()


def _step(column: pb.Column) -> float:
    return 0.3 if column.attribute in ANGLES else 0.02


def derivatives(rendered: pb.RenderResult, count: int) -> Sequence[np.ndarray]:
    return [difference(rendered, index, 24, 16) / rendered.columns[index].span for index in range(count)]


def test_derivatives_are_those_of_the_formula() -> None:
    shown = scene(scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=35)))
    address = ("frame", scene_pb2.ATTRIBUTE_YAW)

    exact = blob_jacobian(shown, SETTINGS, COLUMNS)[1]

    above, below = (
        blob_image(shown, SETTINGS, {address: torch.tensor(20 + step, dtype=torch.float64)}).numpy()
        for step in (1e-5, -1e-5)
    )
    assert np.allclose(exact, (above - below) / 2e-5, atol=1e-9)
