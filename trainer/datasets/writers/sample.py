"""An image of a dataset with its labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from functools import cached_property

import numpy as np
from metasim.camera import CameraView

from trainer.datasets.writers.geometry import Cuboid
from trainer.datasets.writers.picture import Picture


class Need(Flag):
    """The labels that a format needs besides images. No others are rendered."""

    #: `Sample.instances`.
    BOXES = auto()
    #: `Sample.masks`.
    MASKS = auto()
    #: `Sample.depth`.
    DEPTH = auto()
    #: `Sample.normals`.
    NORMALS = auto()
    #: `Instance.silhouette`: one more render for each object.
    SILHOUETTES = auto()
    #: `Sample.camera`, and `Instance.cuboid` and `Instance.mesh_scale` of each instance.
    CAMERA = auto()


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
    #: Its value in the instance mask.
    number: int
    #: The box around its visible pixels; None: none is visible.
    visible: Rectangle | None = None
    #: The box around all of it, hidden parts included, clipped to the image; None: it lies outside.
    amodal: Rectangle | None = None
    #: Visible pixels.
    visible_px: int = 0
    cuboid: Cuboid | None = None
    #: Its mesh, one of `DatasetCard.models`; its class if it shows no mesh.
    model: str = ""
    #: bool [height, width]: its pixels without occlusion by other objects.
    silhouette: np.ndarray | None = None
    #: Metres in the scene per unit of the mesh's file, along the object's x, y and z.
    mesh_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Sample:
    """A labelled image."""

    #: sRGB.
    picture: Picture
    #: The class of the whole image: a number from 0, or a name. None where the task has none.
    label: int | str | None = None
    instances: tuple[Instance, ...] = ()
    camera: CameraView | None = None
    #: "class": index of the class in `DatasetCard.classes` + 1; "instance": see `Instance.number`. 0: neither.
    mask_pictures: Mapping[str, Picture] = field(default_factory=dict)
    #: float32 [height, width] m along the camera's axis; +inf: nothing there.
    depth: np.ndarray | None = None
    #: Further fields of the sample, such as the scene's attributes: values that JSON can hold.
    metadata: Mapping[str, object] = field(default_factory=dict)
    #: float32 [height, width, 3], unit vectors in the world's frame; 0: nothing there.
    normals: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        image: np.ndarray,
        label: int | str | None = None,
        instances: tuple[Instance, ...] = (),
        camera: CameraView | None = None,
        masks: Mapping[str, np.ndarray] | None = None,
        depth: np.ndarray | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> "Sample":
        """Return a sample of pixels.

        Args:
            image: uint8 [height, width, 3], sRGB.
            masks: uint8 or uint16 [height, width] by name; see `mask_pictures`.

        Raises:
            ValueError: an array has another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"Sample.image is {image.dtype} {image.shape}; it must be uint8 (h, w, 3)")
        for name, mask in (masks or {}).items():
            if mask.dtype not in (np.uint8, np.uint16) or mask.shape != image.shape[:2]:
                raise ValueError(
                    f"Sample.masks[{name!r}] is {mask.dtype} {mask.shape}; it must be uint8 or uint16 {image.shape[:2]}"
                )
        pictures = {name: Picture.of(mask) for name, mask in (masks or {}).items()}
        return cls(Picture.of(image), label, instances, camera, pictures, depth, metadata or {})

    def with_image(self, image: np.ndarray) -> "Sample":
        """Return the same sample with another image, uint8 [height, width, 3]."""
        return replace(self, picture=Picture.of(image))

    @property
    def image(self) -> np.ndarray:
        """Return uint8 [height, width, 3], sRGB."""
        return self.picture.pixels

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width in px."""
        return self.picture.height, self.picture.width

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Return the masks by name, uint8 or uint16 [height, width]; see `mask_pictures`."""
        return {name: mask.pixels for name, mask in self.mask_pictures.items()}

    @cached_property
    def seen(self) -> tuple[tuple[Instance, Rectangle], ...]:
        """Return the instances with visible pixels, each with the rectangle around these."""
        return tuple((item, item.visible) for item in self.instances if item.visible is not None)

    def pixels(self, instance: Instance) -> np.ndarray:
        """Return the visible pixels of an instance, bool [height, width]."""
        return self.mask_pictures["instance"].pixels == instance.number
