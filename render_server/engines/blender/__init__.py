"""Renders with Blender's Cycles on the CPU, one thread."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import bpy
import numpy as np
from metasim.v1 import render_pb2 as pb

from render_server.engines.blender.atlas import Atlas
from render_server.engines.blender.content import Sources
from render_server.engines.blender.mesh import MeshLibrary
from render_server.engines.blender.spatial import SpatialScene
from render_server.engines.blender.sprite import SpriteMaterials
from render_server.engines.display import linear_to_srgb
from render_server.engines.flat import (
    FlatSprite,
    flat_obstacle,
    flat_sprites,
    perturbed_sprites,
    sample_offsets,
    surface_layers,
)
from render_server.engines.frame import pack, wants_labels
from render_server.engines.textures import TextureCache
from render_server.geometry import CameraView, camera_view
from render_server.probes import Probe, column_result, plan_probes
from render_server.scene_graph import SceneGraph


class BlenderEngine:
    """Owns the process's Blender: what is open in it is lost. One engine per process."""

    name = "blender"
    version = ".".join(str(part) for part in bpy.app.version)
    device = "cpu"

    def __init__(self) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._textures = TextureCache()
        self._meshes = MeshLibrary()
        self._sprite_materials = SpriteMaterials()
        self._atlas = Atlas(self._sprite_materials)

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """See `Engine.render`."""
        graph = SceneGraph(task.scene)
        probes = plan_probes(graph, task.columns)
        graphs = [graph]
        # Where each probe's lower and upper scene stands among the graphs.
        sides = []
        for probe in probes:
            pair = []
            for side in (probe.lower_graph(graph), probe.upper_graph(graph)):
                pair.append(0 if side is None else len(graphs))
                if side is not None:
                    graphs.append(side)
            sides.append((pair[0], pair[1]))
        if all(flat_obstacle(side) is None for side in graphs):
            result = self._render_flat(task, assets, graphs, probes, sides)
        else:
            result = self._render_spatial(task, assets, graphs, probes, sides)
        result.timing.renders = len(graphs)
        return result

    def _render_flat(
        self,
        task: pb.RenderTask,
        assets: Mapping[str, Path],
        graphs: list[SceneGraph],
        probes: list[Probe],
        sides: list[tuple[int, int]],
    ) -> pb.RenderResult:
        started = time.perf_counter()
        settings, wire = task.settings, task.scene.background
        width, height = settings.width_px, settings.height_px
        standard = settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        offsets = sample_offsets(settings)
        view = camera_view(graphs[0], width, height)
        base = flat_sprites(graphs[0], view, self._textures, assets)
        tiles = [base]
        tiles += [perturbed_sprites(side, base, view, self._textures, assets) for side in graphs[1:]]
        built = time.perf_counter()
        wanted = wants_labels(task.outputs)
        centred = offsets == [(0.0, 0.0)]
        light, nodes = self._atlas.render(tiles, width, height, offsets, standard=standard, index=wanted and centred)
        if wanted and not centred:
            _, nodes = self._atlas.render(tiles[:1], width, height, [(0.0, 0.0)], standard=standard, index=True)
        surface = None if nodes is None else surface_layers(graphs[0], view, base, nodes[0])
        rendered = time.perf_counter()
        background = np.array((wire.red, wire.green, wire.blue), np.float32)
        images = light[..., :3] + (1 - light[..., 3:]) * background
        if standard:
            images = linear_to_srgb(images)
        np.clip(images, 0.0, 1.0, out=images)
        columns = []
        for probe, (lower, upper) in zip(probes, sides, strict=True):
            left, top, right, bottom = _changed_window(tiles, (lower, upper), view, offsets)
            window = (slice(top, bottom), slice(left, right))
            difference = images[upper][window] - images[lower][window]
            columns.append(column_result(difference, probe.span, left_px=left, top_px=top))
        result = pack(task, graphs[0], view, images[0], surface, columns)
        _time(result, started, built, rendered)
        return result

    def _render_spatial(
        self,
        task: pb.RenderTask,
        assets: Mapping[str, Path],
        graphs: list[SceneGraph],
        probes: list[Probe],
        sides: list[tuple[int, int]],
    ) -> pb.RenderResult:
        started = time.perf_counter()
        graph = graphs[0]
        standard = task.settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        sources = Sources(assets, self._meshes, self._textures, self._sprite_materials, standard)
        with SpatialScene(task, graph, sources) as scene:
            built = time.perf_counter()
            base = scene.image()
            differences = []
            for pair in sides:
                images = []
                for side in pair:
                    if side == 0:
                        images.append(base)
                        continue
                    try:
                        scene.apply(graphs[side], graphs[side].changed)
                        images.append(scene.image())
                    finally:
                        scene.apply(graph, graphs[side].changed)
                differences.append(images[1] - images[0])
            view = camera_view(graph, task.settings.width_px, task.settings.height_px)
            surface = scene.surface_layers(view) if wants_labels(task.outputs) else None
        self._meshes.trim()
        rendered = time.perf_counter()
        columns = [column_result(difference, probe.span) for difference, probe in zip(differences, probes, strict=True)]
        result = pack(task, graph, view, base, surface, columns)
        _time(result, started, built, rendered)
        return result


def _changed_window(
    tiles: Sequence[Mapping[int, FlatSprite]],
    sides: tuple[int, int],
    view: CameraView,
    offsets: Sequence[tuple[float, float]],
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels that can differ between two tiles.

    Elsewhere they differ by rounding alone, because the tiles lie at different places.
    """
    lower, upper = tiles[sides[0]], tiles[sides[1]]
    corners = [
        corner
        for node in lower.keys() | upper.keys()
        if lower.get(node) is not upper.get(node)
        for sprite in (lower.get(node), upper.get(node))
        if sprite is not None
        for corner in sprite.corners_px
    ]
    if not corners:
        return 0, 0, 0, 0
    xs, ys = [corner[0] for corner in corners], [corner[1] for corner in corners]
    reach = 0.5 + max(max(abs(dx), abs(dy)) for dx, dy in offsets)
    left, top = max(0, math.floor(min(xs) - reach)), max(0, math.floor(min(ys) - reach))
    right, bottom = min(view.width_px, math.ceil(max(xs) + reach)), min(view.height_px, math.ceil(max(ys) + reach))
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, 0, 0)


def _time(result: pb.RenderResult, started: float, built: float, rendered: float) -> None:
    result.timing.build_s = built - started
    result.timing.render_s = rendered - built
    result.timing.encode_s = time.perf_counter() - rendered
