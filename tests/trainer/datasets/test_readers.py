"""Datasets as they lie about, and what is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_masks
from support.data import shared_data

from trainer.assets.idx import write_idx
from trainer.datasets.kitti_labels import KittiObject, format_calibration, format_labels
from trainer.datasets.rasterisation import polygons_mask, runs_mask, unpacked_runs
from trainer.datasets.readers import BopPose, open_dataset
from trainer.errors import InputError


def picture(path: Path, size: tuple[int, int] = (6, 4), seed: int = 0) -> np.ndarray:
    """Writes noise of (width, height) and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_of_images_of_any_kind(tmp_path: Path) -> None:
    first = picture(tmp_path / "b.png", seed=1)
    picture(tmp_path / "a.jpg")
    Image.fromarray(first).convert("L").save(tmp_path / "deep.tif")
    Image.fromarray(np.dstack((first, first[..., :1]))).save(tmp_path / "c.PNG")
    (tmp_path / "notes.txt").write_text("no image")
    picture(tmp_path / ".hidden" / "x.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, len(dataset), dataset.classes) == ("images", 4, ())
    assert [example.name for example in dataset] == ["a.jpg", "b.png", "c.PNG", "deep.tif"]
    np.testing.assert_array_equal(dataset.example(1).image, first)
    np.testing.assert_array_equal(dataset.example(2).image, first)
    assert all(example.image.shape == (4, 6, 3) and example.label is None for example in dataset)


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "held.png", exif=exif)
    image = open_dataset(tmp_path).example(0).image
    assert image.shape == (6, 4, 3)
    assert (image[:, 3] == 255).all()


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "1.png")
    picture(tmp_path / "cat" / "2.png")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert [example.label for example in dataset] == ["cat", "dog"]
    picture(tmp_path / "3.png")
    assert [example.label for example in open_dataset(tmp_path)] == [None] * 3


def test_idx_with_and_without_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    write_idx(tmp_path / "my-images-idx3-ubyte.gz", images)
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, len(dataset), dataset.example(2).label) == ("idx", 3, None)
    np.testing.assert_array_equal(dataset.example(2).image, np.repeat(images[2, :, :, None], 3, axis=2))
    write_idx(tmp_path / "my-labels-idx1-ubyte.gz", np.array([2, 0, 1], np.uint8))
    dataset = open_dataset(tmp_path / "my-images-idx3-ubyte.gz")
    assert [example.label for example in dataset] == [2, 0, 1]
    assert dataset.classes == ("0", "1", "2")


def test_mnist_is_an_idx_dataset() -> None:
    dataset = open_dataset(shared_data("mnist"))
    assert (dataset.kind, len(dataset), dataset.example(0).label) == ("idx", 60_000, 5)


def test_kitti_frames_pass_through_unchanged() -> None:
    folder = shared_data("kitti")
    dataset = open_dataset(folder)
    assert (dataset.kind, len(dataset)) == ("kitti", 16)
    assert {"Car", "Pedestrian", "Cyclist", "Truck", "Van"} <= set(dataset.classes)
    for index, example in enumerate(dataset):
        stem = Path(example.name).stem
        records = [item.record for item in example.objects or () if isinstance(item.record, KittiObject)]
        assert format_labels(records).encode() == (folder / "label_2" / f"{stem}.txt").read_bytes()
        calibration = dataset.calibration(index)  # type: ignore[attr-defined]
        assert format_calibration(calibration).encode() == (folder / "calib" / f"{stem}.txt").read_bytes()
        for item in example.objects or ():
            left, top, width, height = item.box
            assert 0 <= left < left + width <= example.image.shape[1]
            assert 0 <= top < top + height <= example.image.shape[0]


