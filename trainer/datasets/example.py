"""An image of a dataset with whatever its files say about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError

#: What counts as an image by its name; Pillow reads them all.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class BopPose:
    """Where an object of a BOP dataset stands, from its model's frame to the camera's (x right, y down, z forward)."""

    object_number: int
    rotation: np.ndarray  # [3, 3]
    translation_m: np.ndarray  # [3]


@dataclass(frozen=True)
class ExampleObject:
    """An object in an image."""

    class_name: str
    #: Left, top, width, height in px; (0, 0) is the top left corner of the top left pixel.
    box: tuple[float, float, float, float]
    #: Makes its mask, bool [height, width]; None: the files have none.
    mask: Callable[[], np.ndarray] | None = None
    #: KITTI's record or BOP's pose, where the files have it.
    record: KittiObject | BopPose | None = None


@dataclass(frozen=True)
class Example:
    """An image and its labels."""

    #: Says which image it is: its path in the dataset, or its number.
    name: str
    #: uint8 [height, width, 3], sRGB.
    image: np.ndarray
    #: The class of the whole image; None: the files say none.
    label: int | str | None = None
    #: None: the files say nothing of objects. Empty: there are none in this image.
    objects: tuple[ExampleObject, ...] | None = None
    #: Makes the class of each pixel, [height, width]: index in `ImageDataset.classes` + 1, 0: none; None: the files
    #: have no such mask.
    class_mask: Callable[[], np.ndarray] | None = field(default=None, repr=False)


def read_image(path: Path) -> np.ndarray:
    """uint8 [height, width, 3], upright where the file says how it was held, opacity ignored.

    Raises:
        InputError: there is no such file, or it is no whole image.
    """
    try:
        with Image.open(path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "no image that can be read" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise InputError(f"{path} is damaged ({reason}); mend or remove it") from error


def read_mask(path: Path) -> np.ndarray:
    """A mask of one channel, [height, width], as the file has it.

    Raises:
        InputError: there is no such file, or it is no whole image.
    """
    try:
        with Image.open(path) as file:
            pixels = np.asarray(file)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such mask") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); mend or remove it") from error
    if pixels.ndim != 2:
        raise InputError(f"{path} has {pixels.shape[2]} channels; a mask has 1")
    return pixels
