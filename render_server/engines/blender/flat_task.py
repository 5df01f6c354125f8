"""Tasks with flat scenes: the scene and its probes are rendered as tiles of one image."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from metasim.camera import CameraView
from metasim.colour import linear_to_srgb
from metasim.v1 import render_pb2 as pb

from render_server.engines.blender.atlas import Atlas, Tile
from render_server.engines.flat import (
    Change,
    FlatSprite,
    changed_sprites,
    changed_window,
    flat_sprites,
    sample_offsets,
    surface_layers,
)
from render_server.engines.frame import pack, wants_image, wants_labels
from render_server.engines.textures import TextureCache
from render_server.jacobian.column_results import ColumnResults
from render_server.jacobian.probes import Probe
from render_server.jacobian.regions import Window
from render_server.scene.scene_graph import SceneGraph

_CENTRE = [(0.0, 0.0)]

#: [h, w, 3] float32 display values, and, on request, the index of the node + 1 [h, w] uint16.
_Image = tuple[np.ndarray, np.ndarray | None]


def render_flat(
    task: pb.RenderTask,
    graph: SceneGraph,
    view: CameraView,
    probes: Sequence[Probe],
    atlas: Atlas,
    textures: TextureCache,
    assets: Mapping[str, Path],
) -> pb.RenderResult:
    """Render a task; see `Engine.render`. The graph and all sides of the probes must be flat."""
    started = time.perf_counter()
    columns = ColumnResults(task)
    frame = _Frame(task, flat_sprites(graph, view, textures, assets), view, atlas)
    plans = []
    for probe in probes:
        sides = [None if side is None else changed_sprites(side, view, textures, assets) for side in probe.sides]
        plans.append(frame.plan(probe, sides))
    built = time.perf_counter()
    frame.render(plans, columns)
    surface = None if frame.nodes is None else surface_layers(graph, view, frame.sprites, frame.nodes)
    rendered = time.perf_counter()
    result = pack(task, graph, view, frame.image, surface, columns.in_order())
    result.timing.build_s = built - started
    result.timing.render_s = rendered - built
    result.timing.encode_s = time.perf_counter() - rendered
    result.timing.renders = frame.renders
    return result


@dataclass(frozen=True)
class _Plan:
    """A probe's sides (None: the unperturbed scene), rendered in a window and, if audited, also in the frame."""

    probe: Probe
    sides: Sequence[Change | None]
    window: Window
    audited: bool


class _Frame:
    """The unperturbed frame and its probes.

    Attributes:
        image: [height, width, 3] float32 display values, once rendered, if the task wants an image.
        nodes: [height, width] uint16 index of the node + 1, once rendered, if the task wants labels.
        renders: number of renders so far.
    """

    def __init__(self, task: pb.RenderTask, sprites: Mapping[int, FlatSprite], view: CameraView, atlas: Atlas) -> None:
        settings, background = task.settings, task.scene.background
        self.sprites = sprites
        self._view, self._atlas = view, atlas
        self._standard = settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        self._background = np.array((background.red, background.green, background.blue), np.float32)
        self._image_offsets = sample_offsets(settings.samples, settings.filter_width_px)
        self._offsets = sample_offsets(task.probes.samples or settings.samples, settings.filter_width_px)
        self._wants_image, self._wants_labels = wants_image(task.outputs), wants_labels(task.outputs)
        self._base_is_image = self._wants_image and self._offsets == self._image_offsets
        self._full_frame = task.probes.full_frame
        self._audits = [column.audit for column in task.columns]
        self._window = Window(0, 0, settings.width_px, settings.height_px)
        self.image: np.ndarray | None = None
        self.nodes: np.ndarray | None = None
        self.renders = 0

    def plan(self, probe: Probe, sides: Sequence[Change | None]) -> _Plan:
        """Return the renders of a probe, given the differences of its sides from the unperturbed scene."""
        window = self._window
        if not self._full_frame:
            changes = [side for side in sides if side is not None]
            window = changed_window(self.sprites, changes, self._view, self._offsets)
        return _Plan(probe, sides, window, self._audits[probe.column])

    def render(self, plans: Sequence[_Plan], columns: ColumnResults) -> None:
        """Render the outputs of the task; add the probes' differences to the columns."""
        based = self._base_is_image or any(side is None for plan in plans for side in plan.sides)
        tiles = self._tiles(plans, based=based)
        arrays = self._render(tiles, self._offsets, index=based and self._wants_labels and self._offsets == _CENTRE)
        base = np.zeros(0)
        if based:
            base, self.nodes = next(arrays)
        for plan in plans:
            self._add(plan, base, arrays, columns)
        whole = Tile(self.sprites, self._window)
        if self._base_is_image:
            self.image = base
        elif self._wants_image:
            index = self._wants_labels and self._image_offsets == _CENTRE
            self.image, self.nodes = next(self._render([whole], self._image_offsets, index=index))
        if self._wants_labels and self.nodes is None:
            _, self.nodes = next(self._render([whole], _CENTRE, index=True))

    def _tiles(self, plans: Sequence[_Plan], *, based: bool) -> Iterator[Tile]:
        """Yield the tiles in the order in which `render` reads their images."""
        if based:
            yield Tile(self.sprites, self._window)
        for plan in plans:
            for window in (plan.window, self._window) if plan.audited else (plan.window,):
                for change in plan.sides:
                    if change is not None and window.pixels:
                        changed = {**self.sprites, **change}
                        yield Tile({node: each for node, each in changed.items() if each is not None}, window)

    def _add(self, plan: _Plan, base: np.ndarray, arrays: Iterator[_Image], columns: ColumnResults) -> None:
        def difference(window: Window) -> np.ndarray:
            if not window.pixels:
                return np.zeros((0, 0, 3), np.float32)
            begin, end = (base[window.slices] if side is None else next(arrays)[0] for side in plan.sides)
            return end - begin

        rendered = sum(side is not None or not self._base_is_image for side in plan.sides)
        columns.add(
            plan.probe,
            difference(plan.window),
            left_px=plan.window.left,
            top_px=plan.window.top,
            samples=rendered * plan.window.pixels * len(self._offsets),
            frame=difference(self._window) if plan.audited else None,
        )

    def _render(
        self, tiles: Iterable[Tile], offsets: Sequence[tuple[float, float]], *, index: bool
    ) -> Iterator[_Image]:
        for light, nodes in self._atlas.render(tiles, offsets, standard=self._standard, index=index):
            self.renders += 1
            image = light[..., :3] + (1 - light[..., 3:]) * self._background
            if self._standard:
                image = linear_to_srgb(image)
            yield np.clip(image, 0.0, 1.0, out=image), nodes
