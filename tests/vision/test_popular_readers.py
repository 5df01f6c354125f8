"""Exports opened by the readers that people train with: Hugging Face's datasets, and ultralytics."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.datasets import write_rings
from support.servers import server

from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions

pytestmark = [
    pytest.mark.vision,
    # Both packages leave files to the garbage collector, and use what NumPy and pandas deprecate.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

COUNT, WIDTH, HEIGHT = 4, 96, 72
Export = Callable[[str], Path]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    """Write the flat world in a format; return the dataset's folder."""
    folder = tmp_path_factory.mktemp("rings")
    world = write_rings(folder)
    with server("--engine", "raster", "--workers", "1") as running:

        def exported(name: str) -> Path:
            if not (folder / name).exists():
                generate(GenerateOptions(str(world), COUNT, folder / name, name, pool=PoolOptions(running.address)))
            return folder / name

        yield exported


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an imagefolder with masks."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return `datasets.load_dataset` with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # `datasets` alone would also be found where the demo has left a folder of that name.
    pytest.importorskip("datasets.load", reason="needs datasets; run make test-vision")
    import datasets

    datasets.disable_progress_bars()
    return lambda *args, **kwargs: datasets.load_dataset(*args, split="train", cache_dir=str(tmp_path), **kwargs)


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "parquet-masks", "webdataset", "webdataset-masks"])
def test_datasets_opens_images_and_labels(name: str, export: Export, load_dataset: Callable[..., Any]) -> None:
    folder, plain = export(name), export("imagefolder-masks")
    if name == "imagefolder":
        found = load_dataset("imagefolder", data_dir=str(folder))
    elif name.startswith("parquet"):
        found = load_dataset("parquet", data_files=str(folder / "data" / "*.parquet"))
    else:
        found = load_dataset("webdataset", data_files=str(folder / "*.tar"))
    assert len(found) == COUNT
    if name.startswith("parquet"):  # Classes are numbers, whose names stand in the schema.
        names = found.features["objects"]["categories"].feature.names
        assert names == ["disc", "ring"]
    image = "png" if name.startswith("webdataset") else "image"
    for sample, row in zip(found, rows_of(plain), strict=True):
        np.testing.assert_array_equal(np.asarray(sample[image]), pixels(plain / row["file_name"]))
        objects = dict((sample.get("json") or sample)["objects"])
        if name.startswith("parquet"):
            objects["categories"] = [names[number] for number in objects["categories"]]
        assert objects == row["objects"]
    if name == "webdataset-masks":
        instances = [np.asarray(sample["instance.png"]) for sample in found]
        for mask, row in zip(instances, rows_of(plain), strict=True):
            np.testing.assert_array_equal(mask, pixels(plain / row["instance_mask_file_name"]))


@pytest.fixture
def ultralytics_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Any]:
    """Return a function that opens a folder as `yolo detect train data=FOLDER/data.yaml` does."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "True")
    pytest.importorskip("ultralytics", reason="needs ultralytics; run make test-vision")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_: None)  # It would download one.

    def opened(folder: Path, task: str) -> Any:
        data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
        assert data["names"] == {0: "disc", 1: "ring"}
        return YOLODataset(img_path=data["train"], data=data, task=task, augment=False, imgsz=WIDTH)

    return opened


def box_around(mask: np.ndarray) -> np.ndarray:
    """Return YOLO's x, y, width, height of a mask."""
    rows, columns = np.nonzero(mask)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]) / np.tile((WIDTH, HEIGHT), 2)


@pytest.mark.parametrize(("name", "task"), [("yolo", "detect"), ("yolo-seg", "segment")])
def test_ultralytics_opens_boxes_and_polygons(
    name: str, task: str, export: Export, ultralytics_dataset: Callable[[Path, str], Any]
) -> None:
    plain = export("imagefolder-masks")
    dataset = ultralytics_dataset(export(name), task)
    assert len(dataset.labels) == COUNT
    by_file = {Path(label["im_file"]).name: label for label in dataset.labels}
    objects = 0
    for row in rows_of(plain):
        label = by_file[Path(row["file_name"]).name]
        assert label["shape"] == (HEIGHT, WIDTH)
        classes = pixels(plain / row["class_mask_file_name"])
        instances = pixels(plain / row["instance_mask_file_name"])
        masks = [instances == value for value in np.unique(instances)[1:]]
        assert label["cls"].ravel().tolist() == [int(classes[mask][0]) - 1 for mask in masks]
        boxes = np.array([box_around(mask) for mask in masks])
        # Polygons run midway between the pixel centres inside and outside.
        np.testing.assert_allclose(label["bboxes"], boxes, atol=1e-5 if task == "detect" else 0.6 / HEIGHT)
        assert len(label["segments"]) == (len(masks) if task == "segment" else 0)
        objects += len(masks)
    assert objects >= 15
    sample = dataset[0]  # Through its own transforms, as a network sees it.
    assert sample["img"].shape[0] == 3
    assert len(sample["bboxes"]) == len(sample["cls"]) > 0
