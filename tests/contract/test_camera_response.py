"""The camera's response: pixels, derivatives of the response and through it, for every engine."""

import io

import numpy as np
import pytest
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from PIL import Image
from scipy import ndimage
from support.scenes import Assets, column, difference, image, layers, png, sprite, sprite_scene, task, without_timing

from render_server.checks.scene_validation import validate_scene
from render_server.engines import Engine
from render_server.engines.camera_response import white_balance
from render_server.errors import InvalidTask
from render_server.limits import Limits
from render_server.scene.scene_graph import RESPONSE_FIELDS

SIZE = 24
#: A response in which every part acts but the JPEG compression, whose derivative is left out.
EVERYTHING = {
    "exposure_ev": 0.4,
    "temperature_k": 5000,
    "tint": 0.1,
    "contrast": 1.2,
    "saturation": 0.8,
    "vignetting": 0.3,
    "blur_px": 0.8,
    "shot_noise": 0.02,
    "read_noise": 0.01,
}


def camera_task(assets: Assets, response: dict[str, float], **settings) -> pb.RenderTask:
    """A soft coloured sprite before a grey background."""
    y, x = np.mgrid[0:16, 0:16] / 15
    texels = np.stack([0.3 + 0.3 * x, 0.2 + 0.4 * y, 0.6 - 0.2 * x, 0 * x + 1], 2)
    asset = assets.add(png((255 * texels).astype(np.uint8)))
    scene = sprite_scene([sprite("s", asset, 12, 12, x_m=0.3, y_m=-0.4, yaw_deg=20)], SIZE)
    scene.background.CopyFrom(scene_pb2.Color(red=0.2, green=0.2, blue=0.2))
    message = task(scene, SIZE, SIZE, **{"view_transform": pb.VIEW_TRANSFORM_STANDARD, **settings})
    with_response(message, response)
    return message


def with_response(message: pb.RenderTask, response: dict[str, float]) -> None:
    (camera,) = [node for node in message.scene.nodes if node.HasField("camera")]
    camera.camera.ClearField("response")
    if response:
        camera.camera.response.CopyFrom(scene_pb2.CameraResponse(**response))


def rendered(engine: Engine, assets: Assets, response: dict[str, float], **settings) -> np.ndarray:
    return image(engine.render(camera_task(assets, response, **settings), assets))


def decode(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encode(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-9) ** (1 / 2.4) - 0.055)


def test_a_neutral_response_leaves_every_byte(any_engine: Engine, assets: Assets) -> None:
    columns = [column("s", scene_pb2.ATTRIBUTE_X, 0.3)]
    outputs = (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_BOXES)
    plain = any_engine.render(camera_task(assets, {}, columns=columns, outputs=outputs), assets)
    neutral = {"temperature_k": 6500, "contrast": 1, "saturation": 1}
    same = any_engine.render(camera_task(assets, neutral, columns=columns, outputs=outputs), assets)
    assert without_timing(plain) == without_timing(same)


@pytest.mark.parametrize("raw", [True, False])
def test_exposure_doubles_the_light(any_engine: Engine, assets: Assets, raw: bool) -> None:
    settings = {"view_transform": pb.VIEW_TRANSFORM_RAW if raw else pb.VIEW_TRANSFORM_STANDARD}
    plain = rendered(any_engine, assets, {}, **settings)
    brighter = rendered(any_engine, assets, {"exposure_ev": 0.5}, **settings)
    factor = 2**0.5
    expected = plain * factor if raw else encode(np.clip(decode(plain) * factor, 0, 1))
    np.testing.assert_allclose(brighter, np.clip(expected, 0, 1), atol=2e-6)


def test_blur_is_a_gaussian_integrated_over_pixels(raster: Engine, assets: Assets) -> None:
    settings = {"view_transform": pb.VIEW_TRANSFORM_RAW}
    plain = rendered(raster, assets, {}, **settings)
    blurred = rendered(raster, assets, {"blur_px": 1.5}, **settings)
    # Integrating over a pixel adds the variance of a box, 1/12.
    expected = ndimage.gaussian_filter(plain, (np.sqrt(1.5**2 + 1 / 12),) * 2 + (0,), mode="nearest", truncate=6)
    np.testing.assert_allclose(blurred, expected, atol=2e-3)


def test_warm_light_is_orange_and_keeps_its_luminance() -> None:
    red, green, blue = white_balance(4500, 0)
    assert red > green > blue
    # Measured by colour-science's published tables: 4500 K has the chromaticity (0.3608, 0.3635).
    x, y = 0.3608, 0.3635
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    expected = to_rgb @ np.array([x / y, 1, (1 - x - y) / y])
    neutral = to_rgb @ np.array([0.3135 / 0.3237, 1, (1 - 0.3135 - 0.3237) / 0.3237])  # 6500 K on the locus
    np.testing.assert_allclose([red, green, blue], expected / neutral, rtol=0.01)
    assert white_balance(6500, 0.5)[1] == pytest.approx(2**-0.5)


def test_noise_has_the_stated_variance_and_is_the_seeds(raster: Engine, assets: Assets) -> None:
    settings = {"view_transform": pb.VIEW_TRANSFORM_RAW}
    plain = rendered(raster, assets, {}, **settings)
    response = {"shot_noise": 0.05, "read_noise": 0.02}
    taken = np.stack([rendered(raster, assets, response, seed=seed, **settings) for seed in range(60)])
    expected = np.sqrt(0.05**2 * plain + 0.02**2)
    ratio = taken.std(0)[1:-1, 1:-1] / expected[1:-1, 1:-1]
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert (taken[3] == rendered(raster, assets, response, seed=3, **settings)).all()
    assert (taken[3] != taken[4]).any()


