# mypy: disable-error-code="attr-defined, misc, union-attr"
"""Surfaces of meshes."""

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.nodes import NodeTree
from render_server.engines.textures import decode
from render_server.errors import AssetMissing, InvalidTask
from render_server.scene_graph import DEFAULT_BASE_COLOR

_DEFAULT_ROUGHNESS = 0.5
_GREY = scene_pb2.Color(red=DEFAULT_BASE_COLOR, green=DEFAULT_BASE_COLOR, blue=DEFAULT_BASE_COLOR)


class Surface:
    """A node's material: a Principled BSDF, or an emission alone where the wire's emission is above 0.

    One tree serves both and changes in place, so that a probe of a colour leaves the mesh as it is.

    Args:
        texture: content hash of its texture; empty: none.
        field: path of the material in the task, for errors.

    Raises:
        AssetMissing: the texture is not among the assets.
        InvalidTask: the texture is no PNG.
    """

    def __init__(self, texture: str, assets: Mapping[str, Path], field: str) -> None:
        self._image = _image(texture, assets, f"{field}.texture") if texture else None
        self.material = bpy.data.materials.new("surface")
        tree = NodeTree(self.material)
        self._colour = tree.add("ShaderNodeRGB").outputs[0]
        colour = self._colour
        if self._image is not None:
            node = tree.add("ShaderNodeTexImage")
            node.image = self._image
            colour = tree.vector("MULTIPLY", node.outputs["Color"], colour)
        self._principled = tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour)
        self._emission = tree.add("ShaderNodeEmission", Color=colour)
        self._choice = tree.add("ShaderNodeMixShader")
        tree.link(self._principled.outputs[0], self._choice.inputs[1])
        tree.link(self._emission.outputs[0], self._choice.inputs[2])
        tree.output(self._choice.outputs[0])

    def update(self, wire: scene_pb2.Material) -> None:
        """Takes over colour, roughness and emission."""
        colour = wire.base_color if wire.HasField("base_color") else _GREY
        self._colour.default_value = (colour.red, colour.green, colour.blue, 1.0)
        roughness = wire.roughness if wire.HasField("roughness") else _DEFAULT_ROUGHNESS
        self._principled.inputs["Roughness"].default_value = roughness
        self._emission.inputs["Strength"].default_value = wire.emission
        self._choice.inputs[0].default_value = float(wire.emission > 0)

    def remove(self) -> None:
        """Takes the material and its image out of Blender."""
        bpy.data.materials.remove(self.material)
        if self._image is not None:
            bpy.data.images.remove(self._image)


def own_surface(mesh: bpy.types.Mesh) -> bpy.types.Material:
    """The surface of a file without materials: its vertex colours, else grey."""
    material = bpy.data.materials.new("own")
    tree = NodeTree(material)
    colour: tuple[float, ...] | bpy.types.NodeSocket = (_GREY.red, _GREY.green, _GREY.blue, 1.0)
    if mesh.color_attributes:
        node = tree.add("ShaderNodeVertexColor")
        node.layer_name = mesh.color_attributes[0].name
        colour = node.outputs["Color"]
    tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=_DEFAULT_ROUGHNESS).outputs[0])
    return material


def _image(texture: str, assets: Mapping[str, Path], field: str) -> bpy.types.Image:
    if texture not in assets:
        raise AssetMissing([texture])
    try:
        pixels = decode(assets[texture])
    except ValueError as error:
        raise InvalidTask(
            field, f"{texture}, which cannot be decoded ({error})", "it must be the content hash of a PNG"
        ) from error
    height, width, _ = pixels.shape
    image = bpy.data.images.new("texture", width, height, alpha=True)
    image.colorspace_settings.name = "sRGB"
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1]).ravel())
    image.update()
    return image
