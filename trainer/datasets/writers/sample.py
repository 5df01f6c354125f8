"""An image of a dataset with its labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto

import numpy as np

from trainer.datasets.writers.geometry import Camera, Cuboid


class Need(Flag):
    """The labels that a format needs beside images. Nothing else is rendered for it."""

    #: `Sample.instances` and `Sample.camera`.
    BOXES = auto()
    #: `Sample.masks`.
    MASKS = auto()
    #: `Sample.depth`.
    DEPTH = auto()
    #: `Instance.silhouette`: one more render for each object.
    SILHOUETTES = auto()


@dataclass(frozen=True)
class Rectangle:
    """Pixels: from the left, top corner; the origin is the image's left, top corner, y points down."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Instance:
    """An object in an image."""

    node: str
    class_name: str
    #: Its value in the mask of instances.
    number: int
    #: The box around its visible pixels; None: none is visible.
    visible: Rectangle | None = None
    #: The box around all of it, hidden parts included, cut off at the image; None: it lies outside.
    amodal: Rectangle | None = None
    #: Visible pixels.
    visible_px: int = 0
    cuboid: Cuboid | None = None
    #: The mesh that it shows, one of `DatasetCard.models`; its class where it shows something else.
    model: str = ""
    #: bool [height, width]: its pixels, were nothing else in the scene.
    silhouette: np.ndarray | None = None
    #: Metres in the scene per unit of the mesh's file, along the object's x, y and z.
    mesh_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Sample:
    """A labelled image."""

    #: uint8 [height, width, 3], sRGB.
    image: np.ndarray
    #: The class of the whole image: a number from 0, or a name. None where the task has none.
    label: int | str | None = None
    instances: tuple[Instance, ...] = ()
    camera: Camera | None = None
    #: uint8 or uint16 [height, width]. "class": index of the class in `DatasetCard.classes` + 1; "instance": see
    #: `Instance.number`. 0: neither.
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: float32 [height, width] m along the camera's axis; +inf: nothing there.
    depth: np.ndarray | None = None
    #: Further fields of the sample, such as the scene's attributes: values that JSON can hold.
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

    @property
    def seen(self) -> tuple[tuple[Instance, Rectangle], ...]:
        """Return the instances with visible pixels, each with the rectangle around these."""
        return tuple((item, item.visible) for item in self.instances if item.visible is not None)

    def pixels(self, instance: Instance) -> np.ndarray:
        """Return the visible pixels of an instance, bool [height, width]."""
        return self.masks["instance"] == instance.number
