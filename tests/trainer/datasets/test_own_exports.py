"""What is exported can be read again."""

from pathlib import Path

import numpy as np
import pytest
from support.samples import vision_camera

from trainer.datasets.readers import open_dataset
from trainer.datasets.writers import DatasetCard, Instance, Rectangle, Sample, open_writer
from trainer.datasets.writers.geometry import Cuboid

CARD = DatasetCard("t", "d", "s", 0, classes=("Bus", "Car"), models=("things/obj_000003", "things/obj_000007"))


def sample() -> Sample:
    """A car of 3 x 2 pixels with a hole, partly hidden, at 10 m."""
    instances = np.zeros((8, 12), np.uint16)
    instances[2:6, 4:9] = 5
    instances[3, 5] = 0
    car = Instance(
        "car-1",
        "Car",
        5,
        Rectangle(4, 2, 5, 4),
        Rectangle(4, 2, 6, 4),
        19,
        Cuboid(np.eye(3), np.array((0.0, 0, 10)), np.full(3, -1.0), np.full(3, 1.0)),
        "things/obj_000007",
        instances == 5,
    )
    rng = np.random.default_rng(3)
    return Sample.of(
        rng.integers(0, 256, (8, 12, 3), dtype=np.uint8),
        label=4,
        instances=(car,),
        camera=vision_camera(12, 8, 10.0),
        masks={"class": np.where(instances, 2, 0).astype(np.uint16), "instance": instances},
        depth=np.where(instances, 9.0, np.inf).astype(np.float32),
    )


@pytest.mark.parametrize(
    "name", ["coco", "coco-rle", "yolo", "yolo-seg", "voc", "kitti", "bop", "imagefolder-masks", "idx"]
)
def test_read_again(name: str, tmp_path: Path) -> None:
    original = sample()
    with open_writer(name, tmp_path / "set", CARD) as writer:
        writer.add(original)
    dataset = open_dataset(tmp_path / "set")
    kind = name.split("-")[0]
    assert dataset.kind == {"imagefolder": "images"}.get(kind, kind)
    [example] = dataset
    if name == "idx":
        assert example.label == 4
        assert example.objects is None
        return
    np.testing.assert_array_equal(example.image, original.image)
    [item] = example.objects or ()
    assert item.class_name == ("obj_000007" if name == "bop" else "Car")
    assert item.box == pytest.approx((4, 2, 6 if name == "kitti" else 5, 4), abs=1e-4)
    if name in ("coco", "coco-rle", "yolo-seg", "voc", "bop"):
        assert item.mask is not None
        np.testing.assert_array_equal(item.mask(), original.masks["instance"] == 5)
    if name in ("imagefolder-masks", "voc"):
        assert dataset.classes == ("Bus", "Car")
        assert example.label == (None if name == "voc" else 4)
        assert example.class_mask is not None
        np.testing.assert_array_equal(example.class_mask(), original.masks["class"])
