"""Models as BOP has them: PLY files in millimetres, z up."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from metasim.still_glb import still_glb
from metasim.v1 import scene_pb2 as pb

from trainer.assets.symmetries import StatedSymmetries
from trainer.errors import InputError

_TYPES = {pb.MESH_FORMAT_PLY: "ply", pb.MESH_FORMAT_OBJ: "obj", pb.MESH_FORMAT_GLB: "glb"}
#: How much of its size a rendered model may differ from its file: single precision, and engines' own rounding.
_SAME_SHAPE = 5e-3
#: glTF's y up to z up, as the wire has it.
_UPRIGHT = np.array(((1.0, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))


@dataclass(frozen=True)
class MeshFile:
    """A mesh as the workers receive it."""

    data: bytes
    format: "pb.MeshFormat.ValueType"
    #: As the set states them; None: it states none.
    symmetries: StatedSymmetries | None = None


@dataclass(frozen=True)
class Model:
    """A model as a BOP dataset holds it."""

    #: A binary PLY file in millimetres with colours by vertex.
    ply: bytes
    #: What `models_info.json` states of its symmetries.
    symmetries: dict[str, object]


#: Returns the file of a model by its name (`Instance.model`); None: the model is in no asset set.
MeshSource = Callable[[str], MeshFile | None]


def bop_model(mesh: MeshFile, name: str, scale: Sequence[float], low_mm: np.ndarray, size_mm: np.ndarray) -> Model:
    """Return a mesh as BOP has it, at the size that the scenes show.

    Args:
        scale: [3] metres in the scene per unit of the file.
        low_mm, size_mm: [3] where the box of the rendered object begins and how large it is, in the object's frame.

    Raises:
        InputError: the file cannot be read, or its shape is not the one that is rendered.
    """
    import trimesh  # Takes a third of a second; no other format needs it.

    try:
        data = still_glb(mesh.data) if mesh.format == pb.MESH_FORMAT_GLB else mesh.data
        whole: Any = trimesh.load(io.BytesIO(data), file_type=_TYPES[mesh.format], force="mesh", process=False)
        whole.remove_unreferenced_vertices()
        if mesh.format == pb.MESH_FORMAT_GLB:
            whole.apply_transform(_UPRIGHT)
        whole.vertices = whole.vertices * np.asarray(scale) * 1000
        low, high = whole.bounds
    except Exception as error:  # The reader has errors of many kinds for damaged files.
        raise InputError(f"model {name} cannot be read: {' '.join(str(error).split())}") from error
    if np.abs(np.concatenate((low - low_mm, high - low - size_mm))).max() > _SAME_SHAPE * np.linalg.norm(size_mm):
        raise InputError(
            f"model {name}: the box of its file is {_millimetres(high - low)} mm from {_millimetres(low)}, and "
            f"{_millimetres(size_mm)} mm from {_millimetres(low_mm)} where it is rendered: trimesh and Blender read "
            "the file differently; save it as a plain GLB, or choose coco"
        )
    if whole.visual.kind == "texture":
        whole.visual = whole.visual.to_color()
    ply: bytes = whole.export(file_type="ply", vertex_normal=True)
    symmetries = {}
    if mesh.symmetries is not None and np.ptp(scale) <= 1e-6 * max(scale):  # Else they do not hold any more.
        symmetries = mesh.symmetries.scaled(scale[0]).bop_entry()
    return Model(ply, symmetries)


def _millimetres(size: np.ndarray) -> str:
    return " x ".join(f"{value:.1f}" for value in size)
