"""Material libraries of OBJ files (.mtl): colours, roughness, opacity and textures.

http://paulbourke.net/dataformats/mtl, with the PBR statements Pr and Pm. Values become a surface as in Blender's
importer: a texture replaces Kd, and Ns becomes roughness. Opacity is d, else 1 - Tr, times the texture map_d.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from trainer.assets.image_assets import decoded, mime_type, png_bytes
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
    #: Opacity as `d` and `Tr` state it; None: not stated. Exporters disagree about Tr, so `d` counts if both are there.
    dissolve: float | None = None
    transparency: float | None = None
    #: The name of its texture as the file states it, and the file; None: it has none, or there is no such file.
    texture_name: str | None = None
    texture: Path | None = None
    #: The same of its texture of opacity.
    opacity_name: str | None = None
    opacity_texture: Path | None = None

    @property
    def opacity(self) -> float:
        """Return the opacity of the whole material, 0 to 1."""
        stated = 1 - (self.transparency or 0.0) if self.dissolve is None else self.dissolve
        return min(max(stated, 0.0), 1.0)

    @property
    def missing(self) -> list[str]:
        """Return the names of textures that are not there."""
        named = ((self.texture_name, self.texture), (self.opacity_name, self.opacity_texture))
        return [name for name, path in named if name and path is None]

    def surface(self, owner: Path) -> Surface:
        """Return the material with its texture.

        Args:
            owner: the OBJ file, for errors.

        Raises:
            InputError: the texture cannot be read.
        """
        look = Surface(
            color=self.color if self.texture is None else (1.0, 1.0, 1.0),
            roughness=self.roughness,
            metallic=self.metallic,
            opacity=self.opacity,
            alpha_mode="BLEND" if self.opacity < 1 or self.opacity_texture is not None else "OPAQUE",
        )
        if self.opacity_texture is not None:
            return replace(look, texture=png_bytes(self._blended(owner, self.opacity_texture)))
        if self.texture is None:
            return look
        data, image = _read_image(self.texture, owner)
        transparent = "A" in image.getbands()
        if look.alpha_mode == "BLEND" and transparent:  # The texture's own opacity does not count, as without `d`.
            return replace(look, texture=png_bytes(image.convert("RGB")))
        as_it_is = mime_type(data) is not None and image.mode in ("RGB", "RGBA", "L")
        return replace(look, texture=data if as_it_is else png_bytes(image.convert("RGBA" if transparent else "RGB")))

    def _blended(self, owner: Path, opacity_texture: Path) -> Image.Image:
        """Return the texture with the opacity of `map_d`: its alpha channel if it has one, else its luminance."""
        mask = _read_image(opacity_texture, owner)[1]
        alpha = mask.convert("RGBA").getchannel("A") if mask.has_transparency_data else mask.convert("L")
        if self.texture is None:
            colour = Image.new("RGB", alpha.size, "white")
        else:
            colour = _read_image(self.texture, owner)[1].convert("RGB")
        size = max(colour.size, alpha.size, key=lambda size: size[0] * size[1])
        bilinear = Image.Resampling.BILINEAR
        colour, alpha = colour.resize(size, bilinear), alpha.resize(size, bilinear)
        colour.putalpha(alpha)
        return colour


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
                case "d":
                    material.dissolve = float(rest.removeprefix("-halo"))
                case "tr":
                    material.transparency = float(rest)
                case "map_kd":
                    material.texture_name = _without_options(rest)
                    material.texture = find_beside(path, material.texture_name, root)
                case "map_d":
                    material.opacity_name = _without_options(rest)
                    material.opacity_texture = find_beside(path, material.opacity_name, root)
        except ValueError as error:
            raise InputError(f"{path}:{number}: {line.strip()[:60]!r} has a value that is no number") from error
    return materials


def _read_image(path: Path, owner: Path) -> tuple[bytes, Image.Image]:
    """Return the bytes and the pixels of a texture."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{owner} refers to {path}, which cannot be read: {error.strerror}") from error
    return data, decoded(data, f"{path}, which {owner} refers to,", None)


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
