"""Datasets of rendered worlds, read by others' code or by a few lines that know nothing of the writers."""

import gc
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
import yaml
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from support.data import shared_data
from support.datasets import write_rings, write_street
from support.servers import server

from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions

Export = Callable[[str], Path]


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    """Exports the flat world."""
    folder = tmp_path_factory.mktemp("rings")
    world = write_rings(folder)
    with server("--engine", "raster", "--workers", "1") as running:

        def export(name: str, count: int = 4) -> Path:
            if not (folder / name).exists():
                generate(GenerateOptions(str(world), count, folder / name, name, pool=PoolOptions(running.address)))
            return folder / name

        yield export


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    """Exports the world with depth."""
    folder = tmp_path_factory.mktemp("street")
    world = write_street(folder)
    with server("--engine", "blender", "--workers", "1") as running:

        def export(name: str, count: int = 6) -> Path:
            if not (folder / name).exists():
                generate(GenerateOptions(str(world), count, folder / name, name, pool=PoolOptions(running.address)))
            return folder / name

        yield export


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def instance_masks(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(class mask, instance mask) of each image of an imagefolder."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    return [
        (pixels(folder / row["class_mask_file_name"]), pixels(folder / row["instance_mask_file_name"])) for row in rows
    ]


@pytest.mark.parametrize("name", ["coco", "coco-rle"])
def test_coco_is_read_by_its_own_code_and_holds_the_masks(
    name: str, rings: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = rings(name)
    coco = COCO(str(folder / "annotations" / "instances.json"))
    capsys.readouterr()
    assert {number: category["name"] for number, category in coco.cats.items()} == {1: "disc", 2: "ring"}
    seen = 0
    for number, (classes, instances) in zip(coco.getImgIds(), instance_masks(rings("imagefolder-masks")), strict=True):
        info = coco.loadImgs(number)[0]
        assert pixels(folder / "images" / info["file_name"]).shape == (info["height"], info["width"], 3)
        annotations = coco.loadAnns(coco.getAnnIds(number))
        assert len(annotations) == len(np.unique(instances)) - 1
        for annotation in annotations:
            mask = coco.annToMask(annotation).astype(bool)
            [value] = np.unique(instances[mask])
            np.testing.assert_array_equal(mask, instances == value)
            assert (classes[mask] == annotation["category_id"]).all()
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == coco_masks.toBbox(coco_masks.encode(np.asfortranarray(mask))).tolist()
            seen += 1
    assert seen >= 15


def read_yolo(path: Path) -> list[tuple[int, np.ndarray]]:
    """(class, numbers) of each line."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(int(first), np.array([float(number) for number in rest])) for first, *rest in lines]


def test_yolo_has_boxes_around_the_masks(rings: Export) -> None:
    folder = rings("yolo")
    # Without `path`, ultralytics takes the file's own folder.
    assert set(yaml.safe_load((folder / "data.yaml").read_text())) == {"train", "val", "names"}
    assert 'names:\n  0: "disc"\n  1: "ring"\n' in (folder / "data.yaml").read_text()
    for number, (classes, instances) in enumerate(instance_masks(rings("imagefolder-masks"))):
        found = read_yolo(folder / "labels" / "train" / f"{number:07d}.txt")
        assert pixels(folder / "images" / "train" / f"{number:07d}.png").shape == (72, 96, 3)
        expected = []
        for value in np.unique(instances)[1:]:
            rows, columns = np.nonzero(instances == value)
            left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            box = ((left + right) / 192, (top + bottom) / 144, (right - left) / 96, (bottom - top) / 72)
            expected.append((int(classes[rows[0], columns[0]]) - 1, pytest.approx(box, abs=1e-6)))
        assert [(number, tuple(box)) for number, box in found] == expected


def test_yolo_seg_gives_the_masks(rings: Export) -> None:
    folder = rings("yolo-seg")
    for number, (_, instances) in enumerate(instance_masks(rings("imagefolder-masks"))):
        polygons = read_yolo(folder / "labels" / "train" / f"{number:07d}.txt")
        for value, (_, numbers) in zip(np.unique(instances)[1:], polygons, strict=True):
            corners = numbers.reshape(-1, 2) * (96, 72)
            mask = coco_masks.decode(coco_masks.frPyObjects([corners.ravel().tolist()], 72, 96))[..., 0].astype(bool)
            np.testing.assert_array_equal(mask, instances == value)


@pytest.mark.parametrize("masks", [False, True])
def test_webdataset_is_a_tar_file_of_samples(masks: bool, rings: Export) -> None:
    folder = rings("webdataset-masks" if masks else "webdataset")
    plain = rings("imagefolder-masks")
    rows = [json.loads(line) for line in (plain / "metadata.jsonl").read_text().splitlines()]
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(folder / "shard-000000.tar") as shard:
        for member in shard:
            key, suffix = member.name.split(".", 1)
            samples.setdefault(key, {})[suffix] = shard.extractfile(member).read()  # type: ignore[union-attr]
    assert list(samples) == [f"{number:07d}" for number in range(4)]
    for row, sample in zip(rows, samples.values(), strict=True):
        assert json.loads(sample["json"]) == {key: row[key] for key in ("objects", "attributes")}
        assert np.array_equal(Image.open(io.BytesIO(sample["png"])), pixels(plain / row["file_name"]))
        assert set(sample) == {"png", "json"} | ({"class.png", "instance.png"} if masks else set())
        if masks:
            instances = Image.open(io.BytesIO(sample["instance.png"]))
            assert np.array_equal(instances, pixels(plain / row["instance_mask_file_name"]))


@pytest.mark.filterwarnings("ignore:unclosed file.*shard:ResourceWarning")  # The package leaves shards open.
def test_webdataset_is_read_by_its_own_package(rings: Export) -> None:
    folder, plain = rings("webdataset-masks"), rings("imagefolder-masks")
    rows = [json.loads(line) for line in (plain / "metadata.jsonl").read_text().splitlines()]
    samples = list(webdataset.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{number:07d}" for number in range(4)]
    for row, sample in zip(rows, samples, strict=True):
        assert sample["json"]["objects"] == row["objects"]
        np.testing.assert_array_equal(sample["png"], pixels(plain / row["file_name"]))
        np.testing.assert_array_equal(sample["instance.png"][..., 0], pixels(plain / row["instance_mask_file_name"]))
    gc.collect()


def read_kitti(path: Path) -> list[tuple[str, np.ndarray]]:
    """(type, the 14 numbers) of each line."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(kind, np.array([float(number) for number in rest])) for kind, *rest in lines]


def corners_of(numbers: np.ndarray) -> np.ndarray:
    """[8, 3] of a KITTI box, as its development kit computes them."""
    height, width, length, x, y, z, turn = numbers[7:]
    local = np.array([(a * length / 2, -b * height, c * width / 2) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)])
    rotation = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    return local @ rotation.T + (x, y, z)


