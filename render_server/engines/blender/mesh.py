# mypy: disable-error-code="arg-type, attr-defined, return-value, union-attr"
"""Meshes in Blender: primitives and asset files, loaded once per content hash."""

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bmesh
import bpy
import numpy as np
from metasim.glb import split_glb
from metasim.still_glb import still_glb
from metasim.v1 import scene_pb2

from render_server.engines.blender.material import SurfaceKey, own_surface, split_opacity, surface, surface_key
from render_server.engines.blender.primitive import primitive_mesh
from render_server.engines.blender.session import operator_reason, silent_stdout
from render_server.errors import AssetMissing, InvalidTask
from render_server.scene.extent import Extent, extent_of_points

#: Number of asset files kept for later tasks. The built-in streets have fewer, with tens of kilobytes each.
_MAX_KEPT = 256


@dataclass(frozen=True)
class LibraryMesh:
    """A mesh data block and the extent of its vertices, in its own frame.

    Attributes:
        glows: whether its material emits light.
    """

    mesh: bpy.types.Mesh
    extent: Extent
    glows: bool


class MeshLibrary:
    """Mesh data blocks by shape and material. They belong to the library; objects share them.

    The material belongs to the mesh and takes colours from the object. Cycles instances such meshes, so moving an
    object is free. Objects with their own materials would be copied, and each move would rebuild the whole geometry.
    """

    def __init__(self) -> None:
        self._meshes: OrderedDict[tuple[str, SurfaceKey | None], LibraryMesh] = OrderedDict()

    def get(self, mesh: scene_pb2.Mesh, assets: Mapping[str, Path], field: str) -> LibraryMesh:
        """Return the mesh of a node; the node's size and colours are not applied.

        Args:
            field: path of the mesh in the task, for errors.

        Raises:
            AssetMissing: a file is not among the assets.
            InvalidTask: a file cannot be read, is empty or refers to other files.
        """
        own = not mesh.HasField("material") and mesh.HasField("asset")
        material_key = None if own else surface_key(mesh.material)
        shape = f"{mesh.asset.format}:{mesh.asset.hash}" if mesh.HasField("asset") else f"primitive:{mesh.primitive}"
        key = (shape, material_key)
        if key not in self._meshes:
            loaded = _load(mesh.asset, assets, field) if mesh.HasField("asset") else primitive_mesh(mesh.primitive)
            if material_key is not None:
                _cover(loaded, surface(material_key, assets, f"{field}.material"))
            elif not any(loaded.materials):
                _cover(loaded, own_surface(loaded))
            for material in loaded.materials if own else ():
                if material is not None:
                    split_opacity(material)
            self._meshes[key] = LibraryMesh(
                loaded, extent_of_points(vertices(loaded)), material_key is not None and material_key.glows
            )
        self._meshes.move_to_end(key)
        return self._meshes[key]

    def trim(self) -> None:
        """Remove the least recently used meshes. Called between tasks."""
        while len(self._meshes) > _MAX_KEPT:
            _, kept = self._meshes.popitem(last=False)
            materials = [material for material in kept.mesh.materials if material is not None]
            bpy.data.meshes.remove(kept.mesh)
            _remove_unused(materials)


def _cover(mesh: bpy.types.Mesh, material: bpy.types.Material) -> None:
    """Replace all materials of a mesh by one material."""
    replaced = [each for each in mesh.materials if each is not None]
    slots = max(1, len(mesh.materials))
    mesh.materials.clear()
    for _ in range(slots):
        mesh.materials.append(material)
    _remove_unused(replaced)


def vertices(mesh: bpy.types.Mesh) -> np.ndarray:
    """Return the vertices [n, 3] float32, in the mesh's own frame."""
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def _load(asset: scene_pb2.MeshAsset, assets: Mapping[str, Path], field: str) -> bpy.types.Mesh:
    path = assets.get(asset.hash)
    if path is None:
        raise AssetMissing([asset.hash])
    suffix, prepare, import_file = _FORMATS[asset.format]
    try:
        data = prepare(path.read_bytes())
        with tempfile.TemporaryDirectory(prefix="metasim-") as folder:
            file = Path(folder) / f"asset{suffix}"
            file.write_bytes(data)
            mesh = _imported(lambda: import_file(str(file)))
    except (ValueError, RuntimeError) as error:
        reason = operator_reason(error)
        name = scene_pb2.MeshFormat.Name(asset.format)
        raise InvalidTask(
            f"{field}.asset.hash", f"{asset.hash}, which cannot be loaded ({reason})", f"it must hold a mesh in {name}"
        ) from error
    return mesh