def coco_file(folder: Path, annotations: list[dict[str, object]], name: str = "annotations/instances_val.json") -> Path:
    picture(folder / "val" / "one.png", (8, 6))
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    images = [{"id": 9, "file_name": "one.png", "width": 8, "height": 6}]
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_coco_with_polygons_and_both_kinds_of_run_lengths(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:5, 1:7] = 1
    mask[3, 2] = 0
    packed = coco_masks.encode(np.asfortranarray(mask))
    runs = [8, 3, 3, 1, 1, 1] + [3, 3] * 4 + [7]
    common = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 6, 3]}
    coco_file(
        tmp_path,
        [
            {"id": 1, **common, "segmentation": [[1, 2, 7, 2, 7, 5, 1, 5]]},
            {"id": 2, **common, "segmentation": {"size": [6, 8], "counts": packed["counts"].decode()}},
            {"id": 3, **common, "segmentation": {"size": [6, 8], "counts": runs}},
            {"id": 4, **common},
        ],
    )
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.classes) == ("coco", ("dog", "cat"))
    polygon, text, numbers, bare = dataset.example(0).objects or ()
    assert (bare.class_name, bare.box, bare.mask) == ("dog", (1, 2, 6, 3), None)
    whole = mask.copy()
    whole[3, 2] = 1
    np.testing.assert_array_equal(polygon.mask(), whole)  # type: ignore[misc]
    np.testing.assert_array_equal(text.mask(), mask)  # type: ignore[misc]
    np.testing.assert_array_equal(numbers.mask(), mask)  # type: ignore[misc]


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_packed_run_lengths_are_those_of_coco(mask: np.ndarray) -> None:
    packed = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(runs_mask(unpacked_runs(packed), *mask.shape), mask)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=8))
def test_polygons_hold_the_pixels_whose_centres_they_enclose(corners: list[tuple[int, int]]) -> None:
    from matplotlib.path import Path as Outline

    # Corners at quarters, so that no centre lies on an edge's end; those on an edge are left out of the comparison.
    ring = np.array(corners) / 2 + 0.25
    y, x = np.mgrid[:20, :20] + 0.5
    centres = np.stack((x.ravel(), y.ravel()), axis=1)
    found = polygons_mask([ring], 20, 20).ravel()
    inside = np.zeros(400, int)
    for first in range(1, len(ring) - 1):  # Even-odd: the parity of the triangles of a fan.
        triangle = ring[[0, first, first + 1]]
        inside += Outline(triangle).contains_points(centres, radius=0)
    starts, ends = ring, np.roll(ring, -1, axis=0)
    fan = np.concatenate([np.stack((ring[:1].repeat(len(ring), 0), ring), axis=1), np.stack((starts, ends), axis=1)])
    near = np.zeros(400, bool)
    for a, b in fan:
        way = b - a
        length = max(way @ way, 1e-9)
        t = np.clip((centres - a) @ way / length, 0, 1)
        near |= np.linalg.norm(centres - a - t[:, None] * way, axis=1) < 1e-6
    np.testing.assert_array_equal(found[~near], (inside % 2 == 1)[~near])


def test_yolo_boxes_and_polygons(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "a.png", (8, 4))
    picture(tmp_path / "images" / "train" / "b.png", (8, 4))
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.75 0.25 0.75 0.75\n")
    (tmp_path / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.classes) == ("yolo", ("cat", "dog"))
    box, polygon = dataset.example(0).objects or ()
    assert (box.class_name, box.box, box.mask) == ("dog", (3, 1, 2, 2), None)
    assert (polygon.class_name, polygon.box) == ("cat", (2, 1, 4, 2))
    assert polygon.mask().sum() == 4  # type: ignore[misc]
    assert dataset.example(1).objects == ()


