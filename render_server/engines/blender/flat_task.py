"""Tasks whose scenes are flat: the scene and all its probes in one render."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from metasim.v1 import render_pb2 as pb

from render_server.column_results import ColumnResults
from render_server.engines.blender.atlas import Atlas
from render_server.engines.display import linear_to_srgb
from render_server.engines.flat import FlatSprite, changed_sprites, flat_sprites, sample_offsets, surface_layers
from render_server.engines.frame import pack, wants_labels
from render_server.engines.textures import TextureCache
from render_server.geometry import CameraView
from render_server.probes import Probe
from render_server.scene_graph import SceneGraph


def render_flat(
    task: pb.RenderTask,
    graph: SceneGraph,
    view: CameraView,
    probes: Sequence[Probe],
    atlas: Atlas,
    textures: TextureCache,
    assets: Mapping[str, Path],
) -> pb.RenderResult:
    """Renders a task; see `Engine.render`. The graph and all sides of the probes must be flat."""
    started = time.perf_counter()
    settings, wire = task.settings, task.scene.background
    width, height = settings.width_px, settings.height_px
    standard = settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
    offsets = sample_offsets(settings.samples, settings.filter_width_px)
    columns = ColumnResults(task)
    base = flat_sprites(graph, view, textures, assets)
    tiles = [base]
    # Where each probe's two scenes stand among the tiles.
    places = []
    for probe in probes:
        place = []
        for side in probe.sides:
            place.append(0 if side is None else len(tiles))
            if side is not None:
                changed = base | changed_sprites(side, view, textures, assets)
                tiles.append({node: sprite for node, sprite in changed.items() if sprite is not None})
        places.append(place)
    built = time.perf_counter()
    wanted = wants_labels(task.outputs)
    centred = offsets == [(0.0, 0.0)]
    light, nodes = atlas.render(tiles, width, height, offsets, standard=standard, index=wanted and centred)
    if wanted and not centred:
        _, nodes = atlas.render(tiles[:1], width, height, [(0.0, 0.0)], standard=standard, index=True)
    surface = None if nodes is None else surface_layers(graph, view, base, nodes[0])
    rendered = time.perf_counter()
    background = np.array((wire.red, wire.green, wire.blue), np.float32)
    images = light[..., :3] + (1 - light[..., 3:]) * background
    if standard:
        images = linear_to_srgb(images)
    np.clip(images, 0.0, 1.0, out=images)
    for probe, (begin, end) in zip(probes, places, strict=True):
        left, top, right, bottom = _changed_window(tiles, (begin, end), view, offsets)
        window = (slice(top, bottom), slice(left, right))
        columns.add(probe, images[end][window] - images[begin][window], left_px=left, top_px=top)
    result = pack(task, graph, view, images[0], surface, columns.in_order())
    result.timing.build_s = built - started
    result.timing.render_s = rendered - built
    result.timing.encode_s = time.perf_counter() - rendered
    result.timing.renders = len(tiles)
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
