"""Renders with Blender's Cycles, on one CPU thread or on a GPU."""

from collections.abc import Mapping
from pathlib import Path

import bpy
from metasim.v1 import render_pb2 as pb

from render_server.engines.blender.atlas import Atlas
from render_server.engines.blender.content import Sources
from render_server.engines.blender.device import select_device
from render_server.engines.blender.environment import EnvironmentMaps
from render_server.engines.blender.flat_task import render_flat
from render_server.engines.blender.mesh import MeshLibrary
from render_server.engines.blender.settling import SettledScenes
from render_server.engines.blender.spatial_task import render_spatial
from render_server.engines.blender.sprite import SpriteMaterials
from render_server.engines.flat import flat_obstacle
from render_server.engines.textures import TextureCache
from render_server.jacobian.probes import plan_probes
from render_server.jacobian.steps import half_pixel_steps
from render_server.scene.extent import content_extent
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph


class BlenderEngine:
    """Owns the process's Blender and discards its open file. One engine per process.

    Args:
        device: kind of device; see `render_server.devices`.

    Raises:
        EngineUnavailable: Blender finds no such device.
    """

    name = "blender"
    version = ".".join(str(part) for part in bpy.app.version)

    def __init__(self, device: str = "cpu") -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.device = device
        self.device_name = select_device(device)
        self._textures = TextureCache()
        self._meshes = MeshLibrary()
        self._sprite_materials = SpriteMaterials()
        self._environments = EnvironmentMaps()
        self._settled = SettledScenes()
        self._atlas = Atlas(self._sprite_materials)

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """See `Engine.render`."""
        standard = task.settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        sources = Sources(assets, self._meshes, self._textures, self._sprite_materials, self._environments, standard)
        try:
            task, poses = self._settled.settle(task, sources)
            result = self._rendered(task, sources)
            result.poses.extend(poses)
            return result
        finally:
            self._meshes.trim()
            self._environments.trim()

    def _rendered(self, task: pb.RenderTask, sources: Sources) -> pb.RenderResult:
        graph = SceneGraph(task.scene)
        view = camera_view(graph, task.settings.width_px, task.settings.height_px)
        if flat_obstacle(graph) is None:
            probes = plan_probes(graph, task, half_pixel_steps(graph, view, content_extent))
            sides = (side for probe in probes for side in probe.sides if side is not None)
            if all(flat_obstacle(side) is None for side in sides):
                return render_flat(task, graph, view, probes, self._atlas, self._textures, sources.assets)
        return render_spatial(task, graph, view, sources)
