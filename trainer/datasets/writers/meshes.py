"""Models as BOP has them: PLY files in millimetres, z up."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.errors import InputError

_TYPES = {pb.MESH_FORMAT_PLY: "ply", pb.MESH_FORMAT_OBJ: "obj", pb.MESH_FORMAT_GLB: "glb"}
#: glTF's y up to z up, as the wire has it.
_UPRIGHT = np.array(((1.0, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))


@dataclass(frozen=True)
class MeshFile:
    """A mesh as it travels to the workers."""

    data: bytes
    format: "pb.MeshFormat.ValueType"


#: The file of a model by its name (`Instance.model`); None: it is none of an asset set.
MeshSource = Callable[[str], MeshFile | None]


def model_ply(mesh: MeshFile, name: str, low_mm: np.ndarray, size_mm: np.ndarray) -> bytes:
    """A binary PLY file of a mesh with its colours by vertex.

    Args:
        low_mm, size_mm: [3] where its box begins and how large it is, as the scenes show it.

    Raises:
        InputError: the file cannot be read.
    """
    import trimesh  # Takes a third of a second; no other format needs it.

    try:
        whole: Any = trimesh.load(io.BytesIO(mesh.data), file_type=_TYPES[mesh.format], force="mesh", process=False)
    except Exception as error:  # The reader has errors of many kinds for damaged files.
        raise InputError(f"model {name} cannot be read: {' '.join(str(error).split())}") from error
    if mesh.format == pb.MESH_FORMAT_GLB:
        whole.apply_transform(_UPRIGHT)
    low, high = whole.bounds
    factors = np.divide(size_mm, high - low, out=np.ones(3), where=high > low)
    whole.vertices = (whole.vertices - low) * factors + low_mm
    if whole.visual.kind == "texture":
        whole.visual = whole.visual.to_color()
    data: bytes = whole.export(file_type="ply", vertex_normal=True)
    return data
