"""Asset sets that are folders: a file for each item, sub-folders as labels."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.assets import glb, obj, ply
from trainer.assets.asset_sets import AssetSet, Label
from trainer.assets.blend import blend_as_glb
from trainer.assets.folder_files import files_below
from trainer.assets.image_assets import checked_png
from trainer.assets.limits import check_asset_bytes
from trainer.assets.mesh_frame import placed
from trainer.errors import InputError

_MESHES = (".ply", ".obj", ".glb", ".blend")
#: Files that look like items of a set, and are not read.
_OTHER_MESHES = (".gltf", ".fbx", ".dae", ".stl", ".3ds", ".usd", ".usda", ".usdc", ".usdz", ".off", ".x3d", ".abc")
_HDRIS = (".exr", ".hdr")
#: How files of high dynamic range begin: OpenEXR, and Radiance HDR.
_HDR_SIGNATURES = {".exr": b"\x76\x2f\x31\x01", ".hdr": b"#?"}
_OTHER_IMAGES = (".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".gif", ".exr", ".hdr")
#: Converted files that are kept; others are converted again when they are asked for.
_KEPT = 64


class FolderSet(AssetSet):
    """The PNG images, or the meshes, of a folder, in the order of their paths. Sub-folders are labels.

    Symbolic links to folders are followed; hidden files are skipped.
    """

    def __init__(self, name: str, folder: Path, suffixes: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
        """
        Args:
            suffixes: endings of the files that are items.
            others: endings of files that the user may take for items.

        Raises:
            InputError: the folder does not exist or holds no such file.
        """
        super().__init__(name)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder")
        files = files_below(folder)
        self._files = [path for path in files if path.suffix.lower() in suffixes]
        self._ignored = [path for path in files if path.suffix.lower() in others]
        if not self._files:
            found = f", but {self._ignored[0].name}; convert it" if self._ignored else ""
            raise InputError(f"{folder} holds no file that ends in {' or '.join(suffixes)}{found}")
        self._folder = folder

    def __len__(self) -> int:
        return len(self._files)

    def label(self, index: int) -> Label:
        parts = self._files[index].relative_to(self._folder).parts
        return parts[0] if len(parts) > 1 else None

    def item_name(self, index: int) -> str | None:
        return self._files[index].stem

    def source(self, index: int) -> str:
        return str(self._files[index])

    def check_files(self) -> None:
        for index in range(len(self)):
            self.data(index)

    def remarks(self) -> tuple[str, ...]:
        if not self._ignored:
            return ()
        endings = ", ".join(sorted({path.suffix.lower() for path in self._files}))
        return (_of_files(self._ignored, f"is not read: only files that end in {endings} are items of the set"),)

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        return tuple(sorted({label for index in range(len(self)) if isinstance(label := self.label(index), str)}))


class ImageFolder(FolderSet):
    """The PNG images of a folder."""

    def __init__(self, name: str, folder: Path, max_size: int | None = None) -> None:
        """
        Args:
            max_size: largest width and height in pixels; larger images are scaled down.

        Raises:
            InputError: the folder does not exist or holds no PNG.
        """
        super().__init__(name, folder, (".png",), _OTHER_IMAGES)
        self._max_size = max_size

    def data(self, index: int) -> bytes:
        path = self._files[index]
        data = checked_png(_read(path), str(path), self._max_size)
        check_asset_bytes(data, path)
        return data


class EnvironmentFolder(FolderSet):
    """The environment maps of a folder: equirectangular images of high dynamic range."""

    @property
    def sort(self) -> str:
        return "environment maps"

    def __init__(self, name: str, folder: Path) -> None:
        """
        Raises:
            InputError: the folder does not exist or holds no environment map.
        """
        super().__init__(name, folder, _HDRIS, (".png", *(other for other in _OTHER_IMAGES if other not in _HDRIS)))

    def data(self, index: int) -> bytes:
        path = self._files[index]
        data = _read(path)
        if not data.startswith(_HDR_SIGNATURES[path.suffix.lower()]):
            raise InputError(
                f"{path} is no image of high dynamic range, although its name says so; an environment map is an "
                "equirectangular OpenEXR or Radiance HDR image"
            )
        check_asset_bytes(data, path)
        return data


class MeshFolder(FolderSet):
    """The meshes of a folder. What a file refers to travels inside of it, so that it is a file of its own."""

    def __init__(self, name: str, folder: Path, placement: np.ndarray | None = None) -> None:
        """
        Args:
            placement: [4, 4] that brings meshes into our frame; None: they are in it.

        Raises:
            InputError: the folder does not exist or holds no mesh.
        """
        super().__init__(name, folder, _MESHES, _OTHER_MESHES)
        self._placement = placement
        self._formats: dict[int, pb.MeshFormat.ValueType] = {}
        self._converted = lru_cache(maxsize=_KEPT)(self._convert)

    def data(self, index: int) -> bytes:
        path = self._files[index]
        data = self._converted(index)
        if self._placement is not None:
            data = placed(data, path, self._placement)
        check_asset_bytes(data, path)
        return data

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType":
        if index not in self._formats:
            path = self._files[index]
            self._formats[index] = pb.MESH_FORMAT_GLB
            if path.suffix.lower() == ".obj" and not obj.needs_glb(path, self._folder):
                self._formats[index] = pb.MESH_FORMAT_OBJ
            elif path.suffix.lower() == ".ply" and not (ply.texture_name(path) and ply.has_uvs(path)):
                self._formats[index] = pb.MESH_FORMAT_PLY
        return self._formats[index]

    def has_uvs(self, index: int) -> bool:
        path = self._files[index]
        test: Callable[[Path], bool] | None = {".obj": obj.has_uvs, ".ply": ply.has_uvs, ".glb": glb.has_uvs}.get(
            path.suffix.lower()
        )
        return test is None or test(path)

    def remarks(self) -> tuple[str, ...]:
        missing = {
            path: names
            for path in self._files
            if path.suffix.lower() == ".obj" and (names := obj.missing_files(path, self._folder))
        }
        unused = [
            path
            for path in self._files
            if path.suffix.lower() == ".ply" and ply.texture_name(path) and not ply.has_uvs(path)
        ]
        found = super().remarks()
        if missing:
            names = next(iter(missing.values()))
            found += (_of_files(list(missing), f"refers to {names[0]}, which is not there: it is shown without it"),)
        if unused:
            found += (_of_files(unused, "names a texture, but has no texture coordinates: it is shown without it"),)
        return found

    def _convert(self, index: int) -> bytes:
        path, suffix = self._files[index], self._files[index].suffix.lower()
        if suffix == ".glb":
            data = glb.embed_images(path, self._folder)
            glb.check_glb(data, path)
            return data
        if suffix == ".blend":
            return blend_as_glb(path)
        if self.mesh_format(index) == pb.MESH_FORMAT_GLB:
            return obj.obj_as_glb(path, self._folder) if suffix == ".obj" else ply.textured_ply_as_glb(path)
        if suffix == ".obj":
            obj.read_text(path)  # Refuses what is no text.
        return _read(path)


def _of_files(paths: list[Path], what: str) -> str:
    """Return `FILE (and N others) WHAT`."""
    others = f" (and {len(paths) - 1} other{'s' if len(paths) > 2 else ''})" if len(paths) > 1 else ""
    return f"{paths[0]}{others} {what}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
