"""BOP's scenes: images with the poses of objects."""

from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_json
from trainer.datasets.example import BopPose, Example, ExampleObject, read_image, read_mask
from trainer.errors import InputError


class BopDataset(ImageDataset):
    """Every scene below a folder: a folder with `rgb/` (or `gray/`), with `scene_gt.json` and `mask_visib/` where they
    are there. A class is called `obj_000001` after its object's number.
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
        for scene in scenes(folder):
            images = scene / "rgb" if (scene / "rgb").is_dir() else scene / "gray"
            for path in sorted(images.iterdir()):
                if path.stem.isdigit():
                    self._images.append((scene, path, int(path.stem)))
            if (scene / "scene_gt.json").is_file():
                info = scene / "scene_gt_info.json"
                self._truth[scene] = (read_json(scene / "scene_gt.json"), read_json(info) if info.is_file() else {})
        if not self._images:
            raise InputError(f"{folder} holds no BOP scene; one has rgb/ and scene_camera.json")
        numbers = {pose["obj_id"] for truth, _ in self._truth.values() for poses in truth.values() for pose in poses}
        self.classes = tuple(_class_name(number) for number in sorted(numbers))

    def __len__(self) -> int:
        return len(self._images)

    def example(self, index: int) -> Example:
        scene, path, number = self._images[index]
        objects = None
        if scene in self._truth:
            truth, info = self._truth[scene]
            boxes = info.get(str(number), [])
            objects = tuple(
                _object(scene, number, place, pose, boxes[place] if place < len(boxes) else {})
                for place, pose in enumerate(truth.get(str(number), []))
            )
        return Example(name=path.relative_to(self.folder).as_posix(), image=read_image(path), objects=objects)

    def camera(self, index: int) -> np.ndarray:
        """K [3, 3] of an image, in pixels from the centre of the top left one.

        Raises:
            InputError: the scene has no such camera.
        """
        scene, _, number = self._images[index]
        cameras = read_json(scene / "scene_camera.json")
        try:
            return np.array(cameras[str(number)]["cam_K"], np.float64).reshape(3, 3)
        except (KeyError, ValueError) as error:
            raise InputError(f"{scene / 'scene_camera.json'} has no cam_K of image {number}") from error


def scenes(folder: Path) -> list[Path]:
    """BOP's scenes in a folder: itself, its folders, theirs."""
    found = (path.parent for pattern in ("", "*/", "*/*/") for path in folder.glob(f"{pattern}scene_camera.json"))
    return sorted(scene for scene in found if (scene / "rgb").is_dir() or (scene / "gray").is_dir())


def _object(scene: Path, number: int, place: int, pose: dict[str, Any], info: dict[str, Any]) -> ExampleObject:
    try:
        box = tuple(float(value) for value in info.get("bbox_visib", (0, 0, 0, 0)))
        record = BopPose(
            object_number=int(pose["obj_id"]),
            rotation=np.array(pose["cam_R_m2c"], np.float64).reshape(3, 3),
            translation_m=np.array(pose["cam_t_m2c"], np.float64) / 1000,
        )
        x, y, width, height = box
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{scene / 'scene_gt.json'}: object {place} of image {number} has no pose: {error}") from error
    mask = scene / "mask_visib" / f"{number:06d}_{place:06d}.png"
    return ExampleObject(
        _class_name(record.object_number),
        (x, y, width, height),
        mask=(lambda: read_mask(mask) > 0) if mask.is_file() else None,
        record=record,
    )


def _class_name(number: int) -> str:
    return f"obj_{number:06d}"
