"""Material libraries of OBJ files (.mtl): colours, roughness and textures.

http://paulbourke.net/dataformats/mtl, with the PBR statements Pr and Pm. Values become a surface as Blender's importer
does it: a texture replaces Kd, Ns becomes roughness. Transparency is not read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.assets.pictures import decoded, mime_type, png_bytes
from trainer.assets.procedural.glb_writer import Surface
from trainer.errors import InputError

#: Options of texture statements, and how many values follow them at most.
_OPTIONS = {
    "-blendu": 1,
    "-blendv": 1,
    "-boost": 1,
    "-bm": 1,
    "-cc": 1,
    "-clamp": 1,
    "-imfchan": 1,
    "-texres": 1,
    "-type": 1,
    "-mm": 2,
    "-o": 3,
    "-s": 3,
    "-t": 3,
}
_NUMERIC = ("-o", "-s", "-t", "-mm")


@dataclass
class Material:
    """One material of a library."""

    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    roughness: float = 0.5
    metallic: float = 0.0
    #: The name of its texture as the file states it, and the file; None: it has none, or there is no such file.
    texture_name: str | None = None
    texture: Path | None = None

    def surface(self, owner: Path) -> Surface:
        """Return the material with its texture.

        Args:
            owner: the OBJ file, for errors.

        Raises:
            InputError: the texture cannot be read.
        """
        if self.texture is None:
            return Surface(color=self.color, roughness=self.roughness, metallic=self.metallic)
        try:
            data = self.texture.read_bytes()
        except OSError as error:
            raise InputError(f"{owner} refers to {self.texture}, which cannot be read: {error.strerror}") from error
        image = decoded(data, f"{self.texture}, which {owner} refers to,", None)
        as_it_is = mime_type(data) is not None and image.mode in ("RGB", "RGBA", "L")
        texture = data if as_it_is else png_bytes(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
        return Surface(texture=texture, roughness=self.roughness, metallic=self.metallic)


def read_materials(path: Path, root: Path) -> dict[str, Material]:
    """Return the materials of a library by name.

    Args:
        root: textures outside of this folder count as missing.

    Raises:
        InputError: the file cannot be read, or a value is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    materials: dict[str, Material] = {}
    material = Material()
    for number, line in enumerate(text.splitlines(), 1):
        key, _, rest = line.strip().partition(" ") if "\t" not in line.strip() else _split_at_tab(line.strip())
        rest = rest.strip()
        try:
            match key.lower():
                case "newmtl":
                    material = materials.setdefault(rest, Material())
                case "kd" if rest.split()[:1] != ["spectral"]:
                    red, green, blue = ([float(value) for value in rest.split()] * 3)[:3]
                    material.color = (red, green, blue)
                case "ns":
                    material.roughness = 1 - math.sqrt(min(max(float(rest), 0.0), 1000.0) / 1000)
                case "pr":
                    material.roughness = min(max(float(rest), 0.0), 1.0)
                case "pm":
                    material.metallic = min(max(float(rest), 0.0), 1.0)
                case "map_kd":
                    material.texture_name = _without_options(rest)
                    material.texture = find_beside(path, material.texture_name, root)
        except ValueError as error:
            raise InputError(f"{path}:{number}: {line.strip()[:60]!r} has a value that is no number") from error
    return materials


def find_beside(path: Path, name: str, root: Path) -> Path | None:
    """Return the file that another one refers to; None if there is none below `root`.

    Absolute paths and folders of another machine are common, so a file of the same name beside it serves as well.
    """
    name = name.strip().strip('"').replace("\\", "/")
    for candidate in _candidates(path.parent, name):
        if candidate.is_file() and candidate.resolve().is_relative_to(root.resolve()):
            return candidate
    return None


def _candidates(folder: Path, name: str) -> Iterator[Path]:
    yield folder / name
    base = name.rsplit("/", 1)[-1]
    yield folder / base
    if folder.is_dir():
        yield from (other for other in sorted(folder.iterdir()) if other.name.lower() == base.lower())


def _split_at_tab(line: str) -> tuple[str, str, str]:
    parts = line.split(maxsplit=1)
    return parts[0], " ", parts[1] if len(parts) > 1 else ""


def _without_options(text: str) -> str:
    """Return the file name of a texture statement. It may hold spaces."""
    while (option := text.split(maxsplit=1)[:1]) and option[0].lower() in _OPTIONS:
        name = option[0].lower()
        text = text.split(maxsplit=1)[1] if len(text.split(maxsplit=1)) > 1 else ""
        for taken in range(_OPTIONS[name]):
            first, _, rest = text.partition(" ")
            if taken and name in _NUMERIC and not _is_number(first):
                break
            text = rest.strip()
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
