"""Labels made on another copy of an image: scaled, or before applying EXIF's orientation."""

from dataclasses import dataclass

import numpy as np

from trainer.datasets.pixels import Photo
from trainer.errors import InputError

Box = tuple[float, float, float, float]

#: Rounding of a resized image's height and width, px.
_ROUNDING_PX = 1.0


@dataclass(frozen=True)
class LabelFrame:
    """The coordinate frame of labels, and its placement in the image.

    Attributes:
        width, height: of the frame of the labels, px.
        scale_x, scale_y: pixels of the image, before it is turned, per pixel of that frame.
        orientation: EXIF's orientation that turns the labels, 5 to 8; 1: they are not turned.
    """

    width: int
    height: int
    scale_x: float = 1.0
    scale_y: float = 1.0
    orientation: int = 1

    @classmethod
    def of(cls, photo: Photo, stated: tuple[int, int] | None, where: str) -> "LabelFrame":
        """Return the frame of labels whose file states the size (width, height) of the image; None: it states none.

        An equal size means the upright image. If EXIF rotates the image by 90°, swapped width and height mean the
        stored image. A size with the same aspect ratio means a resized copy.

        Raises:
            InputError: the size is none of these.
        """
        width, height = photo.width, photo.height
        if stated is None or stated == (width, height):
            return cls(width, height)
        turned = photo.orientation >= 5
        if turned and stated == (height, width):
            return cls(height, width, orientation=photo.orientation)
        if _same_shape(stated, (width, height)):
            return cls(*stated, width / stated[0], height / stated[1])
        if turned and _same_shape(stated, (height, width)):
            return cls(*stated, height / stated[0], width / stated[1], photo.orientation)
        raise InputError(
            f"{where} is {width} x {height} px, and its labels are of an image of {stated[0]} x {stated[1]} px, which "
            "has another shape; use the images that were labelled"
        )

    def box(self, box: Box) -> Box:
        """Return left, top, width, height in the image's pixels."""
        left, top, right, bottom = (
            box[0] * self.scale_x,
            box[1] * self.scale_y,
            (box[0] + box[2]) * self.scale_x,
            (box[1] + box[3]) * self.scale_y,
        )
        width, height = self.width * self.scale_x, self.height * self.scale_y
        (x0, y0), (x1, y1) = (_turned(x, y, width, height, self.orientation) for x, y in ((left, top), (right, bottom)))
        return min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask [self.height, self.width] resampled to the image's pixels by nearest neighbour."""
        width, height = round(self.width * self.scale_x), round(self.height * self.scale_y)
        if mask.shape != (height, width):
            rows = ((np.arange(height) + 0.5) / self.scale_y).astype(int).clip(0, mask.shape[0] - 1)
            columns = ((np.arange(width) + 0.5) / self.scale_x).astype(int).clip(0, mask.shape[1] - 1)
            mask = mask[rows[:, None], columns]
        if self.orientation in (5, 7):
            mask = np.rot90(mask, 2) if self.orientation == 7 else mask
            return np.ascontiguousarray(mask.T)
        turns = {6: -1, 8: 1}.get(self.orientation, 0)
        return np.ascontiguousarray(np.rot90(mask, turns)) if turns else mask


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether one size is a rounded multiple of the other."""
    if min(*one, *other) < 1:
        return False
    return abs(one[0] - one[1] * other[0] / other[1]) <= _ROUNDING_PX or (
        abs(one[1] - one[0] * other[1] / other[0]) <= _ROUNDING_PX
    )


def _turned(x: float, y: float, width: float, height: float, orientation: int) -> tuple[float, float]:
    """Return the position of a point of the stored image [height, width] after applying EXIF's orientation."""
    return {
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }.get(orientation, (x, y))
