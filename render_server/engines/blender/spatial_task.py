"""Tasks with depth: the scene is built once, and its regions are rendered for the probes."""

import itertools
import time
from collections.abc import Sequence

import numpy as np
from metasim.camera import CameraView
from metasim.v1 import render_pb2 as pb

from render_server.engines.blender.content import Sources
from render_server.engines.blender.spatial import SpatialScene, wants_screen_space
from render_server.engines.frame import pack, wants_labels
from render_server.jacobian.column_results import ColumnResults, image_gradient
from render_server.jacobian.probes import Probe, plan_probes
from render_server.jacobian.regions import ChangedRegions, Window
from render_server.jacobian.screen_space import ScreenSpaceGradient, moves
from render_server.jacobian.steps import half_pixel_steps
from render_server.scene.scene_graph import SceneGraph

#: Samples of the buffers of screen space over those of a region: their noise does not cancel in a difference.
_SCREEN_SPACE = 2
_IMAGES = frozenset({pb.OUTPUT_IMAGE_U8, pb.OUTPUT_IMAGE_F32})


def render_spatial(task: pb.RenderTask, graph: SceneGraph, view: CameraView, sources: Sources) -> pb.RenderResult:
    """Render a task; see `Engine.render`."""
    started = time.perf_counter()
    columns = ColumnResults(task)
    with SpatialScene(task, graph, sources) as scene:
        probes = plan_probes(graph, task, half_pixel_steps(graph, view, scene.extent))
        built = time.perf_counter()
        prober = _Prober(task, graph, view, scene)
        image = prober.image() if _IMAGES.intersection(task.outputs) else None
        prober.add(probes, columns)
        surface = scene.surface_layers() if wants_labels(task.outputs) else None
    rendered = time.perf_counter()
    result = pack(task, graph, view, image, surface, columns.in_order())
    result.timing.build_s = built - started
    result.timing.render_s = rendered - built
    result.timing.encode_s = time.perf_counter() - rendered
    result.timing.renders = prober.renders
    return result


class _Prober:
    """Renders the unperturbed scene and the probes' sides.

    Attributes:
        renders: number of renders so far.
    """

    def __init__(self, task: pb.RenderTask, graph: SceneGraph, view: CameraView, scene: SpatialScene) -> None:
        self._task, self._graph, self._view, self._scene = task, graph, view, scene
        self._image_samples = task.settings.samples
        self._samples = task.probes.samples or task.settings.samples
        background = task.scene.background
        surrounded = any(node.light.WhichOneof("kind") in ("environment", "sky") for node in graph.nodes)
        self._regions = ChangedRegions(
            graph,
            view,
            scene.extent,
            reach_px=max(0.0, (task.settings.filter_width_px - 1) / 2) + (not view.is_pinhole),
            sky=surrounded or max(background.red, background.green, background.blue) > 0,
        )
        self._full_frame = task.probes.full_frame
        self._audits = [column.audit for column in task.columns]
        self._base: np.ndarray | None = None  # The unperturbed frame at the probes' samples
        self.renders = 0

    def image(self) -> np.ndarray:
        """Render the unperturbed frame, [height, width, 3] float32."""
        image = self._render(None, self._regions.frame, self._image_samples)
        if self._samples == self._image_samples:
            self._base = image
        return image

    def add(self, probes: Sequence[Probe], columns: ColumnResults) -> None:
        """Render the probes, or compute their products in screen space, and add them to the columns."""
        frame = self._regions.frame
        probes = self._add_in_screen_space(probes, columns)
        windows = [frame if self._full_frame else self._regions.of(probe) for probe in probes]
        if self._base is None:
            begins = [window.pixels for probe, window in zip(probes, windows, strict=True) if None in probe.sides]
            if sum(begins) > frame.pixels:  # The whole unperturbed frame costs less than its parts.
                self._base = self._render(None, frame, self._samples)
        for probe, window in zip(probes, windows, strict=True):
            difference = self._difference(probe, window)
            rendered = sum(side is not None or self._base is None for side in probe.sides)
            audited = self._audits[probe.column]
            columns.add(
                probe,
                difference,
                left_px=window.left,
                top_px=window.top,
                samples=rendered * window.pixels * self._samples,
                frame=(difference if window == frame else self._difference(probe, frame)) if audited else None,
            )

    def _add_in_screen_space(self, probes: Sequence[Probe], columns: ColumnResults) -> list[Probe]:
        """Add the products computed from one frame's buffers; return the remaining probes to render."""
        gradient = image_gradient(self._task)
        if (
            gradient is None
            or not wants_screen_space(self._task)
            or self._scene.translucent
            or not self._view.is_pinhole
        ):
            return list(probes)
        wanted = [probe for probe in probes if self._moves(probe)]
        if not wanted:
            return list(probes)
        buffers, to_sun = self._scene.buffers(_SCREEN_SPACE * self._samples), self._scene.to_sun()
        self.renders += 2
        found = ScreenSpaceGradient(buffers, self._view, gradient, to_sun, len(self._graph.nodes))
        if to_sun is not None:
            found.add_shadows(self._scene.casters(found.shadow_edges, to_sun))
        products = {probe.column: found.product(probe, self._graph) for probe in wanted}
        # Whole-frame columns cost too much, and screen space is most accurate for the camera's columns.
        largest = sorted(wanted, key=lambda probe: -abs(products[probe.column] * probe.span))
        partial = (probe for probe in largest if self._regions.of(probe) != self._regions.frame)
        exact = {probe.column for probe in itertools.islice(partial, self._task.probes.exact_columns)}
        done = set()
        for probe in wanted:
            if probe.column not in exact:
                frame = self._difference(probe, self._regions.frame) if self._audits[probe.column] else None
                columns.add_product(probe, products[probe.column], frame)
                done.add(probe.column)
        return [probe for probe in probes if probe.column not in done]

    def _moves(self, probe: Probe) -> bool:
        column = self._task.columns[probe.column]
        index = self._graph.index(column.node)
        return index is not None and all(
            moves(self._graph.nodes[each], column.attribute) for each in self._graph.subtree(index)
        )

    def _difference(self, probe: Probe, window: Window) -> np.ndarray:
        if not window.pixels:
            return np.zeros((0, 0, 3), np.float32)
        begin, end = (self._side(side, window) for side in probe.sides)
        return end - begin

    def _side(self, side: SceneGraph | None, window: Window) -> np.ndarray:
        if side is None and self._base is not None:
            return self._base[window.slices]
        return self._render(side, window, self._samples)

    def _render(self, side: SceneGraph | None, window: Window, samples: int) -> np.ndarray:
        self.renders += 1
        if side is None:
            return self._scene.image(window, samples)
        try:
            self._scene.apply(side, side.changed)
            return self._scene.image(window, samples)
        finally:
            self._scene.apply(self._graph, side.changed)
