"""The two engines that draw textures agree on digits."""

import gzip

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.scenes import ALL_OUTPUTS, DATA, Assets, column, difference, digit, layers, sprite, sprite_scene, task

from render_server.engines import Engine

#: Mean absolute difference between the engines' images, in display values. Required are 2/255.
IMAGE_TOLERANCE = 0.001 / 255
#: Largest difference of a pixel of a column: half precision and the place of a tile in the atlas.
COLUMN_TOLERANCE = 2e-3

SCENES = 24
SIZE = 64


@pytest.mark.blender
def test_digit_scenes_agree(raster: Engine, blender: Engine, assets: Assets) -> None:
    path = DATA / "mnist" / "t10k-images-idx3-ubyte.gz"
    if not path.exists():
        pytest.skip(f"no MNIST at {path}; set METASIM_DATA")
    with gzip.open(path) as file:
        digits = np.frombuffer(file.read(16 + 784 * SCENES)[16:], np.uint8).reshape(-1, 28, 28)
    rng = np.random.default_rng(3)
    columns = [
        column("digit", scene_pb2.ATTRIBUTE_X, 0.5),
        column("digit", scene_pb2.ATTRIBUTE_Y, 0.5),
        column("digit", scene_pb2.ATTRIBUTE_YAW, 2.0),
    ]
    errors, worst_column, mask_errors = [], 0.0, 0
    for intensity in digits:
        x, y = rng.uniform(-24, 24, 2)
        node = sprite("digit", assets.add(digit(intensity)), 28, 28, x_m=x, y_m=y, yaw_deg=rng.uniform(0, 360))
        message = task(sprite_scene([node], SIZE), SIZE, SIZE, outputs=ALL_OUTPUTS, columns=columns)
        first, second = raster.render(message, assets), blender.render(message, assets)
        one, other = layers(first), layers(second)
        errors.append(np.abs(one[pb.OUTPUT_IMAGE_F32] - other[pb.OUTPUT_IMAGE_F32]).mean())
        mask_errors += int((one[pb.OUTPUT_INSTANCE_MASK] != other[pb.OUTPUT_INSTANCE_MASK]).sum())
        for index in range(len(columns)):
            gap = difference(first, index, SIZE, SIZE) - difference(second, index, SIZE, SIZE)
            worst_column = max(worst_column, float(np.abs(gap).max()))
    mean = float(np.mean(errors))
    report = f"mean {mean * 255:.2g}/255, worst column pixel {worst_column:.2g}, {mask_errors} mask pixels differ"
    assert mean < IMAGE_TOLERANCE, report
    assert worst_column < COLUMN_TOLERANCE, report
    assert mask_errors <= SCENES, report
