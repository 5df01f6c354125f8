"""Asset sets that are folders: a file for each item, sub-folders as labels."""

import io
from functools import cached_property
from pathlib import Path

import numpy as np
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.asset_sets import AssetSet, Label
from trainer.assets.blend import blend_as_glb
from trainer.assets.files import files_below
from trainer.assets.glb import embed_images
from trainer.assets.mesh_frame import placed
from trainer.errors import InputError

#: What travels; a .blend file is converted first.
_MESH_FORMATS = {
    ".ply": pb.MESH_FORMAT_PLY,
    ".obj": pb.MESH_FORMAT_OBJ,
    ".glb": pb.MESH_FORMAT_GLB,
    ".blend": pb.MESH_FORMAT_GLB,
}


class FolderSet(AssetSet):
    """The PNG images, or the meshes, of a folder, in the order of their paths. Sub-folders are labels.

    Symbolic links to folders are followed; hidden files are skipped.
    """

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
        self._files = [path for path in files_below(folder) if path.suffix.lower() in suffixes]
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
