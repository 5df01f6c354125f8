"""Any scene in every format: objects that hide each other, leave the image or are hidden, classes of any name."""

import io
import json
import shutil
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from support.samples import vision_camera

from trainer.datasets.writers import FORMATS, DatasetCard, Instance, Rectangle, Sample, open_writer
from trainer.datasets.writers.geometry import Cuboid

WIDTH, HEIGHT, FOCAL = 24, 18, 20.0
CAMERA = vision_camera(WIDTH, HEIGHT, FOCAL)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[tuple[str, ...], Sample]:
    """Boxes with faces towards the camera at different depths; the nearer hide the farther."""
    classes = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower))
    classes[0] = "Car"  # So that KITTI has a place for it.
    if len({name.lower() for name in classes}) < len(classes):
        classes = ["Car"]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    instances, depth = np.zeros((HEIGHT, WIDTH), np.uint16), np.full((HEIGHT, WIDTH), np.inf, np.float32)
    placed = []
    count = draw(st.integers(0, 4))
    for number in range(count, 0, -1):  # From the farthest to the nearest.
        z = 4.0 + number
        centre = np.array([draw(st.floats(-4, 4)), draw(st.floats(-3, 3)), z])
        half = np.array([draw(st.floats(0.2, 2)), draw(st.floats(0.2, 2)), 0.2])
        front = z - 0.2
        inside = (np.abs((x - WIDTH / 2) / FOCAL * front - centre[0]) <= half[0]) & (
            np.abs((y - HEIGHT / 2) / FOCAL * front - centre[1]) <= half[1]
        )
        instances[inside], depth[inside] = number, front
        placed.append((number, draw(st.sampled_from(classes)), Cuboid(np.eye(3), centre, -half, half), inside))
    listed = []
    for number, name, cuboid, silhouette in placed:
        mask = instances == number
        listed.append(
            Instance(
                f"thing-{number}",
                name,
                number,
                visible=box_of(mask),
                amodal=box_of(silhouette),
                visible_px=int(mask.sum()),
                # Each has a class's size in BOP, so models are told apart by number.
                cuboid=cuboid,
                model=f"set/{number}",
                silhouette=silhouette,
            )
        )
    numbers = {number: classes.index(name) + 1 for number, name, *_ in placed}
    class_mask = np.vectorize(lambda value: numbers.get(int(value), 0), otypes=[np.uint16])(instances)
    image = np.random.default_rng(count).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    label = draw(st.integers(0, 255))
    masks = {"class": class_mask, "instance": instances}
    return tuple(classes), Sample.of(image, label, tuple(listed), CAMERA, masks, depth)


def box_of(mask: np.ndarray) -> Rectangle | None:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    left, top = float(columns.min()), float(rows.min())
    return Rectangle(left, top, float(columns.max()) + 1 - left, float(rows.max()) + 1 - top)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(deadline=None, max_examples=25)
@given(scene=scenes())
def test_labels_survive_every_format(name: str, scene: tuple[tuple[str, ...], Sample]) -> None:
    """The audit reads the files with the project's readers; COCO's, YAML's and XML's own code read them as well."""
    classes, sample = scene
    folder = Path(tempfile.mkdtemp())
    try:
        card = DatasetCard("t", "d", "s", 0, classes=classes, models=tuple(f"set/{number}" for number in range(1, 5)))
        with open_writer(name, folder / "set", card) as writer:
            writer.add(sample, audited=True)
        if name in READERS:
            found = READERS[name](folder / "set")
            expected = [(item.class_name, tuple(map(float, vars(box).values()))) for item, box in sample.seen]
            assert [of for of, _ in found] == [of for of, _ in expected]
            for (_, box), (_, wanted) in zip(found, expected, strict=True):
                assert box == pytest.approx(wanted, abs=1e-4)
    finally:
        shutil.rmtree(folder)


def read_coco(folder: Path) -> list[tuple[str, tuple[float, ...]]]:
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "annotations" / "instances.json"))
    return [
        (coco.cats[item["category_id"]]["name"], tuple(item["bbox"]))
        for item in coco.loadAnns(sorted(coco.getAnnIds()))
    ]


def read_yolo(folder: Path) -> list[tuple[str, tuple[float, ...]]]:
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    found = []
    for line in (folder / "labels" / "train" / "0000000.txt").read_text().splitlines():
        number, x, y, w, h = (float(text) for text in line.split())
        left, top = (x - w / 2) * WIDTH, (y - h / 2) * HEIGHT
        found.append((data["names"][int(number)], (left, top, w * WIDTH, h * HEIGHT)))
    return found


def read_voc(folder: Path) -> list[tuple[str, tuple[float, ...]]]:
    shapes = np.asarray(Image.open(folder / "SegmentationObject" / "0000000.png"))
    found = []
    tree = ElementTree.parse(folder / "Annotations" / "0000000.xml")
    for number, item in enumerate(tree.iter("object"), 1):
        sides = {side.tag: int(side.text or 0) for side in item.iter() if side.tag[1:] in ("min", "max")}
        rows, columns = np.nonzero(shapes == number)
        assert sides["xmin"] == columns.min() + 1
        assert sides["ymax"] == rows.max() + 1
        left, top = sides["xmin"] - 1, sides["ymin"] - 1
        found.append((item.findtext("name") or "", (left, top, sides["xmax"] - left, sides["ymax"] - top)))
    return found


def read_webdataset(folder: Path) -> list[tuple[str, tuple[float, ...]]]:
    with tarfile.open(folder / "shard-000000.tar") as shard:
        text = shard.extractfile("0000000.json").read()  # type: ignore[union-attr]
    objects = json.loads(text).get("objects", {"bbox": [], "categories": []})
    return list(zip(objects["categories"], map(tuple, objects["bbox"]), strict=True))


READERS = {
    "coco": read_coco,
    "coco-rle": read_coco,
    "yolo": read_yolo,
    "voc": read_voc,
    "webdataset": read_webdataset,
}
