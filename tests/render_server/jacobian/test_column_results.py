"""How columns travel: trimmed differences, products, audits."""

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb

from render_server.errors import InvalidTask
from render_server.jacobian.column_results import ColumnResults, image_gradient
from render_server.jacobian.probes import Probe


def task(columns: int = 1, gradient: np.ndarray | None = None) -> pb.RenderTask:
    settings = pb.RenderSettings(width_px=40, height_px=30, samples=1)
    message = pb.RenderTask(settings=settings, columns=[pb.Column()] * columns)
    if gradient is not None:
        message.image_gradient.CopyFrom(tensor_to_proto(gradient))
    return message


def probe(span: float) -> Probe:
    return Probe(0, None, None, span)


def difference() -> np.ndarray:
    array = np.zeros((6, 8, 3), np.float32)
    array[2, 3, 1], array[4, 6, 2] = 0.5, -0.25
    return array


def test_differences_are_trimmed_to_what_changed() -> None:
    results = ColumnResults(task())
    results.add(probe(2.0), difference(), left_px=10, top_px=20, samples=96)
    (result,) = results.in_order()
    region = result.region
    assert (region.x_px, region.y_px, region.width_px, region.height_px) == (13, 22, 4, 3)
    part = tensor_from_proto(result.difference)
    assert part.dtype == np.float16
    np.testing.assert_array_equal(part, difference()[2:5, 3:7])
    assert (result.span, result.samples) == (2.0, 96)
    assert not result.HasField("audit")


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_a_difference_that_half_precision_cannot_hold_is_none(value: float) -> None:
    results = ColumnResults(task())
    results.add(probe(1.0), np.full((3, 3, 3), value, np.float32))
    (result,) = results.in_order()
    assert (result.region.width_px, result.region.height_px) == (0, 0)
    assert tensor_from_proto(result.difference).shape == (0, 0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_with_a_gradient_a_column_is_one_number(dtype: type) -> None:
    gradient = np.random.default_rng(1).normal(size=(30, 40, 3)).astype(dtype)
    results = ColumnResults(task(gradient=gradient))
    results.add(probe(-2.0), difference(), left_px=10, top_px=20)
    (result,) = results.in_order()
    expected = (0.5 * float(gradient[22, 13, 1]) - 0.25 * float(gradient[24, 16, 2])) / -2.0
    assert result.product == pytest.approx(expected, rel=1e-6)
    assert not result.HasField("difference")
    assert result.ByteSize() < 100


def test_one_channel_stands_for_three() -> None:
    gradient = np.random.default_rng(2).normal(size=(30, 40, 3)).astype(np.float32)
    grey = np.random.default_rng(3).normal(size=(4, 5, 1)).astype(np.float32)
    products = []
    for array in (grey, np.repeat(grey, 3, axis=2)):
        results = ColumnResults(task(gradient=gradient))
        results.add(probe(1.0), array, left_px=7, top_px=9)
        products.append(results.in_order()[0].product)
    assert products[0] == pytest.approx(products[1], rel=1e-6)


def test_an_audit_compares_the_region_with_the_frame() -> None:
    frame = np.zeros((30, 40, 3), np.float32)
    frame[20:26, 10:18] = difference()
    frame[0, 0, 0] = 0.6
    results = ColumnResults(task())
    results.add(probe(1.0), difference(), left_px=10, top_px=20, frame=frame)
    audit = results.in_order()[0].audit
    inside = 0.5**2 + 0.25**2
    assert audit.region_norm == pytest.approx(inside**0.5)
    assert audit.frame_norm == pytest.approx((inside + 0.36) ** 0.5)
    assert audit.product == pytest.approx(inside)


def test_an_audit_of_one_channel_counts_it_three_times() -> None:
    grey = np.random.default_rng(3).normal(size=(4, 5, 1)).astype(np.float32)
    results = ColumnResults(task())
    results.add(probe(1.0), grey, frame=np.repeat(grey, 3, axis=2))
    audit = results.in_order()[0].audit
    assert audit.region_norm == pytest.approx(audit.frame_norm)
    assert audit.product == pytest.approx(audit.frame_norm**2)


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        (np.zeros((30, 40, 1), np.float32), r"image_gradient is float32 \[30, 40, 1\]; it must be .* \[30, 40, 3\]"),
        (np.zeros((30, 40, 3), np.uint8), r"image_gradient is uint8 \[30, 40, 3\]; it must be float32 or float16 .*"),
        (
            np.full((30, 40, 3), np.nan, np.float32),
            r"image_gradient is not finite everywhere; every value must be finite",
        ),
        (np.zeros((60, 80, 3), np.float32), r"image_gradient is a broken tensor .*57600 bytes; at most 14400.*"),
    ],
)
def test_bad_gradients(gradient: np.ndarray, text: str) -> None:
    with pytest.raises(InvalidTask, match=f"^{text}$"):
        image_gradient(task(gradient=gradient))