def test_saturation_zero_is_grey_and_vignetting_darkens_the_corners(raster: Engine, assets: Assets) -> None:
    grey = rendered(raster, assets, {"saturation": 0})
    assert np.ptp(grey, axis=2).max() < 1e-6
    dark = rendered(raster, assets, {"vignetting": 0.5}, view_transform=pb.VIEW_TRANSFORM_RAW)
    plain = rendered(raster, assets, {}, view_transform=pb.VIEW_TRANSFORM_RAW)
    corner = ((SIZE / 2 - 0.5) / (SIZE / 2)) ** 2
    np.testing.assert_allclose(dark[0, 0], plain[0, 0] * (1 - 0.5 * corner), rtol=1e-5)


def test_jpeg_is_pillows(raster: Engine, assets: Assets) -> None:
    plain = rendered(raster, assets, {})
    buffer = io.BytesIO()
    Image.fromarray(np.rint(plain * 255).astype(np.uint8)).save(buffer, "JPEG", quality=30, subsampling=0)
    np.testing.assert_array_equal(
        rendered(raster, assets, {"jpeg_quality": 30}), np.asarray(Image.open(buffer), np.float32) / 255
    )


def test_labels_do_not_see_the_response(any_engine: Engine, assets: Assets) -> None:
    outputs = (pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_DEPTH)
    plain = layers(any_engine.render(camera_task(assets, {}, outputs=outputs), assets))
    taken = layers(any_engine.render(camera_task(assets, EVERYTHING, outputs=outputs), assets))
    assert list(taken) == list(plain)
    assert all((plain[name] == taken[name]).all() for name in plain)


@pytest.mark.parametrize("attribute", sorted(set(RESPONSE_FIELDS) - {scene_pb2.ATTRIBUTE_JPEG_QUALITY}))
def test_response_columns_are_finite_differences(any_engine: Engine, assets: Assets, attribute: int) -> None:
    field = RESPONSE_FIELDS[attribute][0]
    step = 25.0 if field == "temperature_k" else 0.01
    message = camera_task(assets, EVERYTHING, columns=[column("camera", attribute, step)])
    found = difference(any_engine.render(message, assets), 0, SIZE, SIZE)
    ends = [rendered(any_engine, assets, {**EVERYTHING, field: EVERYTHING[field] + side * step}) for side in (-1, 1)]
    np.testing.assert_allclose(found, ends[1] - ends[0], atol=2e-5)  # Half precision
    assert np.abs(found).max() > 1e-4


def test_default_steps_of_response_columns(raster: Engine, assets: Assets) -> None:
    columns = [column("camera", attribute, 0) for attribute in RESPONSE_FIELDS]
    result = raster.render(camera_task(assets, EVERYTHING, columns=columns), assets)
    assert all(each.span > 0 for each in result.columns)


@pytest.mark.parametrize("attribute", [scene_pb2.ATTRIBUTE_X, scene_pb2.ATTRIBUTE_YAW, scene_pb2.ATTRIBUTE_RED])
def test_scene_columns_pass_through_the_response(engine: Engine, assets: Assets, attribute: int) -> None:
    step = 0.05 if attribute == scene_pb2.ATTRIBUTE_RED else 0.2
    message = camera_task(assets, EVERYTHING, columns=[column("s", attribute, step, minimum=-50, maximum=50)])
    found = difference(engine.render(message, assets), 0, SIZE, SIZE)
    ends = []
    for side in (-1, 1):
        moved = camera_task(assets, EVERYTHING)
        node = moved.scene.nodes[0]
        if attribute == scene_pb2.ATTRIBUTE_RED:
            node.sprite.tint.CopyFrom(scene_pb2.Color(red=1 + side * step, green=1, blue=1))
        elif attribute == scene_pb2.ATTRIBUTE_X:
            node.transform.x_m += side * step
        else:
            node.transform.yaw_deg += side * step
        ends.append(image(engine.render(moved, assets)))
    expected = ends[1] - ends[0]
    cosine = float((found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected))
    assert cosine > 0.999
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=0.02)


def test_products_agree_with_differences(any_engine: Engine, assets: Assets) -> None:
    columns = [column("s", scene_pb2.ATTRIBUTE_X, 0.2), column("camera", scene_pb2.ATTRIBUTE_EXPOSURE, 0.01)]
    message = camera_task(assets, EVERYTHING, columns=columns)
    gradient = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    result = any_engine.render(message, assets)
    message.image_gradient.CopyFrom(tensor_to_proto(gradient))
    del message.outputs[:]
    products = any_engine.render(message, assets)
    for index, each in enumerate(products.columns):
        expected = float((difference(result, index, SIZE, SIZE) * gradient).sum()) / result.columns[index].span
        assert each.product == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert not products.layers


def test_a_value_outside_its_range_is_named(assets: Assets) -> None:
    message = camera_task(assets, {"contrast": -1})
    with pytest.raises(InvalidTask, match=r"scene.nodes\[1\].camera.response.contrast is -1.0; it must be from 0.01"):
        validate_scene(message.scene, Limits())
