"""Models in BOP's convention: PLY files in millimetres, z up."""

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
#: Relative tolerance between a rendered model's size and its file, for rounding by engines and single precision.
_SAME_SHAPE = 5e-3
#: Rotation from glTF's y up to the protocol's z up.
_UPRIGHT = np.array(((1.0, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))


@dataclass(frozen=True)
class MeshFile:
    """A mesh as sent to the workers."""

    data: bytes
    format: "pb.MeshFormat.ValueType"
    #: Symmetries stated by the asset set; None: none.
    symmetries: StatedSymmetries | None = None


@dataclass(frozen=True)
class Model:
    """A model in a BOP dataset."""

    #: A binary PLY file in millimetres with vertex colours.
    ply: bytes
    #: Its symmetries in `models_info.json`.
    symmetries: dict[str, object]


#: Returns the file of a model by its name (`Instance.model`); None: the model is in no asset set.
MeshSource = Callable[[str], MeshFile | None]


def bop_model(mesh: MeshFile, name: str, scale: Sequence[float], low_mm: np.ndarray, size_mm: np.ndarray) -> Model:
    """Return a mesh in BOP's convention, at its size in the scenes.

    Args:
        scale: [3] metres in the scene per unit of the file.
        low_mm, size_mm: [3] lower corner and size of the rendered object's box, in the object's frame.

    Raises:
        InputError: the file cannot be read, or its shape differs from the rendered one.
    """
    import trimesh  # The import takes a third of a second, and no other format needs it.

    try:
        data = still_glb(mesh.data) if mesh.format == pb.MESH_FORMAT_GLB else mesh.data
        whole: Any = trimesh.load(io.BytesIO(data), file_type=_TYPES[mesh.format], force="mesh", process=False)
        whole.remove_unreferenced_vertices()
        if mesh.format == pb.MESH_FORMAT_GLB:
            whole.apply_transform(_UPRIGHT)
        whole.vertices = whole.vertices * np.asarray(scale) * 1000
        low, high = whole.bounds
    except Exception as error:  # The reader raises many kinds of exceptions for damaged files.
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
    if mesh.symmetries is not None and np.ptp(scale) <= 1e-6 * max(scale):  # Otherwise the symmetries no longer hold.
        symmetries = mesh.symmetries.scaled(scale[0]).bop_entry()
    return Model(ply, symmetries)


def _millimetres(size: np.ndarray) -> str:
    return " x ".join(f"{value:.1f}" for value in size)
