"""BOP: scenes for the pose of objects.

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md. Millimetres; the camera's frame
has x to the right, y down, z forward; pixels are counted from the centre of the top left one, half a pixel less than in
the rest of this package.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from metasim.camera import CameraView

from trainer.datasets.writers.audit import Expected
from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.geometry import Cuboid
from trainer.datasets.writers.meshes import MeshSource, bop_model
from trainer.datasets.writers.png import save_png
from trainer.datasets.writers.sample import Instance, Need, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

#: Images per folder, as in BOP's own synthetic data.
SCENE = 1000
#: Depth resolutions in millimetres. Each image uses the finest one whose 16-bit range suffices.
_DEPTH_STEPS = (0.1, 1.0)
_MOST = 65535
_NO_BOX = [-1, -1, -1, -1]
#: Maximum difference between two boxes of one model, mm.
_SAME_SIZE_MM = 0.1


class BopWriter(DatasetWriter):
    """`train_pbr/000000` ..., `models/models_info.json`, `camera.json`."""

    layout = f"""
* `train_pbr/000000/` ...: {SCENE} images each. `rgb/` PNGs; `depth/` 16-bit PNGs in steps of `depth_scale` mm, 0:
  nothing or too far; `mask/` an object's silhouette and `mask_visib/` its visible pixels (255), as `IMAGE_OBJECT.png`.
* `scene_gt.json`: rotation and translation (mm) from the object's frame to the camera's (x to the right, y down, z
  forward), for each object with visible pixels. `scene_gt_info.json`: boxes (x, y, width, height) and numbers of
  pixels, of what lies in the image. `scene_camera.json`: `cam_K` (pixels from the centre of the top left one),
  `depth_scale`, and where the world is.
* `models/obj_000001.ply` ...: the meshes of asset sets in mm, with colours by vertex. `models/models_info.json`: the
  box around each model in mm, its name, and its symmetries as its asset set states them; `diameter` is the box's
  diagonal, the largest that two points of the model can be apart.
* `camera.json`: the camera of the first image.
"""
    needs = Need.BOXES | Need.MASKS | Need.DEPTH | Need.SILHOUETTES | Need.CAMERA
    image_formats = ("png",)
    reader = "bop"

    def __init__(
        self,
        folder: Path,
        card: DatasetCard,
        *,
        resume: bool = False,
        meshes: MeshSource | None = None,
        part: range | None = None,
    ) -> None:
        super().__init__(folder, card, resume=resume, meshes=meshes, part=part)
        self._models: dict[str, dict[str, Any]] = {}
        for record in self._records():
            self._models = record["models"] | self._models

    def expected(self, sample: Sample) -> list[Expected]:
        """See `DatasetWriter.expected`."""
        numbers = object_numbers(self.card.models)
        return [
            (f"obj_{numbers[item.model]:06d}", (box.x, box.y, box.width, box.height))
            for item, box in sample.seen
            if item.cuboid is not None and item.silhouette is not None
        ]

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        super()._take_files(folder, records)
        for place, record in enumerate(records):
            for number, model in record["models"].items():
                _refuse_other_size(self.count + place, number, model, self._models.setdefault(number, model))

    def _write(self, index: int, sample: Sample) -> Record:
        camera = sample.camera
        if camera is None or not camera.perspective or sample.depth is None:
            raise InputError("bop needs a perspective camera; choose coco")
        folder, place = f"{index // SCENE:06d}", index % SCENE
        self._save_image(sample, "train_pbr", folder, "rgb", f"{place:06d}")
        steps, depth_scale = depth_steps(sample.depth)
        save_png(steps, self._path("train_pbr", folder, "depth", f"{place:06d}.png"))
        numbers = object_numbers(self.card.models)
        poses: list[Record] = []
        infos: list[Record] = []
        models: dict[str, Record] = {}
        scales: dict[str, tuple[float, float, float]] = {}
        for item, _ in sample.seen:
            if item.cuboid is None or item.silhouette is None:
                continue
            visible = sample.pixels(item)
            whole = item.silhouette | visible
            for name, mask in (("mask", whole), ("mask_visib", visible)):
                path = self._path("train_pbr", folder, name, f"{place:06d}_{len(poses):06d}.png")
                save_png(mask.astype(np.uint8) * 255, path)
            poses.append(_pose(item, item.cuboid, numbers))
            infos.append(_info(whole, visible, sample.depth))
            models[str(numbers[item.model])] = _model(item.model, item.cuboid)
            scales[str(numbers[item.model])] = item.mesh_scale
        for number, model in models.items():
            if number not in self._models:
                self._models[number] = model | self._write_model(number, model, scales[number])
            _refuse_other_size(index, number, model, self._models[number])
            models[number] = self._models[number]
        return {"camera": _camera(camera, depth_scale), "gt": poses, "info": infos, "models": models}

    def _finish(self) -> None:
        scenes: dict[int, dict[str, dict[str, Any]]] = {}
        for index, record in enumerate(self._records()):
            folder, place = divmod(index, SCENE)
            if place == 0:
                scenes = {folder: {"scene_camera": {}, "scene_gt": {}, "scene_gt_info": {}}}
            for name, key in (("scene_camera", "camera"), ("scene_gt", "gt"), ("scene_gt_info", "info")):
                scenes[folder][name][str(place)] = record[key]
            if place == SCENE - 1 or index == self.count - 1:
                for name, content in scenes[folder].items():
                    lines = ",\n".join(f'  "{image}": {json.dumps(value)}' for image, value in content.items())
                    path = self._path("train_pbr", f"{folder:06d}", f"{name}.json")
                    path.write_text(f"{{\n{lines}\n}}\n", encoding="ascii")
            if index == 0:
                self._path("camera.json").write_text(_camera_file(record["camera"]), encoding="ascii")
        ordered = {number: self._models[number] for number in sorted(self._models, key=int)}
        self._path("models", "models_info.json").write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")

    def _write_model(self, number: str, model: Record, scale: tuple[float, float, float]) -> dict[str, Any]:
        """Write a model's mesh on its first appearance; return its symmetries."""
        mesh = None if self.meshes is None else self.meshes(model["name"])
        if mesh is None:
            return {}
        low, size = (np.array([model[f"{of}_{axis}"] for axis in "xyz"]) for of in ("min", "size"))
        converted = bop_model(mesh, model["name"], scale, low, size)
        self._path("models", f"obj_{int(number):06d}.ply").write_bytes(converted.ply)
        return converted.symmetries


