"""Audits: right labels pass, and every kind of wrong one is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.samples import vision_camera

from trainer.datasets.writers import FORMATS, DatasetCard, Instance, Rectangle, Sample, open_writer
from trainer.datasets.writers.audit import AuditError, check_files, check_sample
from trainer.datasets.writers.geometry import Cuboid
from trainer.datasets.writers.picture import Picture

CARD = DatasetCard("t", "d", "s", 0, classes=("Bus", "Car"), models=("Bus", "Car"))
CAMERA = vision_camera(40, 30, 20.0)


FAR = np.full((30, 40), 10.5, np.float32)


def sample() -> Sample:
    """A car of 8 x 8 px at 10 m, its front 4 m wide and high, before a camera that looks along z."""
    instances = np.zeros((30, 40), np.uint16)
    instances[11:19, 16:24] = 5
    depth = np.where(instances == 5, 9.9, np.inf).astype(np.float32)
    low, high = np.array((-2.0, -2.0, -0.2)), np.array((2.0, 2.0, 0.2))
    car = Instance(
        "car-1",
        "Car",
        5,
        visible=Rectangle(16, 11, 8, 8),
        amodal=Rectangle(16, 11, 8, 8),
        visible_px=64,
        cuboid=Cuboid(np.eye(3), np.array((0.0, 0.0, 10.0)), low, high),
        model="Car",
        silhouette=instances == 5,
    )
    masks = {"class": np.where(instances, 2, 0).astype(np.uint16), "instance": instances}
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Sample.of(image, label=1, instances=(car,), camera=CAMERA, masks=masks, depth=depth)


def changed(**values: Any) -> Sample:
    whole = sample()
    return replace(whole, instances=(replace(whole.instances[0], **values),))


def moved(**values: Any) -> Sample:
    whole = sample()
    cuboid = whole.instances[0].cuboid
    assert cuboid is not None
    return changed(cuboid=replace(cuboid, **values))


def masked(name: str, value: int) -> Sample:
    whole = sample()
    mask = whole.masks[name].copy()
    mask[15, 20] = value
    return replace(whole, mask_pictures={**whole.mask_pictures, name: Picture.of(mask)})


def test_right_labels_pass() -> None:
    check_sample(sample(), CARD.classes, "image 0")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: changed(visible=Rectangle(16, 11, 8, 9)), r"car-1 \(Car\): mask and box differ"),
        (lambda: changed(visible_px=63), r"its mask has 64 pixels, its box was made of 63$"),
        (lambda: changed(visible=None), r"the instance mask shows the objects \[5\], and boxes exist for \[\]$"),
        (
            lambda: masked("instance", 6),
            r"the instance mask shows the objects \[5, 6\], and boxes exist for \[5\]$",
        ),
        (lambda: masked("class", 1), r"the class mask has other values than 2 at its pixels$"),
        (lambda: changed(amodal=Rectangle(16, 11, 4, 8)), r"its visible box leaves its whole box"),
        (lambda: moved(translation=np.array((2.0, 0, 10))), r"its box leaves the projection of its box in 3D"),
        (
            lambda: replace(sample(), depth=np.full((30, 40), 10.5, np.float32)),
            r"100% of its pixels lie outside of its box in 3D by depth$",
        ),
        (
            lambda: replace(sample(), instances=sample().instances * 2),
            r"two objects have the same number in the instance mask$",
        ),
    ],
)
def test_labels_that_contradict_each_other_are_found(wrong: Callable[[], Sample], message: str) -> None:
    with pytest.raises(AuditError, match=f"^image 3.*{message}"):
        check_sample(wrong(), CARD.classes, "image 3")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_is_read_back(name: str, tmp_path: Path) -> None:
    with open_writer(name, tmp_path / "set", CARD) as writer:
        writer.add(sample(), audited=True)
        writer.add(sample())
    card = (tmp_path / "set" / "README.md").read_text()
    assert "* Audit: 1 images with 1 objects were rendered with all labels" in card


def test_files_are_those_of_an_export_without_audits(tmp_path: Path) -> None:
    for folder, audited in (("with", True), ("without", False)):
        with open_writer("coco", tmp_path / folder, CARD) as writer:
            writer.add(sample(), audited=audited)
    written = [
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.*") if path.name != "README.md"}
        for folder in ("with", "without")
    ]
    assert written[0] == written[1]


def spoil_text(path: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return spoil


INSTANCES = "annotations/instances.json"
BOX = "the box in the files and the rendered one"


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("coco", spoil_text(INSTANCES, "[16,11,8,8]", "[16,11,9,8]"), BOX),
        ("coco", spoil_text(INSTANCES, '"category_id":2', '"category_id":1'), "has the objects"),
        ("coco-rle", spoil_text(INSTANCES, "[491,8,", "[489,10,"), "mask and box in the files differ"),
        ("yolo", spoil_text("labels/train/0000000.txt", "1 0.5", "1 0.6"), BOX),
        ("voc", spoil_text("Annotations/0000000.xml", "<xmin>17", "<xmin>15"), BOX),
        ("imagefolder", spoil_text("metadata.jsonl", '"label": 1', '"label": 0'), "has the label 0 in the files"),
        ("kitti", spoil_text("training/label_2/000000.txt", " 0.00 0.20 10", " 5.00 0.20 10"), "the middle of its box"),
        (
            "bop",
            spoil_text("train_pbr/000000/scene_gt.json", '"cam_t_m2c": [0.0', '"cam_t_m2c": [3000.0'),
            "its box leaves the model's in its pose",
        ),
    ],
)
def test_files_that_say_something_else_are_found(
    name: str, spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    with open_writer(name, tmp_path / "set", CARD) as writer:
        writer.add(sample(), audited=True)
        expected = writer.expected(sample())
    check_files(tmp_path / "set", writer.reader, {0: (1, expected)})
    spoil(tmp_path / "set")
    with pytest.raises(AuditError, match=f"^image 0 .*{message}"):
        check_files(tmp_path / "set", writer.reader, {0: (1, expected)})


def test_a_dataset_that_lies_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.datasets.writers.coco.CocoWriter._segmentation", lambda *_: [[0, 0, 9, 0, 9, 9]])
    with (
        pytest.raises(AuditError, match="mask and box in the files differ"),
        open_writer("coco", tmp_path / "set", CARD) as writer,
    ):
        writer.add(sample(), audited=True)
    assert not (tmp_path / "set").exists()
    assert (tmp_path / "set.partial").is_dir()


def test_large_datasets_are_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.datasets.writers.writer.READ_BACK", 1)
    with open_writer("coco", tmp_path / "set", CARD) as writer:
        writer.add(sample(), audited=True)
        writer.add(sample(), audited=True)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "* Audit: 2 images with 2 objects were rendered with all labels; masks, boxes," in card
