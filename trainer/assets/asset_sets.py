"""Asset sets: named, indexed collections of images or meshes, read when an item is first used."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from metasim.hashing import content_hash
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.idx import idx_shape, read_idx
from trainer.assets.symmetries import StatedSymmetries, Symmetry
from trainer.errors import InputError

Label = int | str | None


@dataclass(frozen=True)
class AssetRef:
    """An item of a named set."""

    set: str
    index: int
    #: The format of a mesh; None for images.
    mesh_format: "pb.MeshFormat.ValueType | None" = None


class AssetSet(ABC):
    """Items 0 to len - 1: the bytes of a file each, and its label if the set has labels."""

    #: Of the items, or where they come from; None: not stated.
    licence: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._hashes: dict[int, str] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def data(self, index: int) -> bytes:
        """Return the bytes that a worker gets, a PNG or a mesh file. They are the same in each call."""

    @abstractmethod
    def label(self, index: int) -> Label:
        """Return the item's label; None in a set without labels."""

    def item_name(self, index: int) -> str | None:
        """Return the item's name, a file's stem; None if items are only numbered."""
        del index
        return None

    def check_files(self) -> None:  # noqa: B027  # Other sets have nothing to check.
        """Read the files of all items, where each is a file of its own.

        Raises:
            InputError: one is damaged or larger than workers take.
        """

    def remarks(self) -> tuple[str, ...]:
        """Return what the user should know about the files: parts of them that are not used. One line each."""
        return ()

    def has_uvs(self, index: int) -> bool:
        """Whether a mesh has texture coordinates."""
        del index
        return True

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        """Return the format of a mesh; None for images."""
        del index
        return None

    @property
    def sort(self) -> str:
        """Return what the items are: "images", "meshes", "environment maps" or "materials"."""
        return "images" if self.mesh_format(0) is None else "meshes"

    def maps(self, index: int) -> "Mapping[str, AssetRef]":
        """Return the other maps of a material by name: normal, roughness, metallic."""
        del index
        return {}

    def source(self, index: int) -> str:
        """Return the origin of the item, for messages."""
        return f"item {index} of asset set {self.name!r}"

    def symmetries(self, index: int) -> tuple[Symmetry, ...]:
        """Return the known turns that leave a model's look unchanged."""
        del index
        return ()

    def stated_symmetries(self, index: int) -> StatedSymmetries | None:
        """All symmetries of a model as its files state them; None: they state none."""
        del index
        return None

    @property
    @abstractmethod
    def labels(self) -> tuple[int | str, ...]:
        """Return every label once, sorted; empty in a set without labels."""

    def png(self, index: int) -> bytes:
        """Return the image as a PNG.

        Raises:
            InputError: the item is a mesh.
        """
        if self.sort not in ("images", "materials"):
            raise InputError(f"asset set {self.name!r} holds {self.sort}; an image is needed")
        return self.data(index)

    def content_hash(self, index: int) -> str:
        """Return the item's name on the wire. It is computed once."""
        known = self._hashes.get(index)
        if known is None:
            known = self._hashes[index] = content_hash(self.data(index))
        return known


