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


def surface(wire: scene_pb2.Material, assets: Mapping[str, Path], field: str) -> bpy.types.Material:
    """A Principled BSDF, or an emission alone where the wire's emission is above 0. The caller removes it.

    Args:
        field: path of the material in the task, for errors.

    Raises:
        AssetMissing: the texture is not among the assets.
        InvalidTask: the texture is no PNG.
    """
    material = bpy.data.materials.new("surface")
    tree = NodeTree(material)
    grey = (DEFAULT_BASE_COLOR,) * 3
    colour: tuple[float, ...] | bpy.types.NodeSocket = (
        (wire.base_color.red, wire.base_color.green, wire.base_color.blue) if wire.HasField("base_color") else grey
    )
    if wire.texture:
        node = tree.add("ShaderNodeTexImage")
        node.image = _image(wire.texture, assets, f"{field}.texture")
        colour = tree.vector("MULTIPLY", node.outputs["Color"], colour)
    else:
        colour = (*colour, 1.0)
    if wire.emission > 0:
        tree.output(tree.add("ShaderNodeEmission", Color=colour, Strength=wire.emission).outputs[0])
    else:
        roughness = wire.roughness if wire.HasField("roughness") else _DEFAULT_ROUGHNESS
        tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=roughness).outputs[0])
    return material


def own_surface(mesh: bpy.types.Mesh) -> bpy.types.Material:
    """The surface of a file without materials: its vertex colours, else grey."""
    material = bpy.data.materials.new("own")
    tree = NodeTree(material)
    colour: tuple[float, ...] | bpy.types.NodeSocket = (DEFAULT_BASE_COLOR,) * 3 + (1.0,)
    if mesh.color_attributes:
        node = tree.add("ShaderNodeVertexColor")
        node.layer_name = mesh.color_attributes[0].name
        colour = node.outputs["Color"]
    tree.output(tree.add("ShaderNodeBsdfPrincipled", Base_Color=colour, Roughness=_DEFAULT_ROUGHNESS).outputs[0])
    return material


def remove_surface(material: bpy.types.Material) -> None:
    """Removes a material that `surface` made, and its image."""
    images = [node.image for node in material.node_tree.nodes if getattr(node, "image", None)]
    bpy.data.materials.remove(material)
    for image in images:
        bpy.data.images.remove(image)


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
