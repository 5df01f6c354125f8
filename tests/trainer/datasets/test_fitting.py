"""Images brought to a grammar's size, and their labels with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.datasets.fitting import Fit, chosen, fitted_images, fitted_labels
from trainer.datasets.readers import open_dataset
from trainer.errors import InputError


def test_an_image_of_the_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert Fit.of(image, 30, 20).image(image) is image


@pytest.mark.parametrize("size", [(40, 30), (300, 31), (20, 100), (33, 47), (1, 1)])
def test_it_covers_the_frame_and_is_cut_off_equally(size: tuple[int, int]) -> None:
    width, height = size
    fit = Fit.of(np.zeros((height, width, 3), np.uint8), 32, 24)
    assert min(width * fit.scale / 32, height * fit.scale / 24) == pytest.approx(1)
    assert fit.left >= 0
    assert fit.top >= 0
    assert min(fit.left, fit.top) == pytest.approx(0, abs=1e-9)
    left, top, right, bottom = fit.left, fit.top, width - 32 / fit.scale - fit.left, height - 24 / fit.scale - fit.top
    assert (left, top) == pytest.approx((right, bottom))


def test_pixels_masks_and_boxes_stay_together() -> None:
    """A square in a wide image, twice as large as the frame and cut off on both sides."""
    image = np.zeros((40, 100, 3), np.uint8)
    image[10:30, 40:60] = 200
    mask = (image[..., 0] > 0).astype(np.uint16) * 3
    fit = Fit.of(image, 40, 20)
    assert (fit.scale, fit.left, fit.top) == (0.5, 10, 0)
    small, label = fit.image(image), fit.mask(mask)
    assert small.shape == (20, 40, 3)
    assert label.dtype == np.uint16
    assert fit.box((40, 10, 20, 20)) == (15, 5, 10, 10)
    expected = np.zeros((20, 40), bool)
    expected[5:15, 15:25] = True
    np.testing.assert_array_equal(label == 3, expected)
    np.testing.assert_array_equal(small[..., 0] > 100, expected)
    assert fit.box((0, 0, 25, 40)) == (0, 0, 7.5, 20)
    assert fit.box((0, 0, 10, 40)) is None


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(Fit.of(stripes, 8, 8).image(stripes).astype(int) - 100).max() <= 5


def test_which_images_are_taken() -> None:
    assert chosen(3, None) == chosen(3, 5) == [0, 1, 2]
    assert chosen(10, 4) == [0, 2, 5, 7]


def photos(folder: Path) -> Path:
    """Two images with a class mask each, a label and a box."""
    (folder / "masks").mkdir(parents=True)
    rows = []
    for number, label in enumerate(("Cat", "dog")):
        image = np.full((8, 8, 3), 100 * number, np.uint8)
        mask = np.zeros((8, 8), np.uint8)
        mask[:4] = number + 1
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
        rows.append(
            {
                "file_name": f"{number}.png",
                "label": label,
                "objects": {"bbox": [[0, 0, 8, 4]], "categories": [label]},
                "class_mask_file_name": f"masks/{number}.png",
            }
        )
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "classes.json").write_text('["Cat", "dog"]')
    return folder


def test_labels_for_each_task(tmp_path: Path) -> None:
    dataset = open_dataset(photos(tmp_path / "photos"))
    images, labels = fitted_labels(dataset, 4, 4, "classification", ("dog", "cat"))
    assert images.shape == (2, 4, 4, 3)
    assert labels == [1, 0]
    np.testing.assert_array_equal(images, fitted_images(dataset, 4, 4))
    _, masks = fitted_labels(dataset, 4, 4, "segmentation", ("dog", "cat"))
    assert [np.unique(mask[:2]).tolist() for mask in masks] == [[2], [1]]
    assert not masks[0][2:].any()
    _, objects = fitted_labels(dataset, 4, 4, "detection", ("dog", "cat"))
    assert objects[1][0].type == "dog"
    assert objects[1][0].box == (-0.5, -0.5, 3.5, 1.5)


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    dataset = open_dataset(photos(tmp_path / "photos"))
    with pytest.raises(InputError, match=r"photos: 0\.png has the label 'Cat'; allowed: car, dog$"):
        fitted_labels(dataset, 4, 4, "classification", ("car", "dog"))
    (tmp_path / "photos" / "metadata.jsonl").unlink()
    (tmp_path / "photos" / "masks" / "0.png").unlink()
    (tmp_path / "photos" / "masks" / "1.png").unlink()
    bare = open_dataset(tmp_path / "photos")
    for task, what in (("segmentation", "masks"), ("detection", "objects")):
        with pytest.raises(InputError, match=rf"photos: 0\.png has no {what}, which {task} needs$"):
            fitted_labels(bare, 4, 4, task, ("cat",))
    with pytest.raises(InputError, match=r"0\.png has no label, which classification needs$"):
        fitted_labels(bare, 4, 4, "classification", ("cat",))
