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

from trainer.data.blend import blend_as_glb
from trainer.data.glb import embed_images
from trainer.data.idx import idx_shape, read_idx
from trainer.data.placing import placed
from trainer.data.symmetries import Symmetry
from trainer.errors import InputError

Label = int | str | None

#: What travels; a .blend file is converted first.
_MESH_FORMATS = {
    ".ply": pb.MESH_FORMAT_PLY,
    ".obj": pb.MESH_FORMAT_OBJ,
    ".glb": pb.MESH_FORMAT_GLB,
    ".blend": pb.MESH_FORMAT_GLB,
}


@dataclass(frozen=True)
class AssetRef:
    """An item of a named set."""

    set: str
    index: int
    #: The format of a mesh; None for images.
    mesh_format: "pb.MeshFormat.ValueType | None" = None


class AssetSet(ABC):
    """Items 0 .. len - 1, each a file's bytes with, maybe, a label."""

    #: Of the items, or where they come from; None: not stated.
    licence: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._hashes: dict[int, str] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def data(self, index: int) -> bytes:
        """The bytes that travel to a worker: a PNG or a mesh file. Always the same for the same index."""

    @abstractmethod
    def label(self, index: int) -> Label:
        """The item's label; None in a set without labels."""

    def item_name(self, index: int) -> str | None:
        """What the item is called (a file's stem); None where items are only numbered."""
        del index
        return None

    def check_files(self) -> None:  # noqa: B027  # Other sets have nothing to check.
        """Reads the files of all items, where each is a file of its own.

        Raises:
            InputError: one is damaged.
        """

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        """The format of a mesh; None for images."""
        del index
        return None

    def source(self, index: int) -> str:
        """Where the item comes from, for messages."""
        return f"item {index} of asset set {self.name!r}"

    def symmetries(self, index: int) -> tuple[Symmetry, ...]:
        """Turns that leave a model's look as it is, as far as they are known."""
        del index
        return ()

    @property
    @abstractmethod
    def labels(self) -> tuple[int | str, ...]:
        """Every label once, sorted; empty in a set without labels."""

    def png(self, index: int) -> bytes:
        """The image as a PNG.

        Raises:
            InputError: the item is a mesh.
        """
        if self.mesh_format(index) is not None:
            raise InputError(f"asset set {self.name!r} holds meshes; an image is needed")
        return self.data(index)

    def content_hash(self, index: int) -> str:
        """The item's name on the wire. Computed once."""
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
    """The set of an idx file of images and, maybe, one of labels. Reads the headers alone.

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


class FolderSet(AssetSet):
    """The PNG images, or the meshes, of a folder, in the order of their paths. Sub-folders are labels."""

    def __init__(self, name: str, folder: Path, suffixes: tuple[str, ...], placement: np.ndarray | None = None) -> None:
        """
        Args:
            placement: [4, 4] that brings meshes into our frame; None: they are in it.

        Raises:
            InputError: the folder does not exist or holds no such file.
        """
        super().__init__(name)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder")
        found = (path for path in folder.glob("**/*") if path.suffix.lower() in suffixes and path.is_file())
        self._files = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
        if not self._files:
            raise InputError(f"{folder} holds no file that ends in {' or '.join(suffixes)}")
        self._folder, self._placement = folder, placement

    @classmethod
    def of_images(cls, name: str, folder: Path) -> "FolderSet":
        return cls(name, folder, (".png",))

    @classmethod
    def of_meshes(cls, name: str, folder: Path, placement: np.ndarray | None = None) -> "FolderSet":
        return cls(name, folder, tuple(_MESH_FORMATS), placement)

    def __len__(self) -> int:
        return len(self._files)

    def data(self, index: int) -> bytes:
        data = self._file(index)
        return data if self._placement is None else placed(data, self._files[index], self._placement)

    def _file(self, index: int) -> bytes:
        path = self._files[index]
        if path.suffix.lower() == ".glb":
            return embed_images(path, self._folder)
        if path.suffix.lower() == ".blend":
            return blend_as_glb(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if path.suffix.lower() == ".png":
            if not data.startswith(b"\x89PNG\r\n\x1a\n"):
                raise InputError(f"{path} is not a PNG image, although its name says so")
            try:
                with Image.open(io.BytesIO(data)) as image:
                    image.verify()
            except (OSError, SyntaxError, ValueError) as error:  # As Pillow calls what is torn or wrong.
                raise InputError(f"{path} is damaged (no PNG image that can be read); mend or remove it") from error
        return data

    def label(self, index: int) -> Label:
        parts = self._files[index].relative_to(self._folder).parts
        return parts[0] if len(parts) > 1 else None

    def item_name(self, index: int) -> str | None:
        return self._files[index].stem

    def source(self, index: int) -> str:
        return str(self._files[index])

    def check_files(self) -> None:
        for index in range(len(self)):
            self._file(index)

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        return _MESH_FORMATS.get(self._files[index].suffix.lower())

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        return tuple(sorted({label for index in range(len(self)) if isinstance(label := self.label(index), str)}))


class Fold(AssetSet):
    """Every n-th item of another set, from the i-th on: disjoint parts that mix a set's labels alike."""

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

    def source(self, index: int) -> str:
        return self._whole.source(self._indices[index])

    def check_files(self) -> None:
        self._whole.check_files()

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        return self._whole.mesh_format(self._indices[index])

    def symmetries(self, index: int) -> tuple[Symmetry, ...]:
        return self._whole.symmetries(self._indices[index])

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
        """The content hash of an item, which `scene.to_wire` asks for."""
        asset_set = self._sets[asset.set]
        name = asset_set.content_hash(asset.index)
        self._items[name] = (asset_set, asset.index)
        return name

    def sources(self, text: str) -> dict[str, str]:
        """Where the assets come from whose hashes stand in a text, by hash."""
        return {name: items.source(index) for name, (items, index) in self._items.items() if name in text}

    def __contains__(self, content_hash: str) -> bool:
        """Whether the hash was given out."""
        return content_hash in self._items

    def __call__(self, content_hash: str) -> bytes:
        """The bytes of an asset whose hash was given out.

        Raises:
            InputError: it was not.
        """
        try:
            asset_set, index = self._items[content_hash]
        except KeyError:
            raise InputError(f"no scene of this grammar uses an asset with the hash {content_hash}") from None
        return asset_set.data(index)
