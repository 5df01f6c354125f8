"""Images that workers encode: the bytes that the client would make of the pixels, and clear errors of older workers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from metasim.image_files import decode_image, encode_image
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from PIL import Image
from support.grammars import write_sprites
from support.scripted import scripted, slots
from support.servers import server
from support.tasks import ASSETS, sprite_task

from trainer.datasets.readers import open_dataset
from trainer.datasets.writers.picture import Encoding
from trainer.errors import InputError
from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions, RenderPool
from trainer.pool.status import pool_status


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server("--engine", "raster", "--workers", "1") as running:
        yield running.address


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_sprites(tmp_path_factory.mktemp("world")))


@pytest.mark.parametrize("image_format", sorted(set(pb.ImageFormat.values()) - {0}))
def test_a_worker_returns_the_file_of_the_pixels(endpoint: str, image_format: "pb.ImageFormat.ValueType") -> None:
    outputs = [pb.OUTPUT_IMAGE_U8, pb.OUTPUT_CLASS_MASK, pb.OUTPUT_BOXES]
    task = sprite_task("pixels", columns=False)
    task.outputs[:] = outputs
    encoded = pb.RenderTask()
    encoded.CopyFrom(task)
    encoded.id = "files"
    encoded.encodings.add(output=pb.OUTPUT_IMAGE_U8, format=image_format)
    encoded.encodings.add(output=pb.OUTPUT_CLASS_MASK, format=pb.IMAGE_FORMAT_PNG)
    with RenderPool(endpoint, assets=ASSETS.__getitem__) as pool:
        pixels, files = pool.render([task, encoded])
    image, mask = (tensor_from_proto(layer.tensor) for layer in pixels.layers)
    assert [layer.HasField("tensor") for layer in files.layers] == [False, False]
    assert files.layers[0].file == encode_image(image, image_format)
    assert np.array_equal(decode_image(files.layers[1].file), mask)
    assert mask.any()
    assert files.boxes == pixels.boxes
    assert files.timing.encode_s > 0


def test_status_lists_the_formats(endpoint: str) -> None:
    [worker] = pool_status(endpoint, watch_s=0)
    assert worker.image_formats == ("png", "jpeg", "webp")


@pytest.mark.parametrize(("images", "suffix"), [("jpeg:80", "jpg"), ("webp", "webp")])
@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "yolo", "voc"])
def test_datasets_hold_the_images_in_that_format(
    name: str, images: str, suffix: str, world: str, endpoint: str, tmp_path: Path
) -> None:
    options = GenerateOptions(world, 3, tmp_path / "set", name, images=images, pool=PoolOptions(endpoint))
    generate(options)
    generate(replace(options, out=tmp_path / "png", images="png"))
    if name != "webdataset":
        assert len(list((tmp_path / "set").rglob(f"*.{suffix}"))) == 3
    lossy, whole = open_dataset(tmp_path / "set"), open_dataset(tmp_path / "png")
    for index in range(3):
        found, expected = lossy.example(index), whole.example(index)
        assert found.label == expected.label
        error = np.abs(found.image.astype(int) - expected.image).mean()
        assert error == 0 if images == "webp" else error < 12
    assert f"--images {images}" in (tmp_path / "set" / "README.md").read_text()


@pytest.mark.parametrize("name", ["kitti", "bop", "idx"])
def test_formats_that_hold_png_only_say_so(name: str, world: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^this format does not hold images as jpeg; allowed: png$"):
        generate(GenerateOptions(world, 3, tmp_path / "set", name, images="jpeg"))


@pytest.mark.parametrize("text", ["gif", "png:9", "jpeg:0", "jpeg:101", "jpeg:", "webp:x", "JPEG", "jpeg:²"])
def test_encodings_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=rf"^images '{text}' must be png, jpeg, webp, jpeg:QUALITY or webp:QUALITY"):
        Encoding.parse(text)


def test_a_worker_that_returns_tensors_is_too_old(world: str, tmp_path: Path) -> None:
    """It does not implement Describe, so that it is asked, and it ignores the encodings."""

    def script(requests: Iterator[pb.RenderRequest], context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(4)
        for request in requests:
            result = pb.RenderResult(id=request.task.id)
            result.layers.add(output=pb.OUTPUT_IMAGE_U8).tensor.shape[:] = [0]
            result.layers[0].tensor.dtype, result.layers[0].tensor.compression = 1, 1
            yield pb.RenderReply(result=result)

    with scripted(script) as address, pytest.raises(InputError, match="a worker returns no image files, because it is"):
        generate(GenerateOptions(world, 2, tmp_path / "set", pool=PoolOptions(address)))
    assert not list(tmp_path.glob("set*"))


def test_a_png_of_a_dataset_is_that_of_the_worker(world: str, endpoint: str, tmp_path: Path) -> None:
    generate(GenerateOptions(world, 1, tmp_path / "set", pool=PoolOptions(endpoint)))
    data = (tmp_path / "set" / "images" / "0000000.png").read_bytes()
    with Image.open(tmp_path / "set" / "images" / "0000000.png") as file:
        assert data == encode_image(np.asarray(file), pb.IMAGE_FORMAT_PNG)
