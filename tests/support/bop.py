"""Folders of BOP models for tests: little boxes and plates."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

#: x of the halves of a plate of 100 x 60 mm in the xz plane that faces -y, from z = 10 on. They share no vertices.
_HALVES = ((20.0, 70.0), (70.0, 120.0))


def plate(colors: tuple[tuple[int, int, int], ...] = (), *, texture: str = "", binary: bool = False) -> bytes:
    """A PLY file of the plate, grey, with a colour (sRGB) for its left and right half, or with a texture."""
    columns = ["x", "y", "z"]
    rows: list[list[float]] = []
    for half, (left, right) in enumerate(_HALVES):
        for x, z in ((left, 10.0), (right, 10.0), (right, 70.0), (left, 70.0)):
            row = [x, 0.0, z]
            if texture:
                row += [(x - 20) / 100, (z - 10) / 60]
            rows.append([*row, *colors[half]] if colors else row)
    columns += ["texture_u", "texture_v"] * bool(texture)
    properties = [f"property float {name}" for name in columns]
    properties += [f"property uchar {name}" for name in ("red", "green", "blue")] * bool(colors)
    kind = "binary_little_endian" if binary else "ascii"
    head = ["ply", f"format {kind} 1.0", *([f"comment TextureFile {texture}"] if texture else [])]
    head += [f"element vertex {len(rows)}", *properties, "element face 2", "property list uchar int vertex_indices"]
    text = "\n".join([*head, "end_header", ""]).encode()
    if not binary:
        faces = ["4 0 1 2 3", "4 4 5 6 7"]
        return text + "\n".join([*(" ".join(f"{value:g}" for value in row) for row in rows), *faces, ""]).encode()
    types = np.dtype([(name, "<f4") for name in columns] + [(name, "u1") for name in "rgb"] * bool(colors))
    body = np.array([tuple(row) for row in rows], dtype=types).tobytes()
    faces_type = np.dtype([("count", "u1"), ("corners", "<i4", 4)])
    return text + body + np.array([(4, (0, 1, 2, 3)), (4, (4, 5, 6, 7))], dtype=faces_type).tobytes()


def bop_folder(folder: Path, models: Mapping[int, bytes], info: Mapping[int, dict] | None = None) -> Path:
    """A folder of models by id, with what `models_info.json` says of them besides their size."""
    folder.mkdir(exist_ok=True)
    size = {
        "diameter": 116.6,
        "min_x": 20.0,
        "min_y": 0.0,
        "min_z": 10.0,
        "size_x": 100.0,
        "size_y": 0.0,
        "size_z": 60.0,
    }
    entries = {str(number): {**size, **((info or {}).get(number, {}))} for number in models}
    (folder / "models_info.json").write_text(json.dumps(entries))
    for number, data in models.items():
        (folder / f"obj_{number:06d}.ply").write_bytes(data)
    return folder


def two_colours(path: Path) -> None:
    """A PNG whose left half is red and whose right half is blue."""
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8, 0] = picture[:, 8:, 2] = 255
    Image.fromarray(picture).save(path)