def _imported(import_file: Callable[[], object]) -> bpy.types.Mesh:
    """Run an importer and return its meshes joined into one, in the frame of the file."""
    before = {name: set(getattr(bpy.data, name)) for name in _BLOCKS}
    kept: set[bpy.types.ID] = set()
    try:
        with silent_stdout():
            import_file()
        bpy.context.view_layer.update()
        parts = [item for item in bpy.data.objects if item not in before["objects"] and item.type == "MESH"]
        parts.sort(key=lambda item: item.name)
        mesh = _joined(parts)
        materials = [material for material in mesh.materials if material is not None]
        kept = {mesh, *materials, *(image for material in materials for image in _images(material))}
    finally:
        for name in _BLOCKS:
            for block in set(getattr(bpy.data, name)) - before[name] - kept:
                getattr(bpy.data, name).remove(block)
    return mesh


def _joined(parts: list[bpy.types.Object]) -> bpy.types.Mesh:
    if not any(len(part.data.polygons) for part in parts):
        raise ValueError("it holds no faces")
    first = parts[0]
    first.data = first.data.copy()
    for part in parts:
        if part.matrix_world.determinant() < 0:  # Keep the orientation of a mirrored part's faces.
            part.data = part.data.copy()
            part.data.flip_normals()
    if len(parts) > 1:
        with bpy.context.temp_override(active_object=first, object=first, selected_editable_objects=parts):
            bpy.ops.object.join()
    mesh = first.data
    mesh.transform(first.matrix_world)
    _remove_loose(mesh)
    mesh.update()
    return mesh


def _remove_loose(mesh: bpy.types.Mesh) -> None:
    """Remove vertices and edges without faces, which are not rendered, so that boxes do not enclose them."""
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    if len(np.unique(corners)) == len(mesh.vertices):
        return
    edited = bmesh.new()
    edited.from_mesh(mesh)
    bmesh.ops.delete(edited, geom=[vertex for vertex in edited.verts if not vertex.link_faces], context="VERTS")
    edited.to_mesh(mesh)
    edited.free()


def _images(material: bpy.types.Material) -> set[bpy.types.Image]:
    nodes = material.node_tree.nodes if material.node_tree else ()
    return {node.image for node in nodes if getattr(node, "image", None)}


def _remove_unused(materials: list[bpy.types.Material]) -> None:
    images = set()
    for material in materials:
        if material.users == 0:
            images |= _images(material)
            bpy.data.materials.remove(material)
    for image in images:
        if image.users == 0:
            bpy.data.images.remove(image)


def _without_materials(data: bytes) -> bytes:
    """Return an OBJ file without references to material files, since assets cannot name paths."""
    return b"\n".join(line for line in data.splitlines() if not line.lstrip().startswith((b"mtllib", b"usemtl")))


def _still(data: bytes) -> bytes:
    """Return a GLB file in its rest pose.

    Raises:
        ValueError: it is not a GLB file, or refers to another file.
    """
    for image in split_glb(data)[0].get("images", []):
        uri = image.get("uri")
        if uri is not None and not uri.startswith("data:"):
            raise ValueError(f"it refers to the file {uri!r}; embed it: assets cannot name paths")
    return still_glb(data)


#: Suffix, preparation and importer by format. PLY and OBJ keep the file's axes.
_FORMATS: Mapping[int, tuple[str, Callable[[bytes], bytes], Callable[[str], object]]] = {
    scene_pb2.MESH_FORMAT_PLY: (
        ".ply",
        lambda data: data,
        lambda path: bpy.ops.wm.ply_import(filepath=path, forward_axis="Y", up_axis="Z"),
    ),
    scene_pb2.MESH_FORMAT_OBJ: (
        ".obj",
        _without_materials,
        lambda path: bpy.ops.wm.obj_import(filepath=path, forward_axis="Y", up_axis="Z"),
    ),
    scene_pb2.MESH_FORMAT_GLB: (
        ".glb",
        _still,
        lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ),
}

#: Kinds of blocks that importers create, in the order of removal.
_BLOCKS = ("objects", "collections", "meshes", "cameras", "lights", "armatures", "actions", "materials", "images")
