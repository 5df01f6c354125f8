"""Transforms foreign models into our frame: z up, the front to +x, in metres.

GLB files get a root node with the transform; OBJ files get new vertices.
"""

import math
from pathlib import Path

import numpy as np
from metasim.glb import pack_glb

from trainer.assets.glb import split_glb
from trainer.errors import InputError

#: Turn about z, in degrees, that brings an axis to +x.
FORWARD = {"x": 0.0, "-x": 180.0, "y": -90.0, "-y": 90.0}
#: From glTF's frame, y up, to ours.
_FROM_GLTF = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def placement(scale: float = 1.0, forward: str = "x", up: str = "z") -> np.ndarray:
    """Return the transform [4, 4] from the model's frame to ours.

    Args:
        scale: metres to a unit of the model.
        forward: which way the model's front points once z is up: x, -x, y or -y.
        up: which axis points upwards in the model: y or z. GLB files are turned already: theirs is always z.
    """
    angle = math.radians(FORWARD[forward])
    turn = np.eye(4)
    turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    upright = _FROM_GLTF if up == "y" else np.eye(4)
    return turn.round(12) @ np.diag([scale, scale, scale, 1.0]) @ upright


def placed(data: bytes, path: Path, matrix: np.ndarray) -> bytes:
    """Return a model's file with its content transformed by `matrix`.

    Raises:
        InputError: the file is neither GLB (or was made GLB of .blend) nor OBJ, or damaged.
    """
    if data.startswith(b"glTF") or path.suffix.lower() == ".glb":
        return _glb(data, path, matrix)
    if path.suffix.lower() == ".obj":
        return _obj(data, path, matrix)
    raise InputError(f"{path}: scale, forward and up are for GLB, OBJ and .blend files; convert it to GLB")


def _glb(data: bytes, path: Path, matrix: np.ndarray) -> bytes:
    document, binary = split_glb(data, path)
    scenes, nodes = document.get("scenes", []), document.setdefault("nodes", [])
    shown = document.get("scene", 0)
    if not 0 <= shown < len(scenes):
        raise InputError(f"{path} has no scene, so there is nothing to show")
    own = np.linalg.inv(_FROM_GLTF) @ matrix @ _FROM_GLTF
    # Section 3.5.3 "Transformations" of the glTF specification: column-major.
    nodes.append({"name": "placed", "matrix": own.T.ravel().tolist(), "children": scenes[shown].get("nodes", [])})
    scenes[shown]["nodes"] = [len(nodes) - 1]
    return pack_glb(document, binary)


def _obj(data: bytes, path: Path, matrix: np.ndarray) -> bytes:
    lines = []
    turn = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        kind, *rest = line.split() or [""]
        if kind in ("v", "vn"):
            try:
                vector = np.array([float(value) for value in rest[:3]])
                moved = matrix[:3, :3] @ vector if kind == "v" else turn @ vector
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {line[:60]!r} is no vector of an OBJ file") from error
            line = " ".join([kind, *(f"{value:.9g}" for value in moved), *rest[3:]])
        lines.append(line)
    return ("\n".join(lines) + "\n").encode()
