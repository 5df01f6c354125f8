"""A folder of images beside a folder of class masks."""

from pathlib import Path

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_json, read_text
from trainer.datasets.example import Example
from trainer.datasets.pixels import read_photo
from trainer.datasets.readers.image_folder import image_names, mask_of
from trainer.errors import InputError

#: Name of the single class of masks without a list of classes.
FOREGROUND = "foreground"
#: The value of unlabelled pixels, as in Pascal VOC.
_VOID = 255


class MaskDataset(ImageDataset):
    """`images/` and `masks/` with files of the same names; suffixes may differ.

    A mask's values are class numbers from 1, in the order of `classes.txt` (a name per line) or `classes.json` (a
    list); 0 and 255 mean no class. Without such a file there is one class, `foreground`: every value but 0.
    """

    kind = "masks"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or an image has no mask.
        """
        super().__init__(folder)
        self._names = image_names(folder / "images")
        if not self._names:
            raise InputError(f"{folder / 'images'} holds no image; the layout is images/ and masks/")
        self._masks = {name.rpartition(".")[0]: name for name in image_names(folder / "masks")}
        missing = [name for name in self._names if name.rpartition(".")[0] not in self._masks]
        if missing:
            raise InputError(f"{folder / 'masks'} has no mask of {missing[0]}")
        listed = _listed_classes(folder)
        self._binary = listed is None
        self.classes = listed or (FOREGROUND,)

    def __len__(self) -> int:
        return len(self._names)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self.folder / "images" / self._names[index]

    def example(self, index: int) -> Example:
        name = self._names[index]
        photo = read_photo(self.folder / "images" / name)
        path = self.folder / "masks" / self._masks[name.rpartition(".")[0]]

        def mask() -> np.ndarray:
            values = mask_of(photo, path)
            if self._binary:
                return (values > 0).astype(np.uint8)
            values = np.where(values == _VOID, 0, values)
            if values.max() > len(self.classes):
                raise InputError(
                    f"{path} has the value {values.max()}; {self.folder} lists {len(self.classes)} classes"
                )
            return values

        return Example(name=f"images/{name}", image=photo.pixels, class_mask=mask)


def is_mask_dataset(folder: Path) -> bool:
    """Return whether a folder has the layout."""
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _listed_classes(folder: Path) -> tuple[str, ...] | None:
    if (folder / "classes.json").is_file():
        return tuple(str(name) for name in read_json(folder / "classes.json"))
    if (folder / "classes.txt").is_file():
        return tuple(line.strip() for line in read_text(folder / "classes.txt").splitlines() if line.strip())
    return None