def test_kitti_boxes_in_3d_lie_on_those_in_the_image(street: Export) -> None:
    folder = street("kitti") / "training"
    whole = 0
    types: set[str] = set()
    levels: set[int] = set()
    for path in sorted((folder / "label_2").iterdir()):
        assert pixels(folder / "image_2" / f"{path.stem}.png").shape == (96, 160, 3)
        calibration = dict(
            line.split(":") for line in (folder / "calib" / path.name).read_text().splitlines() if line.strip()
        )
        projection = np.array([float(number) for number in calibration["P2"].split()]).reshape(3, 4)
        assert projection[0, 2] == 79.5
        for kind, numbers in read_kitti(path):
            assert len(numbers) == 14
            types.add(kind)
            levels.add(int(numbers[1]))
            alpha, turn = numbers[2], numbers[13]
            ray = math.atan2(numbers[10], numbers[12])
            assert math.cos(alpha + ray - turn) == pytest.approx(1, abs=1e-3)
            expected = {"Car": (1.5, 1.8, 4.2), "Truck": (3.0, 2.4, 8.0)}[kind]
            assert tuple(numbers[7:10]) == pytest.approx(expected)
            image = corners_of(numbers) @ projection[:, :3].T
            points = image[:, :2] / image[:, 2:]
            if numbers[0] == 0 and (image[:, 2] > 1).all():
                box = (*points.min(axis=0), *points.max(axis=0))
                # The camera is pitched by 2 degrees, which KITTI's boxes cannot be.
                assert tuple(numbers[3:7]) == pytest.approx(box, abs=1.0)
                whole += 1
            else:
                assert numbers[3] <= 0.5 or numbers[5] >= 158.5
    assert types == {"Car", "Truck"}
    assert levels == {0, 1, 2}
    assert whole >= 15