def object_numbers(models: tuple[str, ...]) -> Mapping[str, int]:
    """Return the `obj_id` of each model: NUMBER if all files are named obj_NUMBER, otherwise its position from 1."""
    found = [re.search(r"(?:^|/)obj_(\d+)$", name) for name in models]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(models) or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(models) + 1))
    return dict(zip(models, numbers, strict=True))


def depth_steps(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return depth in m [height, width] as uint16, and its unit in mm; 0: nothing there, or too far."""
    millimetres = np.where(np.isfinite(depth), depth, 0).astype(np.float64) * 1000
    farthest = float(millimetres.max())
    step = next((step for step in _DEPTH_STEPS if farthest / step < _MOST), _DEPTH_STEPS[-1])
    steps = np.rint(millimetres / step)
    return np.where(steps <= _MOST, steps, 0).astype(np.uint16), step


def _pose(item: Instance, cuboid: Cuboid, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "cam_R_m2c": cuboid.rotation.ravel().tolist(),
        "cam_t_m2c": (cuboid.translation * 1000).tolist(),
        "obj_id": numbers[item.model],
    }


def _info(whole: np.ndarray, visible: np.ndarray, depth: np.ndarray) -> dict[str, Any]:
    all_px, visible_px = int(np.count_nonzero(whole)), int(np.count_nonzero(visible))
    return {
        "bbox_obj": _box(whole),
        "bbox_visib": _box(visible),
        "px_count_all": all_px,
        "px_count_valid": int(np.count_nonzero(whole & np.isfinite(depth))),
        "px_count_visib": visible_px,
        "visib_fract": visible_px / all_px if all_px else 0.0,
    }


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return _NO_BOX
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def _camera(camera: CameraView, depth_scale: float) -> dict[str, Any]:
    distortion = {} if camera.distortion.is_none else {"distortion": list(camera.distortion.coefficients)}
    return {
        "cam_K": camera.vision_matrix,
        **distortion,  # OpenCV's k1, k2, p1, p2, k3; BOP's own tools ignore it.
        "depth_scale": depth_scale,
        "cam_R_w2c": camera.vision_rotation.ravel().tolist(),
        "cam_t_w2c": (camera.vision_translation * 1000).tolist(),
        "width": camera.width_px,
        "height": camera.height_px,
    }


def _camera_file(camera: dict[str, Any]) -> str:
    fx, _, u, _, fy, v, *_ = camera["cam_K"]
    names = {"cx": u, "cy": v, "depth_scale": camera["depth_scale"], "fx": fx, "fy": fy}
    return json.dumps({**names, "width": camera["width"], "height": camera["height"]}, indent=1) + "\n"


def _model(name: str, cuboid: Cuboid) -> dict[str, Any]:
    low, size = cuboid.low * 1000, cuboid.size * 1000
    values = {"diameter": float(np.linalg.norm(size)), "name": name}
    for axis, axis_name in enumerate("xyz"):
        values[f"min_{axis_name}"], values[f"size_{axis_name}"] = float(low[axis]), float(size[axis])
    return values


def _refuse_other_size(index: int, number: str, model: dict[str, Any], first: dict[str, Any]) -> None:
    for axis in "xyz":
        if abs(model[f"size_{axis}"] - first[f"size_{axis}"]) > _SAME_SIZE_MM:
            raise InputError(
                f"image {index}: object {number} ({model['name']}) is {model[f'size_{axis}']:.1f} mm along {axis}, and "
                f"{first[f'size_{axis}']:.1f} mm elsewhere; BOP's models have one size: keep it constant, or use coco"
            )
