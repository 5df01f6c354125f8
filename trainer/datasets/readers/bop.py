"""BOP's scenes: images with the poses of objects."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainer.assets.folder_files import files_below
from trainer.datasets.dataset import ImageDataset, read_json
from trainer.datasets.example import BopPose, Example, ExampleObject
from trainer.datasets.pixels import IMAGE_SUFFIXES, read_image, read_mask
from trainer.errors import InputError

_CAMERAS = "scene_camera.json"


class BopDataset(ImageDataset):
    """All scenes in and below a folder. A scene is a folder with `scene_camera.json` and `rgb/` (or `gray/`),
    optionally with `scene_gt.json` and `mask_visib/`. Classes are named after object numbers: `obj_000001`.

    Boxes come from `scene_gt_info.json`, or otherwise enclose the masks. Objects without visible pixels are left out.
    """

    kind = "bop"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no scene, or a file of a scene is damaged.
        """
        super().__init__(folder)
        self._images: list[tuple[Path, Path, int]] = []  # scene, image, number
        self._truth: dict[Path, tuple[Any, Any]] = {}
        numbers: set[int] = set()
        for scene in scenes(folder):
            images = scene / "rgb" if (scene / "rgb").is_dir() else scene / "gray"
            for path in sorted(images.iterdir()):
                if path.stem.isdigit() and path.suffix.lower() in IMAGE_SUFFIXES:
                    self._images.append((scene, path, int(path.stem)))
            if (scene / "scene_gt.json").is_file():
                info = scene / "scene_gt_info.json"
                truth = read_json(scene / "scene_gt.json")
                self._truth[scene] = (truth, read_json(info) if info.is_file() else {})
                numbers |= _object_numbers(truth, scene)
        if not self._images:
            raise InputError(f"{folder} holds no BOP scene; one has rgb/ and scene_camera.json")
        self.classes = tuple(_class_name(number) for number in sorted(numbers))

    def __len__(self) -> int:
        return len(self._images)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self._images[index][1]

    def example(self, index: int) -> Example:
        scene, path, number = self._images[index]
        image = read_image(path)
        objects = self._objects(scene, number, image) if scene in self._truth else None
        return Example(name=path.relative_to(self.folder).as_posix(), image=image, objects=objects)

    def camera(self, index: int) -> np.ndarray:
        """Return K [3, 3] of an image, in pixels from the centre of the top left one.

        Raises:
            InputError: the scene has no such camera.
        """
        scene, _, number = self._images[index]
        cameras = _cameras(scene / _CAMERAS)
        try:
            return np.array(cameras[str(number)]["cam_K"], np.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{scene / _CAMERAS} has no cam_K of image {number}") from error

    def _objects(self, scene: Path, number: int, image: np.ndarray) -> tuple[ExampleObject, ...] | None:
        """Return the visible objects of an image; None: there are neither boxes nor masks."""
        truth, info = self._truth[scene]
        entries = info.get(str(number), []) if isinstance(info, dict) else []
        objects = []
        for place, pose in enumerate(truth.get(str(number), [])):
            record = _pose(pose, f"{scene / 'scene_gt.json'}: object {place} of image {number}")
            mask = _Mask(scene, number, place, (image.shape[0], image.shape[1]))
            entry = entries[place] if place < len(entries) else {}
            where = f"{scene / 'scene_gt_info.json'}: object {place} of image {number}"
            box = _stated_box(entry, where) if entry else mask.box() if mask.exists else None
            if box is None:
                return None
            if box[2] > 0 and box[3] > 0:
                name = _class_name(record.object_number)
                objects.append(ExampleObject(name, box, mask=mask if mask.exists else None, record=record))
        return tuple(objects)


def scenes(folder: Path) -> list[Path]:
    """Return BOP's scenes in and below a folder."""
    if not folder.is_dir():
        return []
    found = (path.parent for path in files_below(folder) if path.name == _CAMERAS)
    return sorted(scene for scene in found if (scene / "rgb").is_dir() or (scene / "gray").is_dir())


class _Mask:
    """The mask of an object's visible pixels, read when called."""

    def __init__(self, scene: Path, number: int, place: int, size: tuple[int, int]) -> None:
        names = (scene / kind / f"{number:06d}_{place:06d}.png" for kind in ("mask_visib", "mask"))
        self._path = next((path for path in names if path.is_file()), None)
        self._size = size

    @property
    def exists(self) -> bool:
        return self._path is not None

    def __call__(self) -> np.ndarray:
        if self._path is None:
            raise InputError("there is no mask")
        mask = read_mask(self._path) > 0
        if mask.shape != self._size:
            (height, width), (rows, columns) = self._size, mask.shape
            raise InputError(f"{self._path} is {columns} x {rows} px; its image is {width} x {height} px")
        return mask

    def box(self) -> tuple[float, float, float, float]:
        mask = self()
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        if not len(rows):
            return 0.0, 0.0, 0.0, 0.0
        left, top = float(columns[0]), float(rows[0])
        return left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top


@lru_cache(maxsize=8)
def _cameras(path: Path) -> Any:
    return read_json(path)


def _object_numbers(truth: Any, scene: Path) -> set[int]:
    if not isinstance(truth, dict):
        raise InputError(f"{scene / 'scene_gt.json'} must hold an object: a list of poses for each image's number")
    numbers = set()
    for image, poses in truth.items():
        for place, pose in enumerate(poses if isinstance(poses, list) else [None]):
            number = pose.get("obj_id") if isinstance(pose, dict) else None
            if not isinstance(number, int):
                raise InputError(f"{scene / 'scene_gt.json'}: object {place} of image {image} has no obj_id")
            numbers.add(number)
    return numbers


def _pose(pose: dict[str, Any], where: str) -> BopPose:
    try:
        return BopPose(
            object_number=int(pose["obj_id"]),
            rotation=np.array(pose["cam_R_m2c"], np.float64).reshape(3, 3),
            translation_m=np.array(pose["cam_t_m2c"], np.float64).reshape(3) / 1000,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} has no pose (obj_id, cam_R_m2c, cam_t_m2c): {error}") from error


def _stated_box(entry: Any, where: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in entry["bbox_visib"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} has no bbox_visib of four numbers") from error
    return x, y, width, height


def _class_name(number: int) -> str:
    return f"obj_{number:06d}"
