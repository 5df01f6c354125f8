# mypy: disable-error-code="arg-type, union-attr"
"""Builders: what each kind of content becomes in a scene with depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import bpy
import mathutils
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.light import lamp, set_lamp
from render_server.engines.blender.material import Surface, own_surface
from render_server.engines.blender.mesh import MeshLibrary
from render_server.engines.blender.sprite import SpriteMaterials, fill_faces
from render_server.engines.flat import sprite_outline
from render_server.engines.textures import TextureCache
from render_server.geometry import Outline
from render_server.scene_graph import DEFAULT_TINT, SceneGraph

_UNIT_SQUARE = np.array(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))


@dataclass(frozen=True)
class Sources:
    """Where builders find what nodes refer to."""

    assets: Mapping[str, Path]
    meshes: MeshLibrary
    textures: TextureCache
    sprite_materials: SpriteMaterials
    standard: bool  # Whether colours are linear light (VIEW_TRANSFORM_STANDARD)


class Builder(Protocol):
    """Makes and changes the objects of one kind of content for one task."""

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """A new object for the node, in no scene yet."""

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """Sets the object's matrix and content to what the graph says."""

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline | None:
        """What the node's amodal box goes around; None if it draws nothing."""

    def remove(self) -> None:
        """Takes what the builder made out of Blender; the objects are gone already."""


class SpriteBuilder:
    """Sprites: one textured face each."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:
        self._textures = {
            node.sprite.asset: sources.textures.get(
                node.sprite.asset, sources.assets, f"scene.nodes[{index}].sprite.asset"
            )
            for index, node in enumerate(graph.nodes)
            if node.HasField("sprite")
        }
        self._materials = sources.sprite_materials.of(self._textures.items(), standard=sources.standard)
        self._meshes: list[bpy.types.Mesh] = []
        self._shown: dict[int, scene_pb2.Sprite] = {}  # What each object's face was made from

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:  # noqa: ARG002
        """See `Builder.create`."""
        self._meshes.append(bpy.data.meshes.new("sprite"))
        return bpy.data.objects.new("sprite", self._meshes[-1])

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        item.matrix_world = matrix(graph.world[index])
        wire = graph.nodes[index].sprite
        if self._shown.get(index) == wire:
            return
        self._shown[index] = wire
        texture = self._textures[wire.asset]
        # The face covers the texture's padding too.
        width = wire.width_m * (1 + 2 / texture.width)
        height = wire.height_m * (1 + 2 / texture.height)
        points = np.concatenate(((_UNIT_SQUARE - 0.5) * (width, height), np.zeros((4, 1))), axis=1)
        tint = wire.tint if wire.HasField("tint") else _WHITE
        tints = np.array([(tint.red, tint.green, tint.blue)] * 4)
        fill_faces(item.data, points, _UNIT_SQUARE, tints, np.array([4]), self._materials[wire.asset])

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline:  # noqa: ARG002
        """See `Builder.outline`."""
        return sprite_outline(graph, index, self._textures[graph.nodes[index].sprite.asset])

    def remove(self) -> None:
        """See `Builder.remove`."""
        for mesh in self._meshes:
            bpy.data.meshes.remove(mesh)


class MeshBuilder:
    """Meshes of the library, with surfaces of their own where the node gives one."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:  # noqa: ARG002
        self._sources = sources
        self._surfaces: dict[int, Surface] = {}
        self._own: list[bpy.types.Material] = []

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """See `Builder.create`."""
        mesh = self._sources.meshes.get(graph.nodes[index].mesh, self._sources.assets, f"scene.nodes[{index}].mesh")
        item = bpy.data.objects.new("mesh", mesh)
        wire = graph.nodes[index].mesh
        if wire.HasField("material") or wire.HasField("primitive"):
            made = Surface(wire.material.texture, self._sources.assets, f"scene.nodes[{index}].mesh.material")
            self._surfaces[index] = made
            material = made.material
        elif any(mesh.materials):
            return item
        else:
            material = own_surface(mesh)
            self._own.append(material)
        for slot in item.material_slots:
            slot.link = "OBJECT"
            slot.material = material
        return item

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        wire = graph.nodes[index].mesh
        item.matrix_world = matrix(graph.world[index] @ np.diag((*_size(wire), 1.0)))
        if index in self._surfaces:
            self._surfaces[index].update(wire.material)

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> Outline:
        """See `Builder.outline`."""
        mesh, world = item.data, graph.world[index]
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        edges = np.empty(len(mesh.edges) * 2, np.int32)
        mesh.edges.foreach_get("vertices", edges)
        scaled = points.reshape(-1, 3) * np.array(_size(graph.nodes[index].mesh))
        return Outline(points=scaled @ world[:3, :3].T + world[:3, 3], edges=edges.reshape(-1, 2))

    def remove(self) -> None:
        """See `Builder.remove`."""
        for made in self._surfaces.values():
            made.remove()
        for material in self._own:
            bpy.data.materials.remove(material)


class LightBuilder:
    """Lamps."""

    def __init__(self, sources: Sources, graph: SceneGraph) -> None:  # noqa: ARG002
        self._lamps: list[bpy.types.Light] = []

    def create(self, graph: SceneGraph, index: int) -> bpy.types.Object:
        """See `Builder.create`."""
        self._lamps.append(lamp(graph.nodes[index].light))
        return bpy.data.objects.new("lamp", self._lamps[-1])

    def update(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:
        """See `Builder.update`."""
        set_lamp(item.data, graph.nodes[index].light)
        item.matrix_world = matrix(graph.world[index])

    def outline(self, graph: SceneGraph, index: int, item: bpy.types.Object) -> None:  # noqa: ARG002
        """See `Builder.outline`."""
        return

    def remove(self) -> None:
        """See `Builder.remove`."""
        for light in self._lamps:
            bpy.data.lights.remove(light)


#: Builder of each kind of `Node.content` that becomes an object; the camera belongs to the scene.
BUILDERS: Mapping[str, type[SpriteBuilder] | type[MeshBuilder] | type[LightBuilder]] = {
    "sprite": SpriteBuilder,
    "mesh": MeshBuilder,
    "light": LightBuilder,
}

_WHITE = scene_pb2.Color(red=DEFAULT_TINT, green=DEFAULT_TINT, blue=DEFAULT_TINT)


def matrix(array: np.ndarray) -> mathutils.Matrix:
    """A 4x4 array as Blender's matrix."""
    return mathutils.Matrix(array.tolist())


def _size(wire: scene_pb2.Mesh) -> tuple[float, float, float]:
    return (
        wire.size_x if wire.HasField("size_x") else 1.0,
        wire.size_y if wire.HasField("size_y") else 1.0,
        wire.size_z if wire.HasField("size_z") else 1.0,
    )
