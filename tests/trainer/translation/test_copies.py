"""Copies of datasets with translated images: every layout, labels as they were."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image
from support.samples import CARD, car_sample
from torch import Tensor

from trainer.datasets.readers import open_dataset
from trainer.datasets.writers import FORMATS, open_writer
from trainer.errors import InputError
from trainer.translation import UNKNOWN, Buffers, Translator
from trainer.translation.copies import translate_dataset
from trainer.translation.translator import FitInputs


class Negative(Translator):
    """Inverts images; where it is guided, pixels with a class become black. Stops at the image of a number."""

    method = "negative"
    uses_buffers = True

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(CARD.classes)
        self.left = stop

    @classmethod
    def _fitted(cls, inputs: FitInputs) -> Self:
        raise NotImplementedError

    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        found = 255 - image
        if buffers.classes is not None:
            found[buffers.classes > 0] = 0
        return found

    def _tensors(self) -> dict[str, Tensor]:
        return {}

    def _values(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        del values, tensors
        return cls()


def dataset(folder: Path, name: str, count: int = 10) -> Path:
    with open_writer(name, folder, CARD) as writer:
        for index in range(count):
            writer.add(car_sample(index))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_images_are_translated_and_labels_are_not(name: str, tmp_path: Path) -> None:
    source, out = dataset(tmp_path / "set", name), tmp_path / "copy"
    kept = contents(source)
    found = translate_dataset(source, out, Negative(), "metasim ...")
    assert contents(source) == kept, "the dataset itself was changed"
    before, after = open_dataset(source), open_dataset(out)
    assert (found["images"], found["layout"]) == (10, before.kind) == (len(after), after.kind)
    assert list(contents(out)) == list(kept)
    guided = 0
    for one, other in zip(before, after, strict=True):
        assert (one.name, one.label) == (other.name, other.label)
        assert [(item.class_name, item.box) for item in one.objects or ()] == [
            (item.class_name, item.box) for item in other.objects or ()
        ]
        wanted = 255 - one.image.astype(int)
        if one.class_mask is not None:
            np.testing.assert_array_equal(one.class_mask(), other.class_mask() if other.class_mask else None)
        black = (other.image == 0).all(-1) & (wanted != 0).any(-1)
        guided += bool(black.any())
        tolerance = 1 if name.startswith("idx") else 0  # Grey is rounded.
        assert np.abs(other.image - np.where(black[..., None], 0, wanted)).max() <= tolerance
    assert guided == found["guided"]
    card = (out / "README.md").read_text()
    assert card.startswith((source / "README.md").read_text().rstrip())
    assert "* Appearance: negative (model " in card
    assert list(tmp_path.glob("*.partial")) == []


def test_masks_guide_where_there_are_any(tmp_path: Path) -> None:
    guided = {
        name: translate_dataset(dataset(tmp_path / name, name, 2), tmp_path / f"{name}-copy", Negative(), "")["guided"]
        for name in ("imagefolder", "imagefolder-masks", "coco", "webdataset-masks", "kitti")
    }
    assert guided == {"imagefolder": 0, "imagefolder-masks": 2, "coco": 2, "webdataset-masks": 2, "kitti": 0}


@pytest.mark.parametrize("name", ["coco", "webdataset"])
def test_a_stopped_copy_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = dataset(tmp_path / "set", name)
    translate_dataset(source, tmp_path / "whole", Negative(), "metasim ...")
    with pytest.raises(KeyboardInterrupt):
        translate_dataset(source, tmp_path / "copy", Negative(stop=6), "metasim ...")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(InputError, match=r"copy\.partial is an unfinished copy; add --resume"):
        translate_dataset(source, tmp_path / "copy", Negative(), "metasim ...")
    found = translate_dataset(source, tmp_path / "copy", Negative(), "metasim ...", resume=True)
    assert found["resumed_at"] > 0
    assert contents(tmp_path / "copy") == contents(tmp_path / "whole")


def test_a_copy_goes_on_only_as_it_began(tmp_path: Path) -> None:
    source = dataset(tmp_path / "set", "coco", 3)
    with pytest.raises(InputError, match=r"there is no .*copy\.partial to resume; omit --resume to start"):
        translate_dataset(source, tmp_path / "copy", Negative(), "", resume=True)
    with pytest.raises(KeyboardInterrupt):
        translate_dataset(source, tmp_path / "copy", Negative(stop=1), "")
    identity = tmp_path / "copy.partial" / ".translation.json"
    identity.write_text(json.dumps(json.loads(identity.read_text()) | {"model": "another"}))
    with pytest.raises(InputError, match="is a copy of another dataset or by another model"):
        translate_dataset(source, tmp_path / "copy", Negative(), "", resume=True)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = dataset(tmp_path / "set", "yolo", 2)
    kept = contents(source)
    for out in (source, tmp_path):
        with pytest.raises(InputError, match="exists, and datasets are never overwritten"):
            translate_dataset(source, out, Negative(), "")
    with pytest.raises(InputError, match="lies in the dataset"):
        translate_dataset(source, source / "copy", Negative(), "")
    assert contents(source) == kept


def test_splits_and_other_files_are_kept(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        dataset(tmp_path / "set" / part, "yolo", 2)
    (tmp_path / "set" / "notes.txt").write_text("by hand")
    found = translate_dataset(tmp_path / "set", tmp_path / "copy", Negative(), "")
    assert found["images"] == 4
    assert (tmp_path / "copy" / "notes.txt").read_text() == "by hand"
    for one, other in zip(open_dataset(tmp_path / "set"), open_dataset(tmp_path / "copy"), strict=True):
        np.testing.assert_array_equal(255 - one.image, other.image)


@pytest.mark.parametrize("ending", ["jpg", "bmp", "webp", "tif"])
def test_images_keep_their_format(ending: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.new("RGB", (9, 7), (200, 100, 30)).save(tmp_path / "set" / f"a.{ending}")
    translate_dataset(tmp_path / "set", tmp_path / "copy", Negative(), "")
    with Image.open(tmp_path / "copy" / f"a.{ending}") as found, Image.open(tmp_path / "set" / f"a.{ending}") as before:
        assert found.format == before.format
        assert np.abs(np.asarray(found.convert("RGB")).astype(int) - (55, 155, 225)).max() <= 4


def test_an_image_that_exif_turns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 7)).save(tmp_path / "set" / "a.jpg", exif=exif)
    with pytest.raises(InputError, match=r"a\.jpg is rotated by its EXIF data"):
        translate_dataset(tmp_path / "set", tmp_path / "copy", Negative(), "")
