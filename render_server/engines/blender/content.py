# mypy: disable-error-code="arg-type, union-attr"
"""Builders of Blender objects, one for each kind of content in a scene with depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import bpy
import mathutils
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.environment import EnvironmentMaps
from render_server.engines.blender.light import lamp, set_lamp
from render_server.engines.blender.material import show_material
from render_server.engines.blender.mesh import LibraryMesh, MeshLibrary, vertices
from render_server.engines.blender.sprite import SpriteMaterials, fill_faces
from render_server.engines.flat import sprite_outline
from render_server.engines.textures import Texture, TextureCache
from render_server.scene.extent import Extent, extent_of_points, mesh_size
from render_server.scene.geometry import Outline
from render_server.scene.scene_graph import DEFAULT_TINT, SceneGraph

_UNIT_SQUARE = np.array(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))


@dataclass(frozen=True)
class Sources:
    """Sources of the assets of nodes."""

    assets: Mapping[str, Path]
    meshes: MeshLibrary
    textures: TextureCache
    sprite_materials: SpriteMaterials
    environments: EnvironmentMaps
    standard: bool  # Whether colours are linear light (VIEW_TRANSFORM_STANDARD)


class Builder(Protocol):
    """Creates and updates the objects of one kind of content for one task.

    Attributes:
        blocks: its Blender blocks besides the objects, removed together with them.
    """

    blocks: list[bpy.types.ID]

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """Return a new object for the node, not yet linked to a scene."""

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """Set the object's matrix and content from the graph."""

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline | None:
        """Return the outline that the node's amodal box encloses; None if the node draws nothing."""

    def extent(self, graph: SceneGraph, index: int) -> Extent | None:
        """Return the extent of the node's content in the world; None if the node draws nothing."""


class SpriteBuilder:
    """Sprites, each a textured face."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:
        self._textures = {
            node.sprite.asset: sources.textures.get(
                node.sprite.asset, sources.assets, f"scene.nodes[{index}].sprite.asset"
            )
            for index, node in enumerate(graph.nodes)
            if node.HasField("sprite")
        }
        self._materials = sources.sprite_materials.of(self._textures.items(), standard=sources.standard)
        self.blocks: list[bpy.types.ID] = []
        self._shown: dict[int, scene_pb2.Sprite] = {}  # Source of each object's face

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:  # noqa: ARG002
        """See `Builder.create`."""
        mesh = bpy.data.meshes.new("sprite")
        self.blocks.append(mesh)
        return bpy.data.objects.new("sprite", mesh)

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        item.matrix_world = matrix(graph.world[index])
        wire = graph.nodes[index].sprite
        if self._shown.get(index) == wire:
            return
        self._shown[index] = wire
        texture = self._textures[wire.asset]
        points = _face(wire, texture)
        tint = wire.tint if wire.HasField("tint") else _WHITE
        tints = np.array([(tint.red, tint.green, tint.blue)] * 4)
        fill_faces(item.data, points, _UNIT_SQUARE, tints, np.array([4]), self._materials[wire.asset])

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline:  # noqa: ARG002
        """See `Builder.outline`."""
        return sprite_outline(graph, index, self._textures[graph.nodes[index].sprite.asset])

    def extent(self, graph: SceneGraph, index: int) -> Extent:
        """See `Builder.extent`."""
        wire = graph.nodes[index].sprite
        return extent_of_points(_face(wire, self._textures[wire.asset])).placed(graph.world[index])


class MeshBuilder:
    """Meshes of the library."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:
        self.blocks: list[bpy.types.ID] = []  # The library keeps its meshes.
        self._sources = sources
        self._shown: dict[int, scene_pb2.Mesh] = {}
        # Emitting meshes are sampled as lamps only if a surface reflects.
        self._lamps = any(node.HasField("mesh") and not node.mesh.material.emission > 0 for node in graph.nodes)

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """See `Builder.create`."""
        return bpy.data.objects.new("mesh", self._mesh(graph, index).mesh)

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        wire = graph.nodes[index].mesh
        item.matrix_world = matrix(graph.world[index] @ np.diag((*mesh_size(wire), 1.0)))
        if self._shown.get(index) == wire:
            return
        self._shown[index] = wire
        shown = self._mesh(graph, index)
        if item.data is not shown.mesh:
            item.data = shown.mesh
        if shown.glows:
            for material in shown.mesh.materials:
                material.cycles.emission_sampling = "AUTO" if self._lamps else "NONE"
        show_material(item, wire.material)

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline:
        """See `Builder.outline`."""
        mesh, world = item.data, graph.world[index]
        edges = np.empty(len(mesh.edges) * 2, np.int32)
        mesh.edges.foreach_get("vertices", edges)
        scaled = vertices(mesh) * np.array(mesh_size(graph.nodes[index].mesh))
        return Outline(points=scaled @ world[:3, :3].T + world[:3, 3], edges=edges.reshape(-1, 2))

    def extent(self, graph: SceneGraph, index: int) -> Extent:
        """See `Builder.extent`."""
        size = mesh_size(graph.nodes[index].mesh)
        return self._mesh(graph, index).extent.placed(graph.world[index] @ np.diag((*size, 1.0)))

    def _mesh(self, graph: SceneGraph, index: int) -> LibraryMesh:
        return self._sources.meshes.get(graph.nodes[index].mesh, self._sources.assets, f"scene.nodes[{index}].mesh")


class LightBuilder:
    """Lamps."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:  # noqa: ARG002
        self.blocks: list[bpy.types.ID] = []

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """See `Builder.create`."""
        light = lamp(graph.nodes[index].light)
        self.blocks.append(light)
        return bpy.data.objects.new("lamp", light)

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        set_lamp(item.data, graph.nodes[index].light)
        item.matrix_world = matrix(graph.world[index])

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:  # noqa: ARG002
        """See `Builder.outline`."""
        return

    def extent(self, graph: SceneGraph, index: int) -> None:  # noqa: ARG002
        """See `Builder.extent`."""
        return


#: Builder of each kind of `Node.content` that becomes an object; the camera belongs to the scene.
BUILDERS: Mapping[str, type[SpriteBuilder] | type[MeshBuilder] | type[LightBuilder]] = {
    "sprite": SpriteBuilder,
    "mesh": MeshBuilder,
    "light": LightBuilder,
}

_WHITE = scene_pb2.Color(red=DEFAULT_TINT, green=DEFAULT_TINT, blue=DEFAULT_TINT)


def matrix(array: np.ndarray) -> mathutils.Matrix:
    """Return a 4x4 array as Blender's matrix."""
    return mathutils.Matrix(array.tolist())


def _face(wire: scene_pb2.Sprite, texture: Texture) -> np.ndarray:
    """Return the corners [4, 3] of the face that shows a texture and its padding, in the node's frame."""
    width = wire.width_m * (1 + 2 / texture.width)
    height = wire.height_m * (1 + 2 / texture.height)
    return np.concatenate(((_UNIT_SQUARE - 0.5) * (width, height), np.zeros((4, 1))), axis=1)
