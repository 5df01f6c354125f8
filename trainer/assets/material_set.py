"""Asset sets of materials: folders of textures that belong together by their names."""

import io
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.assets.asset_sets import AssetRef, AssetSet, Label
from trainer.assets.folder_files import files_below
from trainer.assets.image_assets import checked_png, decoded, png_bytes
from trainer.assets.limits import check_asset_bytes
from trainer.errors import InputError

#: The names of maps in names of files, as Poly Haven, ambientCG and others write them.
_MAPS = {
    "color": ("albedo", "diffuse", "diff", "color", "colour", "basecolor", "col"),
    "normal": ("normal", "normalgl", "normaldx", "nor", "nrm"),
    "roughness": ("roughness", "rough"),
    "metallic": ("metallic", "metalness", "metal"),
}
_MAP_OF = {word: name for name, words in _MAPS.items() for word in words}
#: Where words meet in camel case.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=BaseColor|Normal|Roughness|Metal)|(?<=[a-z0-9])(?<!Base)(?=Color)")
#: Words after a map's name that say nothing about it.
_ASIDE = re.compile(r"\d+k|jpg|png|gl|dx|\d+")
_SUFFIXES = (".png", ".jpg", ".jpeg")
#: Items that are kept as PNGs; others are read again.
_KEPT = 64


class MaterialFolder(AssetSet):
    """The materials of a folder: `NAME_color.png` with `NAME_normal.png`, `NAME_roughness.png`, `NAME_metallic.png`.

    Sub-folders are labels. A material has a colour; its other maps may be missing. JPEG files are read as well.
    """

    @property
    def sort(self) -> str:
        return "materials"

    def __init__(self, name: str, folder: Path, max_size: int | None = None) -> None:
        """
        Args:
            max_size: largest width and height in pixels; larger images are scaled down.

        Raises:
            InputError: the folder does not exist or holds no material.
        """
        super().__init__(name)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder")
        groups: dict[tuple[Path, str], dict[str, Path]] = {}
        self._others: list[Path] = []
        for path in files_below(folder):
            if path.suffix.lower() not in _SUFFIXES:
                continue
            parsed = _parse(path.stem)
            if parsed is None:
                self._others.append(path)
            else:
                groups.setdefault((path.parent, parsed[0]), {}).setdefault(parsed[1], path)
        self._materials = [(key[1] or key[0].name, maps) for key, maps in groups.items() if "color" in maps]
        self._others += [path for maps in groups.values() if "color" not in maps for path in maps.values()]
        if not self._materials:
            raise InputError(
                f"{folder} holds no material: a colour is a PNG or JPEG file whose name ends in "
                f"{', '.join('_' + word for word in _MAPS['color'])}"
            )
        self._folder, self._max_size = folder, max_size
        self._read = lru_cache(maxsize=_KEPT)(self._png)
        #: Sets of the other maps, by their names.
        self.map_sets = {f"{name} ({which})": _MapSet(f"{name} ({which})", self, which) for which in _MAPS}
        del self.map_sets[f"{name} (color)"]

    def __len__(self) -> int:
        return len(self._materials)

    def data(self, index: int) -> bytes:
        return self._read(index, "color")

    def map_data(self, index: int, which: str) -> bytes:
        """Return a map of a material as a PNG."""
        return self._read(index, which)

    def label(self, index: int) -> Label:
        parts = self._materials[index][1]["color"].relative_to(self._folder).parts
        return parts[0] if len(parts) > 1 else None

    def item_name(self, index: int) -> str | None:
        return self._materials[index][0]

    def maps(self, index: int) -> Mapping[str, AssetRef]:
        maps = self._materials[index][1]
        return {which: AssetRef(f"{self.name} ({which})", index) for which in maps if which != "color"}

    def source(self, index: int) -> str:
        return str(self._materials[index][1]["color"])

    def check_files(self) -> None:
        for index, (_, maps) in enumerate(self._materials):
            for which in maps:
                self.map_data(index, which)

    def remarks(self) -> tuple[str, ...]:
        if not self._others:
            return ()
        more = f" (and {len(self._others) - 1} others)" if len(self._others) > 1 else ""
        return (f"{self._others[0]}{more} is not read: it is no map of a material with a colour",)

    @property
    def labels(self) -> tuple[int | str, ...]:
        return tuple(sorted({label for index in range(len(self)) if isinstance(label := self.label(index), str)}))

    def _png(self, index: int, which: str) -> bytes:
        path = self._materials[index][1][which]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if path.suffix.lower() == ".png":
            data = checked_png(data, str(path), self._max_size)
        else:
            image = decoded(data, str(path)).convert("RGB")
            if self._max_size is not None and max(image.size) > self._max_size:
                image.thumbnail((self._max_size, self._max_size), Image.Resampling.LANCZOS)
            data = png_bytes(image)
        if which == "normal" and re.search(r"(^|[-_. ])(normal)?dx([-_. ]|$)", path.stem, re.IGNORECASE):
            data = _flipped(data)
        check_asset_bytes(data, path)
        return data


class _MapSet(AssetSet):
    """One map of each material of a set."""

    def __init__(self, name: str, materials: MaterialFolder, which: str) -> None:
        super().__init__(name)
        self._materials, self._which = materials, which

    def __len__(self) -> int:
        return len(self._materials)

    def data(self, index: int) -> bytes:
        return self._materials.map_data(index, self._which)

    def label(self, index: int) -> Label:
        return self._materials.label(index)

    @property
    def labels(self) -> tuple[int | str, ...]:
        return self._materials.labels


def _parse(stem: str) -> tuple[str, str] | None:
    """Return a material's name and a map's, from the name of a file; None: it names no map."""
    words = re.split(r"([-_. ]+)", _CAMEL.sub("_", stem))
    for at in range(len(words) - 1, -1, -2):
        word = words[at].lower()
        if word in _MAP_OF:
            return "".join(words[: max(at - 1, 0)]), _MAP_OF[word]
        if not _ASIDE.fullmatch(word):
            return None
    return None


def _flipped(data: bytes) -> bytes:
    """Return DirectX's normal map as OpenGL's: y points the other way."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).copy()
    pixels[..., 1] = 255 - pixels[..., 1]
    return png_bytes(Image.fromarray(pixels))