def test_bop_poses_project_the_objects_onto_their_masks(street: Export) -> None:
    folder = street("bop")
    models = json.loads((folder / "models" / "models_info.json").read_text())
    assert models["1"]["name"] == "car"
    assert (models["1"]["min_x"], models["1"]["size_x"]) == pytest.approx((-2100, 4200))
    assert models["2"]["diameter"] == pytest.approx(math.sqrt(8**2 + 2.4**2 + 3**2) * 1000)
    scene = folder / "train_pbr" / "000000"
    cameras, poses, infos = (
        json.loads((scene / f"{name}.json").read_text()) for name in ("scene_camera", "scene_gt", "scene_gt_info")
    )
    assert list(cameras) == list(poses) == list(infos) == [str(number) for number in range(6)]
    hidden = compared = 0
    for image, camera in cameras.items():
        matrix = np.array(camera["cam_K"]).reshape(3, 3)
        depth = pixels(scene / "depth" / f"{int(image):06d}.png") * camera["depth_scale"]
        assert pixels(scene / "rgb" / f"{int(image):06d}.png").shape == (96, 160, 3)
        for place, (pose, info) in enumerate(zip(poses[image], infos[image], strict=True)):
            model = models[str(pose["obj_id"])]
            low = np.array([model[f"min_{axis}"] for axis in "xyz"])
            size = np.array([model[f"size_{axis}"] for axis in "xyz"])
            unit = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
            rotation = np.array(pose["cam_R_m2c"]).reshape(3, 3)
            assert np.linalg.det(rotation) == pytest.approx(1)
            points = (low + unit * size) @ rotation.T + pose["cam_t_m2c"]
            whole, visible = (
                pixels(scene / name / f"{int(image):06d}_{place:06d}.png") > 0 for name in ("mask", "mask_visib")
            )
            assert not (visible & ~whole).any()
            assert (info["px_count_all"], info["px_count_visib"]) == (whole.sum(), visible.sum())
            assert info["visib_fract"] == pytest.approx(visible.sum() / whole.sum())
            hidden += bool(info["visib_fract"] < 0.9)
            assert depth[visible].min() > points[:, 2].min() - 1
            assert depth[visible].max() < points[:, 2].max() + 1
            left, top, width, height = info["bbox_obj"]
            if (points[:, 2] > 500).all() and left > 0 and left + width < 160 and top + height < 96:
                projected = points @ matrix.T
                projected = projected[:, :2] / projected[:, 2:]
                assert projected.min(axis=0) == pytest.approx((left - 0.5, top - 0.5), abs=1)
                assert projected.max(axis=0) == pytest.approx((left + width - 0.5, top + height - 0.5), abs=1)
                compared += 1
    assert hidden >= 3
    assert compared >= 15


TABLE = """\
render: {width: 96, height: 72, samples: 1}
assets:
  things: {bop: MODELS}
nodes:
  camera: {camera: perspective, fov: 40, x: -0.45, z: 0.3, roll: 58, yaw: -90}
  sun: {light: sun, intensity: 3, roll: 20}
  thing: {class: "{label}", mesh: things, yaw: {uniform: [-180, 180]}, y: {uniform: [-0.1, 0.1]}}
scene: [camera, sun, {kind: thing, count: 2}]
"""


def test_bop_models_come_out_as_they_went_in(tmp_path: Path) -> None:
    import trimesh

    models = shared_data("bop") / "models_6deval"
    (tmp_path / "table.yaml").write_text(TABLE.replace("MODELS", str(models)))
    generate(
        GenerateOptions(
            str(tmp_path / "table.yaml"), 3, tmp_path / "out", "bop", pool=PoolOptions(engine="blender", workers=1)
        )
    )
    written = sorted(path.name for path in (tmp_path / "out" / "models").glob("*.ply"))
    poses = json.loads((tmp_path / "out" / "train_pbr" / "000000" / "scene_gt.json").read_text())
    numbers = {pose["obj_id"] for found in poses.values() for pose in found}
    assert written == [f"obj_{number:06d}.ply" for number in sorted(numbers)]
    information = json.loads((tmp_path / "out" / "models" / "models_info.json").read_text())
    stated = json.loads((models / "models_info.json").read_text())
    for name in written:
        there, here = (trimesh.load(folder / name, process=False) for folder in (models, tmp_path / "out" / "models"))
        np.testing.assert_allclose(here.bounds, there.bounds, atol=0.01)
        assert here.area == pytest.approx(there.area, rel=1e-4)
        model = information[str(int(name[4:10]))]
        # The folder's own models_info.json is a few per cent off its meshes, so these are what counts.
        assert set(model) - {"name"} == set(stated[str(int(name[4:10]))])
        low = [model[f"min_{axis}"] for axis in "xyz"]
        assert low == pytest.approx(there.bounds[0].tolist(), abs=0.01)
        assert [model[f"size_{axis}"] for axis in "xyz"] == pytest.approx(
            np.ptp(there.bounds, axis=0).tolist(), abs=0.01
        )
