"""Models of a BOP dataset: PLY files in millimetres and `models_info.json`.

https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md, section "3D object models".
"""

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.assets.asset_sets import AssetSet, Label
from trainer.assets.ply import has_uvs, read_ply
from trainer.assets.procedural.glb_writer import glb_bytes
from trainer.assets.procedural.shape import Shape
from trainer.assets.symmetries import StatedSymmetries, Symmetry, stated_symmetries, symmetries_of
from trainer.errors import InputError

_MM = 1e-3
#: Models that are kept as they travel; others are read again when they are asked for.
_KEPT = 64
_FILE = re.compile(r"obj_(\d+)\.ply")


class BopModels(AssetSet):
    """The models `obj_*.ply` of a folder in metres, in the order of their ids, as GLB files with their colours inside.

    Labels are the names that `models_info.json` gives them, as metasim's own exports do; else the files' stems.

    Args:
        standing: the origin of each model is moved to the middle of its base, so that it stands on z = 0. Poses then
            are those of the moved models.
    """

    def __init__(self, name: str, folder: Path, *, standing: bool = False) -> None:
        """
        Raises:
            InputError: the folder holds no models or no `models_info.json`, or the two do not fit together.
        """
        super().__init__(name)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder")
        numbered = ((_FILE.fullmatch(path.name), path) for path in folder.iterdir())
        self._files = sorted((int(match[1]), path) for match, path in numbered if match)
        if not self._files:
            raise InputError(f"{folder} holds no models: they are called obj_000001.ply and so on")
        self._info = folder / "models_info.json"
        entries = _entries(self._info)
        missing = [number for number, _ in self._files if str(number) not in entries]
        if missing:
            raise InputError(f"{self._info} says nothing of model {missing[0]}, of which there is a file")
        self._entries = [entries[str(number)] for number, _ in self._files]
        self._bases = [self._base(index) if standing else (0.0, 0.0, 0.0) for index in range(len(self._files))]
        self._read = lru_cache(maxsize=_KEPT)(self._glb)

    def __len__(self) -> int:
        return len(self._files)

    def data(self, index: int) -> bytes:
        return self._read(index)

    def label(self, index: int) -> Label:
        name = self._entries[index].get("name")
        return name if isinstance(name, str) and name else self._files[index][1].stem

    def item_name(self, index: int) -> str | None:
        return self._files[index][1].stem

    def source(self, index: int) -> str:
        return str(self._files[index][1])

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        del index
        return pb.MESH_FORMAT_GLB

    def has_uvs(self, index: int) -> bool:
        return has_uvs(self._files[index][1])

    def check_files(self) -> None:
        for index in range(len(self)):
            self.data(index)

    @property
    def labels(self) -> tuple[int | str, ...]:
        return tuple(sorted({str(self.label(index)) for index in range(len(self))}))

    def symmetries(self, index: int) -> tuple[Symmetry, ...]:
        return symmetries_of(self._entries[index], self._bases[index], self._what(index))

    def stated_symmetries(self, index: int) -> StatedSymmetries | None:
        return stated_symmetries(self._entries[index], self._bases[index], self._what(index))

    def _what(self, index: int) -> str:
        return f"model {self._files[index][0]} in {self._info}"

    def _base(self, index: int) -> tuple[float, float, float]:
        """Return the middle of the base in the file's frame, in mm."""
        entry = self._entries[index]
        try:
            low, size = ([float(entry[f"{of}_{axis}"]) for axis in "xyz"] for of in ("min", "size"))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            number = self._files[index][0]
            raise InputError(
                f"{self._info} lacks min_x ... size_z of model {number}, which says where it stands"
            ) from error
        return low[0] + size[0] / 2, low[1] + size[1] / 2, low[2]

    def _glb(self, index: int) -> bytes:
        path, base = self._files[index][1], np.array(self._bases[index])
        shape, surface, colors = read_ply(path)
        placed = Shape((shape.points - base) * _MM, shape.normals, shape.uvs, shape.triangles)
        return glb_bytes([(placed, surface)], [colors])


def _entries(path: Path) -> dict[str, dict[str, object]]:
    """Return the entries of `models_info.json` by model id."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; folders of BOP models have one") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise InputError(f"{path} must hold an object for each model's id")
    return entries
