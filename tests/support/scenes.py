"""Small wire scenes for tests: one unit is one pixel, origin in the image's centre, x right, y up."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from metasim.hashing import content_hash
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from PIL import Image

#: Where the real test data lies; tests that need it skip where it is absent.
DATA = Path(os.environ.get("METASIM_DATA", Path(__file__).parents[3] / "shared" / "data"))

ALL_OUTPUTS = tuple(number for number in pb.Output.values() if number)


def png(array: np.ndarray) -> bytes:
    """A PNG of a uint8 array [h, w] (grey), [h, w, 2] (grey, alpha), [h, w, 3] or [h, w, 4]."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def digit(intensity: np.ndarray) -> bytes:
    """A white sprite whose alpha is the digit's intensity [h, w] uint8."""
    return png(np.stack((np.full_like(intensity, 255),) * 3 + (intensity,), axis=2))


class Assets(dict[str, Path]):
    """Files by content hash, as an engine gets them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def add(self, data: bytes) -> str:
        """Stores a file and returns its hash."""
        name = content_hash(data)
        self[name] = self._folder / name
        self[name].write_bytes(data)
        return name


def sprite(node_id: str, asset: str, width: float, height: float, **transform: float) -> scene_pb2.Node:
    """A sprite node of class "thing"."""
    return scene_pb2.Node(
        id=node_id,
        class_name="thing",
        transform=scene_pb2.Transform(**transform),
        sprite=scene_pb2.Sprite(asset=asset, width_m=width, height_m=height),
    )


def frame(node_id: str, **transform: float) -> scene_pb2.Node:
    """A node without content."""
    return scene_pb2.Node(id=node_id, transform=scene_pb2.Transform(**transform))


def sprite_scene(nodes: Iterable[scene_pb2.Node], height: float, camera_z: float = 100.0) -> scene_pb2.Scene:
    """The nodes and an orthographic camera above them that sees `height` units."""
    camera = scene_pb2.Node(
        id="camera",
        transform=scene_pb2.Transform(z_m=camera_z),
        camera=scene_pb2.Camera(orthographic=scene_pb2.Orthographic(height_m=height)),
    )
    return scene_pb2.Scene(nodes=[*nodes, camera], classes=["other", "thing"])


def task(
    scene: scene_pb2.Scene,
    width: int,
    height: int,
    *,
    outputs: Iterable[int] = (pb.OUTPUT_IMAGE_F32,),
    columns: Iterable[pb.Column] = (),
    samples: int = 1,
    filter_width: float = 0.0,
    view_transform: int = pb.VIEW_TRANSFORM_RAW,
    seed: int = 0,
) -> pb.RenderTask:
    """A task with the settings of digit scenes."""
    settings = pb.RenderSettings(
        width_px=width,
        height_px=height,
        samples=samples,
        filter_width_px=filter_width,
        view_transform=view_transform,
    )
    return pb.RenderTask(id="t", scene=scene, settings=settings, seed=seed, outputs=outputs, columns=columns)


def column(node: str, attribute: int, step: float, **bounds: float) -> pb.Column:
    """A column; `bounds` are `minimum` and `maximum`."""
    return pb.Column(node=node, attribute=attribute, step=step, **bounds)


def layers(result: pb.RenderResult) -> Mapping[int, np.ndarray]:
    """The result's arrays by output."""
    return {layer.output: tensor_from_proto(layer.tensor) for layer in result.layers}


def image(result: pb.RenderResult) -> np.ndarray:
    """The result's float image [h, w, 3]."""
    return layers(result)[pb.OUTPUT_IMAGE_F32]


def difference(result: pb.RenderResult, index: int, width: int, height: int) -> np.ndarray:
    """A column's difference, put back into a full frame [h, w, 3] float32."""
    column_result = result.columns[index]
    full = np.zeros((height, width, 3), np.float32)
    region = column_result.region
    top, left = int(region.y_px), int(region.x_px)
    part = tensor_from_proto(column_result.difference)
    full[top : top + part.shape[0], left : left + part.shape[1]] = part
    return full


def without_timing(result: pb.RenderResult) -> bytes:
    """What must be a pure function of the task."""
    copy = pb.RenderResult()
    copy.CopyFrom(result)
    copy.ClearField("timing")
    return copy.SerializeToString(deterministic=True)