class DigitSet(AssetSet):
    """Grey images with labels, given as arrays. An image becomes white with its intensity as opacity."""

    def __init__(
        self,
        name: str,
        count: int,
        read_images: Callable[[], np.ndarray],
        read_labels: Callable[[], np.ndarray] | None,
    ) -> None:
        """
        Args:
            count: number of images.
            read_images: returns uint8 [count, height, width]; called at the first use of an image.
            read_labels: returns integers [count]; called at the first use of a label; None: no labels.
        """
        super().__init__(name)
        self._count, self._read_images, self._read_labels = count, read_images, read_labels

    def __len__(self) -> int:
        return self._count

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 [count, height, width]"""
        return self._read_images()

    @cached_property
    def _labels(self) -> list[int] | None:
        return None if self._read_labels is None else [int(label) for label in self._read_labels()]

    def data(self, index: int) -> bytes:
        image = self.images[index]
        pixels = np.full((*image.shape, 4), 255, dtype=np.uint8)
        pixels[..., 3] = image
        file = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=1)
        return file.getvalue()

    def label(self, index: int) -> Label:
        return None if self._labels is None else self._labels[index]

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        return () if self._labels is None else tuple(sorted(set(self._labels)))


def idx_set(name: str, images: Path, labels: Path | None) -> DigitSet:
    """Return the set of an idx file of images and one of labels, if given. Only the headers are read.

    Raises:
        InputError: a file is missing, damaged or of the other kind, or the two have different lengths.
    """
    count, _, _ = idx_shape(images, 3)
    if labels is not None:
        labelled = idx_shape(labels, 1)[0]
        if labelled != count:
            raise InputError(f"{images} holds {count} images and {labels} {labelled} labels; they must be as many")
    if count == 0:
        raise InputError(f"{images} holds no images")
    return DigitSet(name, count, lambda: read_idx(images, 3), None if labels is None else lambda: read_idx(labels, 1))


class Fold(AssetSet):
    """Every n-th item of another set from the i-th on. Folds are disjoint and have similar labels."""

    def __init__(self, whole: AssetSet, i: int, n: int) -> None:
        super().__init__(whole.name)
        self._whole, self._indices = whole, range(i, len(whole), n)

    def __len__(self) -> int:
        return len(self._indices)

    def data(self, index: int) -> bytes:
        return self._whole.data(self._indices[index])

    def label(self, index: int) -> Label:
        return self._whole.label(self._indices[index])

    def item_name(self, index: int) -> str | None:
        return self._whole.item_name(self._indices[index])

    @property
    def sort(self) -> str:
        return self._whole.sort

    def maps(self, index: int) -> Mapping[str, AssetRef]:
        return self._whole.maps(self._indices[index])

    def source(self, index: int) -> str:
        return self._whole.source(self._indices[index])

    def check_files(self) -> None:
        self._whole.check_files()

    def remarks(self) -> tuple[str, ...]:
        return self._whole.remarks()

    def has_uvs(self, index: int) -> bool:
        return self._whole.has_uvs(self._indices[index])

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        return self._whole.mesh_format(self._indices[index])

    def symmetries(self, index: int) -> tuple[Symmetry, ...]:
        return self._whole.symmetries(self._indices[index])

    def stated_symmetries(self, index: int) -> StatedSymmetries | None:
        return self._whole.stated_symmetries(self._indices[index])

    @property
    def labels(self) -> tuple[int | str, ...]:
        return self._whole.labels


class AssetLibrary:
    """The assets of a grammar: names on the wire for references, and bytes for names. Thread-safe.

    An instance is a pool's AssetSource. It knows the hashes that it has given out, so only what scenes used is read.
    """

    def __init__(self, sets: Mapping[str, AssetSet]) -> None:
        self._sets = dict(sets)
        self._items: dict[str, tuple[AssetSet, int]] = {}

    def hash_of(self, asset: AssetRef) -> str:
        """Return the content hash of an item, as `scene.to_wire` needs it."""
        asset_set = self._sets[asset.set]
        name = asset_set.content_hash(asset.index)
        self._items[name] = (asset_set, asset.index)
        return name

    def sources(self, text: str) -> dict[str, str]:
        """Return the origins of the assets whose hashes occur in a text, by hash."""
        return {name: items.source(index) for name, (items, index) in self._items.items() if name in text}

    def __contains__(self, content_hash: str) -> bool:
        """Whether the hash was given out."""
        return content_hash in self._items

    def __call__(self, content_hash: str) -> bytes:
        """Return the bytes of an asset whose hash was given out.

        Raises:
            InputError: it was not.
        """
        try:
            asset_set, index = self._items[content_hash]
        except KeyError:
            raise InputError(f"no scene of this grammar uses an asset with the hash {content_hash}") from None
        return asset_set.data(index)
