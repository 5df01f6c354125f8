# mypy: disable-error-code="arg-type, attr-defined, union-attr, return-value"
"""The light around a scene: a background colour, an environment map, or a clear sky with its sun."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import bpy
import mathutils
import numpy as np
from metasim.v1 import scene_pb2

from render_server.engines.blender.nodes import NodeTree
from render_server.engines.blender.session import operator_reason
from render_server.errors import AssetMissing, InvalidTask
from render_server.scene.light_sources import sun_axes
from render_server.scene.scene_graph import SceneGraph
from render_server.scene.sky import SUN_DIAMETER_DEG, sky_map, sun_irradiance, turbidity_of

#: Maximum height and width of environment maps for importance sampling.
_SAMPLED = 1024
_FORMATS = ("OPEN_EXR", "OPEN_EXR_MULTILAYER", "HDR")
_ALLOWED = "it must be the content hash of an OpenEXR or Radiance HDR image"


class EnvironmentMaps:
    """The most recently used environment maps in Blender, by content hash.

    Args:
        max_bytes: limit for all decoded maps together; the last one is kept regardless of its size.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self._max_bytes = max_bytes
        self._images: OrderedDict[str, bpy.types.Image] = OrderedDict()

    def get(self, content_hash: str, assets: Mapping[str, Path], field: str) -> bpy.types.Image:
        """Return the map of that hash. It is valid until `trim`.

        Args:
            field: path of the field that names it, for errors.

        Raises:
            AssetMissing: it is not among the assets.
            InvalidTask: the asset is not a high-dynamic-range image.
        """
        if content_hash not in self._images:
            if content_hash not in assets:
                raise AssetMissing([content_hash])
            self._images[content_hash] = _load(content_hash, assets[content_hash], field)
        self._images.move_to_end(content_hash)
        return self._images[content_hash]

    def trim(self) -> None:
        """Remove the least recently used maps beyond the limit. Called between tasks."""
        while len(self._images) > 1 and sum(map(_cost, self._images.values())) > self._max_bytes:
            _, image = self._images.popitem(last=False)
            bpy.data.images.remove(image)


def _load(content_hash: str, path: Path, field: str) -> bpy.types.Image:
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError as error:
        raise InvalidTask(
            field, f"{content_hash}, which cannot be read ({operator_reason(error)})", _ALLOWED
        ) from error
    if image.file_format not in _FORMATS or not all(image.size):
        bpy.data.images.remove(image)
        raise InvalidTask(field, f"{content_hash}, which is no image of high dynamic range", _ALLOWED)
    image.pack()  # The file may be removed while Blender holds the image.
    image.colorspace_settings.name = "Linear Rec.709"
    return image


def _cost(image: bpy.types.Image) -> int:
    return 16 * image.size[0] * image.size[1]


class Environment:
    """The Blender world of one task.

    Attributes:
        node: index of the node with an environment map or a sky; None: a background colour.
        blocks: its Blender blocks, removed with the scene.
    """

    def __init__(
        self,
        scene: bpy.types.Scene,
        graph: SceneGraph,
        background: scene_pb2.Color,
        maps: EnvironmentMaps,
        assets: Mapping[str, Path],
    ) -> None:
        self.node = next((index for index, node in enumerate(graph.nodes) if surrounds(node)), None)
        wire = scene_pb2.Light() if self.node is None else graph.nodes[self.node].light
        given: bpy.types.Image | None = None
        if wire.HasField("environment"):
            given = maps.get(wire.environment.asset, assets, f"scene.nodes[{self.node}].light.environment.asset")
        world = bpy.data.worlds.new("background")
        self.blocks: list[bpy.types.ID] = [world]
        scene.world = world
        tree = NodeTree(world)
        if self.node is None:
            colour = (background.red, background.green, background.blue, 1.0)
            tree.output(tree.add("ShaderNodeBackground", Color=colour).outputs[0])
            return
        self._turn = tree.add("ShaderNodeMapping", Vector=tree.add("ShaderNodeTexCoord").outputs["Generated"])
        self._turn.vector_type = "POINT"
        self._texture = tree.add("ShaderNodeTexEnvironment", Vector=self._turn.outputs[0])
        self._texture.interpolation = "Linear"
        tinted = tree.add("ShaderNodeVectorMath")
        tinted.operation = "MULTIPLY"
        tree.link(self._texture.outputs["Color"], tinted.inputs[0])
        self._tint = tinted.inputs[1]
        tree.output(tree.add("ShaderNodeBackground", Color=tinted.outputs[0]).outputs[0])
        self._sky: tuple[float, float] | None = None
        if given is not None:
            self._texture.image = given
            height = min(_SAMPLED, given.size[1])
        else:
            self._sun = bpy.data.lights.new("sun", "SUN")
            self._sun.angle = np.radians(SUN_DIAMETER_DEG)
            self._sun_object = bpy.data.objects.new("sun", self._sun)
            scene.collection.objects.link(self._sun_object)
            self.blocks += [self._sun, self._sun_object]
            height = 64
        # Cycles derives an automatic size from the texture; a fixed size is independent of earlier renders.
        world.cycles.sampling_method = "MANUAL"
        world.cycles.sample_map_resolution = 2 * height
        self.update(graph)

    def update(self, graph: SceneGraph) -> None:
        """Set rotation, strength and sky from the graph."""
        if self.node is None:
            return
        wire, world = graph.nodes[self.node].light, graph.world[self.node][:3, :3]
        turn = mathutils.Matrix((world / np.linalg.norm(world[:, 0])).T.tolist())
        self._turn.inputs["Rotation"].default_value = turn.to_euler()
        colour = wire.color
        tint = np.array((colour.red, colour.green, colour.blue)) if wire.HasField("color") else np.ones(3)
        if wire.HasField("environment"):
            self._tint.default_value = (tint * wire.environment.strength).tolist()
            return
        self._tint.default_value = (tint * wire.sky.irradiance_w_m2).tolist()
        elevation, turbidity = wire.sky.sun_elevation_deg, turbidity_of(wire.sky)
        if self._sky != (elevation, turbidity):
            self._sky = elevation, turbidity
            self._texture.image = _sky_image(elevation, turbidity)
            self.blocks.append(self._texture.image)
        light = sun_irradiance(elevation, turbidity) * tint * wire.sky.irradiance_w_m2
        self._sun.energy = float(light.max())
        self._sun.color = (light / max(light.max(), 1e-30)).tolist()
        matrix = np.eye(4)
        matrix[:3, :3] = sun_axes(graph, self.node)
        self._sun_object.matrix_world = mathutils.Matrix(matrix.tolist())


def surrounds(node: scene_pb2.Node) -> bool:
    """Return whether the node holds an environment map or a sky."""
    return node.HasField("light") and node.light.WhichOneof("kind") in ("environment", "sky")


def _sky_image(elevation_deg: float, turbidity: float) -> bpy.types.Image:
    """Return a new image: Cycles does not notice new pixels of an old one."""
    pixels = sky_map(elevation_deg, turbidity)
    height, width, _ = pixels.shape
    image = bpy.data.images.new("sky", width, height, float_buffer=True, is_data=True)
    opaque = np.concatenate((pixels[::-1], np.ones((height, width, 1), np.float32)), axis=2)
    image.pixels.foreach_set(np.ascontiguousarray(opaque).ravel())
    image.update()
    return image
