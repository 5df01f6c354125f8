"""Masks as polygons, drawn again by COCO's own code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_masks

from trainer.datasets.writers.coco import run_lengths
from trainer.datasets.writers.polygons import joined, mask_polygons

_SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def drawn(rings: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    parts = coco_masks.frPyObjects([ring.ravel().tolist() for ring in rings], *shape)
    return coco_masks.decode(coco_masks.merge(parts)).astype(bool)


@settings(deadline=None)
@given(arrays(bool, _SHAPES))
def test_any_mask_comes_back_whole(mask: np.ndarray) -> None:
    rings = mask_polygons(mask)
    if not mask.any():
        assert rings == []
        return
    np.testing.assert_array_equal(drawn(rings, mask.shape), mask)
    np.testing.assert_array_equal(drawn([joined(rings)], mask.shape), mask)


def test_a_rectangle_has_its_edges_where_its_pixels_end() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:10, 7:25] = True
    [ring] = mask_polygons(mask)
    assert ring.min(axis=0).tolist() == [7, 4]
    assert ring.max(axis=0).tolist() == [25, 10]
    assert len(ring) == 8, "corners are cut, and nothing lies between them"


def test_holes_and_parts_in_large_masks_whatever_draws_them() -> None:
    y, x = np.mgrid[:200, :300]
    mask = np.zeros((200, 300), bool)
    for centre, outer, inner in ((70, 60, 40), (220, 70, 20), (220, 12, 0)):
        distance = np.hypot(x - centre, y - 100)
        mask |= (distance < outer) & (distance >= inner)
    rings = mask_polygons(mask)
    assert len(rings) == 3
    image = Image.new("1", (300, 200))
    # Pillow draws the outline as well, half a pixel to either side.
    ImageDraw.Draw(image).polygon([tuple(point) for point in joined(rings) - 0.5], fill=1)
    common = np.count_nonzero(mask & np.asarray(image)) / np.count_nonzero(mask | np.asarray(image))
    assert common > 0.97
    np.testing.assert_array_equal(drawn([joined(rings)], mask.shape), mask)


@settings(deadline=None)
@given(arrays(bool, _SHAPES))
def test_run_lengths_are_those_that_coco_reads(mask: np.ndarray) -> None:
    runs = {"size": list(mask.shape), "counts": run_lengths(mask)}
    assert sum(runs["counts"]) == mask.size
    np.testing.assert_array_equal(coco_masks.decode(coco_masks.frPyObjects(runs, *mask.shape)), mask)


@pytest.mark.parametrize("pixels", [[0], [1], [0, 1], [1, 0], [1, 1, 0, 0, 0, 1]])
def test_run_lengths_begin_with_those_outside(pixels: list[int]) -> None:
    expected = {(0,): [1], (1,): [0, 1], (0, 1): [1, 1], (1, 0): [0, 1, 1], (1, 1, 0, 0, 0, 1): [0, 2, 3, 1]}
    assert run_lengths(np.array(pixels, bool)[:, None]) == expected[tuple(pixels)]
