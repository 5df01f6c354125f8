"""One image of a dataset with all that is known about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class SampleBox:
    """A 2D box in pixels: from the left, top corner; the origin is the image's left, top corner, y points down."""

    class_name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Sample:
    """A labelled image."""

    #: uint8 [height, width, 3], sRGB.
    image: np.ndarray
    #: The class of the whole image: a number from 0, or a name. None where the task has none.
    label: int | str | None = None
    boxes: tuple[SampleBox, ...] = ()
    #: Masks by name ("class", "instance"): uint8 or uint16 [height, width].
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: Anything else that is worth keeping (a scene's attributes): values that JSON knows, under names of one's own.
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3 or not self.image.size:
            raise ValueError(f"Sample.image is {self.image.dtype} {self.image.shape}; it must be uint8 (h, w, 3)")
        for name, mask in self.masks.items():
            if mask.dtype not in (np.uint8, np.uint16) or mask.shape != self.image.shape[:2]:
                raise ValueError(
                    f"Sample.masks[{name!r}] is {mask.dtype} {mask.shape}; "
                    f"it must be uint8 or uint16 {self.image.shape[:2]}"
                )