def test_bop_scenes(tmp_path: Path) -> None:
    scene = tmp_path / "test" / "000002"
    picture(scene / "rgb" / "000005.png")
    (scene / "scene_camera.json").write_text('{"5": {"cam_K": [9, 0, 3, 0, 9, 2, 0, 0, 1], "depth_scale": 1.0}}')
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [10, 20, 500], "obj_id": 4}
    (scene / "scene_gt.json").write_text(json.dumps({"5": [pose]}))
    (scene / "scene_gt_info.json").write_text('{"5": [{"bbox_visib": [1, 2, 3, 1]}]}')
    (scene / "mask_visib").mkdir()
    Image.fromarray(np.full((4, 6), 255, np.uint8)).save(scene / "mask_visib" / "000005_000000.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.classes) == ("bop", ("obj_000004",))
    [item] = dataset.example(0).objects or ()
    assert isinstance(item.record, BopPose)
    assert item.record.translation_m.tolist() == [0.01, 0.02, 0.5]
    assert item.box == (1, 2, 3, 1)
    assert item.mask().all()  # type: ignore[misc]
    assert dataset.camera(0).tolist() == [[9, 0, 3], [0, 9, 2], [0, 0, 1]]  # type: ignore[attr-defined]


def damaged(path: Path) -> None:
    picture(path, (60, 40))
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda _: None, r"/photos holds no image; looked for names that end in \.png, \.jpg"),
        (lambda folder: damaged(folder / "a.png"), r"/photos/a\.png is damaged \(.*truncated.*\); repair or remove it"),
        (
            lambda folder: (folder / "a.png").write_text("hello"),
            r"/photos/a\.png is damaged \(no image that can be read\); repair or remove it$",
        ),
        (
            lambda folder: (folder / "metadata.jsonl").write_text('{"file": 1}\n'),
            r"metadata\.jsonl, line 1: it must be a JSON object with a file_name$",
        ),
        (
            lambda folder: (folder / "metadata.jsonl").write_text('{"file_name": "gone.png"}\n'),
            r"/photos/gone\.png: there is no such image$",
        ),
        (lambda folder: (folder / "image_2").mkdir(), r"/photos/image_2 holds no image$"),
        (
            lambda folder: (picture(folder / "image_2" / "1.png"), (folder / "label_2").mkdir()),
            r"/photos/label_2/1\.txt is missing: 1\.png has no labels$",
        ),
        (
            lambda folder: ((folder / "images").mkdir(), (folder / "labels").mkdir()),
            r"/photos/images holds no image; YOLO's layout is images/ and labels/$",
        ),
        (
            lambda folder: (
                picture(folder / "images" / "a.png"),
                (folder / "labels").mkdir(),
                (folder / "labels" / "a.txt").write_text("0 1 2 3\n"),
            ),
            r"/photos/labels/a\.txt, line 1: 3 coordinates; a box has 4, a polygon 6 or more$",
        ),
        (
            lambda folder: (coco_file(folder, []), coco_file(folder, [], "annotations/b.json")),
            r"/photos holds 2 COCO files \(b\.json, instances_val\.json\); give the path of one",
        ),
        (
            lambda folder: coco_file(folder, []).write_text("{"),
            r"instances_val\.json is not a JSON file: ",
        ),
        (
            lambda folder: coco_file(folder, []).write_text("{}"),
            r"instances_val\.json is not a COCO file of instances: 'images' is missing$",
        ),
        (
            lambda folder: coco_file(folder, [{"id": 5, "image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}]),
            r"annotation 5 has no bbox of four numbers with a known category_id$",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_one_line(make: object, line: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=line) as error:
        list(open_dataset(folder))
    assert "\n" not in str(error.value)


def test_no_folder_no_kind_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/none: there is no such folder$"):
        open_dataset(tmp_path / "none")
    with pytest.raises(
        InputError,
        match=r"dataset kind 'via' is unknown; allowed: images, .*, webdataset, parquet$",
    ):
        open_dataset(tmp_path, "via")
    picture(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is a file; a dataset is a folder"):
        open_dataset(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"has no image_2/; KITTI's layout is image_2/, label_2/, calib/$"):
        open_dataset(tmp_path, "kitti")
