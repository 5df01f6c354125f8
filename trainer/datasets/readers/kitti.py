"""KITTI's object benchmark, in the real directory layout."""

from pathlib import Path

from trainer.datasets.dataset import ImageDataset
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.kitti_labels import KittiCalibration, KittiObject, read_calibration, read_labels
from trainer.datasets.pixels import IMAGE_SUFFIXES, read_image
from trainer.errors import InputError


class KittiDataset(ImageDataset):
    """`image_2/` with optional `label_2/` and `calib/`, in the folder or in its `training/`.

    Objects are the labels, including DontCare regions; their `record` is KITTI's. KITTI counts pixels from the centre
    of the top left one, so boxes here are shifted by half a pixel.
    """

    kind = "kitti"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or one of the labels is missing.
        """
        root = next((root for root in (folder, folder / "training") if (root / "image_2").is_dir()), None)
        if root is None:
            raise InputError(f"{folder} has no image_2/; KITTI's layout is image_2/, label_2/, calib/")
        super().__init__(root)
        images = (path for path in (root / "image_2").iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        self._images = sorted(images, key=lambda path: path.name)
        if not self._images:
            raise InputError(f"{root / 'image_2'} holds no image")
        self._labelled = (root / "label_2").is_dir()
        if self._labelled:
            for image in self._images:
                if not self._labels(image).is_file():
                    raise InputError(f"{self._labels(image)} is missing: {image.name} has no labels")
            names = {item.type for image in self._images for item in read_labels(self._labels(image))}
            self.classes = tuple(sorted(names - {"DontCare"}))

    def __len__(self) -> int:
        return len(self._images)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self._images[index]

    def example(self, index: int) -> Example:
        path = self._images[index]
        objects = None
        if self._labelled:
            objects = tuple(_object(record) for record in read_labels(self._labels(path)))
        return Example(name=f"image_2/{path.name}", image=read_image(path), objects=objects)

    def calibration(self, index: int) -> KittiCalibration:
        """Return the camera of an image.

        Raises:
            InputError: there is no such file, or it is not KITTI's.
        """
        return read_calibration(self.folder / "calib" / f"{self._images[index].stem}.txt")

    def _labels(self, image: Path) -> Path:
        return self.folder / "label_2" / f"{image.stem}.txt"


def _object(record: KittiObject) -> ExampleObject:
    left, top, right, bottom = record.box
    return ExampleObject(record.type, (left + 0.5, top + 0.5, right - left, bottom - top), record=record)
