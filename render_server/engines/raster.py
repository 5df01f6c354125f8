"""The engine "raster": flat sprite scenes with Pillow and NumPy, without Blender."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from metasim.v1 import render_pb2 as pb

from render_server.engines.flat import (
    Change,
    changed_sprites,
    changed_window,
    flat_obstacle,
    flat_sprites,
    sample_offsets,
    surface_layers,
)
from render_server.engines.frame import pack, wants_image, wants_labels
from render_server.engines.painter import Painter
from render_server.engines.textures import TextureCache
from render_server.jacobian.column_results import ColumnResults
from render_server.jacobian.probes import Probe, plan_probes
from render_server.jacobian.regions import Window, union
from render_server.jacobian.steps import half_pixel_steps
from render_server.scene.extent import content_extent
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

#: Pixels of probes painted together, unless a single probe has more.
_BATCH_PX = 1 << 18


class RasterEngine:
    """Bilinear texels, painter's order, premultiplied blending; every sample lies on a fixed grid."""

    name = "raster"
    version = "2"
    device, device_name = "cpu", ""

    def __init__(self) -> None:
        self._textures = TextureCache()

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """See `Engine.render`."""
        started = time.perf_counter()
        graph = _flat(SceneGraph(task.scene))
        columns = ColumnResults(task)
        frame = _Frame(task, graph, self._textures, assets)
        probes = plan_probes(graph, task, half_pixel_steps(graph, frame.view, content_extent))
        built = time.perf_counter()
        image = frame.image() if wants_image(task.outputs) else None
        frame.add(probes, columns)
        surface = None
        if wants_labels(task.outputs):
            surface = surface_layers(graph, frame.view, frame.sprites, frame.painter.node_mask())
        rendered = time.perf_counter()
        result = pack(task, graph, frame.view, image, surface, columns.in_order())
        timing = result.timing
        timing.build_s = built - started
        timing.render_s = rendered - built
        timing.encode_s = time.perf_counter() - rendered
        timing.renders = frame.renders
        return result


class _Frame:
    """The unperturbed frame; probes change few of its sprites.

    Attributes:
        renders: number of renders so far.
    """

    def __init__(
        self, task: pb.RenderTask, graph: SceneGraph, textures: TextureCache, assets: Mapping[str, Path]
    ) -> None:
        settings = task.settings
        self._textures, self._assets = textures, assets
        self._offsets = sample_offsets(settings.samples, settings.filter_width_px)
        self._probe_offsets = sample_offsets(task.probes.samples or settings.samples, settings.filter_width_px)
        self._full_frame = task.probes.full_frame
        self._audits = [column.audit for column in task.columns]
        self._window = Window(0, 0, settings.width_px, settings.height_px)
        self.view = camera_view(graph, settings.width_px, settings.height_px)
        self.sprites = flat_sprites(graph, self.view, textures, assets)
        self.painter = Painter(self.sprites, settings, task.scene.background)
        self._base: np.ndarray | None = None  # [h, w, 1 or 3]: the unperturbed frame at the probes' samples
        self._base_is_image = False
        self.renders = 0

    def image(self) -> np.ndarray:
        """[h, w, 3] float32, display values."""
        (image,) = self._paint([{}], self._window, self._offsets)
        if self._offsets == self._probe_offsets:
            self._base, self._base_is_image = image, True
        return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)

    def add(self, probes: Sequence[Probe], columns: ColumnResults) -> None:
        """Render probes and add their differences to the columns."""
        # Probes of the same sprites affect similar pixels, so they are rendered together.
        alike: dict[tuple[int, ...], list[Probe]] = {}
        for probe in probes:
            changed = {index for side in probe.sides if side is not None for index in side.changed}
            alike.setdefault(tuple(sorted(changed)), []).append(probe)
        for group in alike.values():
            self._add_alike(group, columns)

    def _add_alike(self, probes: Sequence[Probe], columns: ColumnResults) -> None:
        sides = [[None if side is None else self._change(side) for side in probe.sides] for probe in probes]
        windows = [self._window if self._full_frame else self._changed_window(pair) for pair in sides]
        for batch in _batches(windows):
            around = union(windows[number] for number in batch)
            images = self._images([side for number in batch for side in sides[number]], around)
            for number, begin, end in zip(batch, images[::2], images[1::2], strict=True):
                probe, window = probes[number], windows[number]
                inside = (
                    slice(window.top - around.top, window.bottom - around.top),
                    slice(window.left - around.left, window.right - around.left),
                )
                painted = sum(side is not None or not self._base_is_image for side in sides[number])
                audited = self._audits[probe.column]
                columns.add(
                    probe,
                    end[inside] - begin[inside],
                    left_px=window.left,
                    top_px=window.top,
                    samples=painted * window.pixels * len(self._probe_offsets),
                    frame=self._whole_difference(sides[number]) if audited else None,
                )

    def _change(self, graph: SceneGraph) -> Change:
        return changed_sprites(graph, self.view, self._textures, self._assets)

    def _changed_window(self, sides: Sequence[Change | None]) -> Window:
        changes = [change for change in sides if change is not None]
        return changed_window(self.sprites, changes, self.view, self._probe_offsets)

    def _whole_difference(self, sides: Sequence[Change | None]) -> np.ndarray:
        """[height, width, 3]"""
        begin, end = self._images(sides, self._window)
        return np.broadcast_to(end - begin, (self._window.height, self._window.width, 3))

    def _images(self, changes: Sequence[Change | None], window: Window) -> list[np.ndarray]:
        """[h, w, 1 or 3] float32 display values for each change; None: the unperturbed scene."""
        wanted = [change for change in changes if change is not None]
        painted = iter(self._paint(wanted, window, self._probe_offsets))
        return [self._unperturbed()[window.slices] if change is None else next(painted) for change in changes]

    def _unperturbed(self) -> np.ndarray:
        if self._base is None:
            (self._base,) = self._paint([{}], self._window, self._probe_offsets)
        return self._base

    def _paint(
        self, changes: Sequence[Change], window: Window, offsets: Sequence[tuple[float, float]]
    ) -> Sequence[np.ndarray]:
        if not window.pixels:
            return [np.zeros((0, 0, 1), np.float32)] * len(changes)
        self.renders += len(changes)
        return list(self.painter.paint(changes, window, offsets))


def _batches(windows: Sequence[Window]) -> Iterator[range]:
    """Yield the indices of the windows in groups of moderate size."""
    most = max(window.pixels for window in windows)
    each = max(1, _BATCH_PX // max(1, most))
    for first in range(0, len(windows), each):
        yield range(first, min(first + each, len(windows)))


def _flat(graph: SceneGraph) -> SceneGraph:
    obstacle = flat_obstacle(graph)
    if obstacle is not None:
        raise obstacle
    return graph
