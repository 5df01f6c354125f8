"""Images brought to a grammar's size, and their labels with them."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.datasets.class_names import ClassNames
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
    assert fit.scale_x == fit.scale_y
    assert min(width * fit.scale_x / 32, height * fit.scale_y / 24) == pytest.approx(1)
    assert fit.left >= 0
    assert fit.top >= 0
    assert min(fit.left, fit.top) == pytest.approx(0, abs=1e-9)
    left, top, right, bottom = (
        fit.left,
        fit.top,
        width - 32 / fit.scale_x - fit.left,
        height - 24 / fit.scale_y - fit.top,
    )
    assert (left, top) == pytest.approx((right, bottom))


def test_pixels_masks_and_boxes_stay_together() -> None:
    """A square in a wide image, twice as large as the frame and cut off on both sides."""
    image = np.zeros((40, 100, 3), np.uint8)
    image[10:30, 40:60] = 200
    mask = (image[..., 0] > 0).astype(np.uint16) * 3
    fit = Fit.of(image, 40, 20)
    assert (fit.scale_x, fit.scale_y, fit.left, fit.top) == (0.5, 0.5, 10, 0)
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
    with pytest.raises(
        InputError, match=r"photos: 0\.png has the label 'Cat'; allowed: car, dog; or map it to one of them in target"
    ):
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


def test_padding_keeps_the_whole_image_and_resizing_fills_the_frame() -> None:
    """A white square in a wide grey image: where it lies in a frame that is as high as wide."""
    image = np.full((20, 40, 3), 100, np.uint8)
    image[5:15, 10:20] = 255
    padded = Fit.of(image, 40, 40, "pad")
    pixels = padded.image(image)
    assert padded.box((10, 5, 10, 10)) == (10, 15, 10, 10)
    assert (pixels[15:25, 10:20] == 255).all()
    np.testing.assert_array_equal(pixels[:10], np.full((10, 40, 3), round(image.mean())))
    mask = padded.mask((image[..., 0] > 200).astype(np.uint8))
    assert (mask.sum(), mask[15:25, 10:20].sum()) == (100, 100)
    resized = Fit.of(image, 40, 40, "resize")
    assert resized.box((10, 5, 10, 10)) == (10, 10, 10, 20)
    assert resized.mask((image[..., 0] > 200).astype(np.uint8)).sum() == 200
    assert [round(Fit.of(image, 40, 40, rule).kept(image), 6) for rule in ("crop", "pad", "resize")] == [0.5, 1, 1]


@settings(deadline=None)
@given(
    st.sampled_from(["crop", "pad", "resize"]),
    *[st.integers(8, 60)] * 4,
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_boxes_and_masks_of_every_rule_agree(
    rule: Literal["crop", "pad", "resize"], width: int, height: int, to_width: int, to_height: int, x: float, y: float
) -> None:
    left, top = int(x * width), int(y * height)
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + height // 2, left : left + width // 2] = 1
    fit = Fit.of(mask, to_width, to_height, rule)
    fitted, box = fit.mask(mask), fit.box((left, top, width // 2, height // 2))
    assert fitted.shape == (to_height, to_width)
    rows, columns = np.nonzero(fitted)
    if box is None or not len(rows):
        assert box is None or min(box[2], box[3]) < 1
        return
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert found == pytest.approx((box[0], box[1], box[0] + box[2], box[1] + box[3]), abs=1.01)


def coco_dataset(folder: Path, names: tuple[str, ...]) -> Path:
    """An image with an object of each class."""
    folder.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / "a.png")
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    annotations = [
        {"id": number, "image_id": 1, "category_id": number, "bbox": [2 * number, 3, 10, 12], "iscrowd": number == 3}
        for number in range(1, len(names) + 1)
    ]
    images = [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(content))
    return folder


def test_objects_without_a_stated_occlusion_are_asked_for(tmp_path: Path) -> None:
    """Names match without case, KITTI's types are spelled as KITTI's, crowds are ignored regions."""
    dataset = open_dataset(coco_dataset(tmp_path / "coco", ("car", "PERSON", "car ", "tree")))
    _, [objects] = fitted_labels(dataset, 60, 40, "detection", ("Car", "person"))
    assert [(item.type, item.occluded) for item in objects] == [
        ("Car", 0),
        ("person", 0),
        ("DontCare", -1),
        ("tree", 0),
    ]
    assert objects[0].box == (1.5, 2.5, 11.5, 14.5)


def test_classes_are_mapped_and_what_does_not_match_is_listed(tmp_path: Path) -> None:
    dataset = open_dataset(coco_dataset(tmp_path / "coco", ("nine", "ten", "joker")))
    names = ClassNames.of(dataset, ("9", "10", "ace"), {"nine": "9", "TEN": "10"})
    assert [names.number(name) for name in ("Nine", "ten", "joker")] == [0, 1, None]
    assert names.unmatched() == (["joker"], ["ace"])
    assert names.note() == (
        "classes of the target that do not match by name: not in the grammar: joker; not in the dataset: ace"
    )
    _, [objects] = fitted_labels(dataset, 60, 40, "detection", names.classes, names=names)
    assert [item.type for item in objects] == ["9", "10", "DontCare"]
    with pytest.raises(
        InputError, match=r"^classes: nin=9: .*/coco has no class 'nin' \(near: 'nine'\); it has: nine, "
    ):
        ClassNames.of(dataset, ("9",), {"nin": "9"})
    with pytest.raises(InputError, match=r"^classes: nine=90: the grammar has no class '90' \(near: '9'\); it has: 9$"):
        ClassNames.of(dataset, ("9",), {"nine": "90"})
