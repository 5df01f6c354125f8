"""An engine with closed-form images, for fast tests of its callers.

Each sprite or mesh is a Gaussian blob, whatever its texture or shape:

    image(p) = background + sum over nodes of  colour * exp(-q(p) / 2),
    q(p) = |A^-1 (p - c)|^2,      A = [a_x * w/4, a_y * h/4]      [2 x 2]

with p a pixel's centre, c the projection of the node's origin, a_x and a_y the pixel vectors of a unit step along the
node's x and y axis, w and h its size (mesh: size_x, size_y), colour its tint or base colour. A blob's standard
deviation is thus a quarter of the node's size. Blobs add up; the returned image is clipped to 0..1, but columns are
not. The view transform and the number of samples have no effect. Columns hold the blobs' pixels up to 7 standard
deviations from their centres, where exp(-q/2) is 2e-11.

For a root node under an orthographic camera in the identity pose with f pixels per metre, and d = p - c:

    d image/d x     =  f * colour * exp(-q/2) * (S d)_x             S = (A A^T)^-1
    d image/d y     = -f * colour * exp(-q/2) * (S d)_y             (pixels run downwards)
    d image/d yaw   =  pi/180 * colour * exp(-q/2) * ((S d)_x d_y - (S d)_y d_x)
    d image/d scale =  colour * exp(-q/2) * q / scale
    d image/d red   =  exp(-q/2) in the red channel
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from metasim.camera import CameraView
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines.frame import SurfaceLayers, pack, wants_image, wants_labels
from render_server.jacobian.column_results import ColumnResults
from render_server.jacobian.probes import Probe, plan_probes
from render_server.jacobian.regions import NOWHERE, Window, union
from render_server.jacobian.steps import half_pixel_steps
from render_server.scene.extent import content_extent
from render_server.scene.geometry import Outline, camera_view
from render_server.scene.scene_graph import SceneGraph

#: Extent of blobs in columns, in standard deviations.
_REACH = 7.0

_CORNERS = np.array([(x, y, 0.0, 1.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)])


class FakeEngine:
    """Draws blobs without assets.

    Args:
        service_time_s: minimum duration of every task.
    """

    name = "fake"
    version = "1"
    device, device_name = "cpu", ""

    def __init__(self, *, service_time_s: float = 0.0) -> None:
        self._service_time_s = service_time_s

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:  # noqa: ARG002
        """See `Engine.render`."""
        started = time.perf_counter()
        graph = SceneGraph(task.scene)
        view = camera_view(graph, task.settings.width_px, task.settings.height_px)
        frame = Window(0, 0, view.width_px, view.height_px)
        columns = ColumnResults(task)
        image = _image(graph, view, task.scene.background) if wants_image(task.outputs) else None
        renders = int(image is not None)
        for probe in plan_probes(graph, task, half_pixel_steps(graph, view, content_extent)):
            changes = _changes(graph, view, probe)
            window = frame if task.probes.full_frame else union(_window(*blob) for _, blob in changes)
            rendered = sum(side is not None or image is None for side in probe.sides) if window.pixels else 0
            columns.add(
                probe,
                _difference(changes, window),
                left_px=window.left,
                top_px=window.top,
                samples=rendered * window.pixels * (task.probes.samples or task.settings.samples),
                frame=_difference(changes, frame) if task.columns[probe.column].audit else None,
            )
            renders += rendered
        surface = self._surface(graph, view) if wants_labels(task.outputs) else None
        result = pack(task, graph, view, image, surface, columns.in_order())
        time.sleep(max(0.0, self._service_time_s - (time.perf_counter() - started)))
        result.timing.render_s = time.perf_counter() - started
        result.timing.renders = renders
        return result

    def _surface(self, graph: SceneGraph, view: CameraView) -> SurfaceLayers:
        """Return labels: blobs are opaque above one half, and face the camera at their origin's depth."""
        frame = Window(0, 0, view.width_px, view.height_px)
        node_mask = np.zeros((view.height_px, view.width_px), np.uint16)
        depth = np.full(node_mask.shape, np.inf, np.float32)
        normal = np.zeros((*node_mask.shape, 3), np.float32)
        outlines = {}
        for index, node in enumerate(graph.nodes):
            if not _draws(node):
                continue
            nearer = -view.to_camera(graph.world[index][None, :3, 3])[0, 2]
            inside = (_squared_distance(graph, view, index, frame) <= 2 * np.log(2)) & (nearer < depth)
            node_mask[inside] = index + 1
            depth[inside] = nearer
            normal[inside] = view.camera_from_world[2, :3]
            scaled = _CORNERS * (*_size(graph, index), 0.0, 1.0)
            outlines[index] = Outline(points=(scaled @ graph.world[index].T)[:, :3])
        return SurfaceLayers(node=node_mask, depth=depth, normal=normal, outlines=outlines)


def _image(graph: SceneGraph, view: CameraView, background: scene_pb2.Color) -> np.ndarray:
    """[h, w, 3] float32"""
    image = np.empty((view.height_px, view.width_px, 3))
    image[:] = background.red, background.green, background.blue
    frame = Window(0, 0, view.width_px, view.height_px)
    for index, node in enumerate(graph.nodes):
        if _draws(node):
            image += _pixels(graph, view, index, frame)
    return image.clip(0.0, 1.0).astype(np.float32)


#: Area below which a blob is not drawn: it is edge-on or too small.
_NO_AREA_PX = 1e-12


class _Blob(NamedTuple):
    """The blob of a node in a scene."""

    graph: SceneGraph
    view: CameraView
    node: int


def _changes(graph: SceneGraph, view: CameraView, probe: Probe) -> list[tuple[int, _Blob]]:
    """Return the blobs that a probe removes (-1) and adds (1)."""
    changed = sorted({index for side in probe.sides if side is not None for index in side.changed})
    indices = range(len(graph.nodes)) if graph.camera in changed else changed
    changes: list[tuple[int, _Blob]] = []
    for sign, side in zip((-1, 1), probe.sides, strict=True):
        scene = graph if side is None else side
        seen = camera_view(scene, view.width_px, view.height_px) if graph.camera in scene.changed else view
        changes += [(sign, _Blob(scene, seen, index)) for index in indices if _draws(graph.nodes[index])]
    return changes


def _difference(changes: Sequence[tuple[int, _Blob]], window: Window) -> np.ndarray:
    """[h, w, 3] float32"""
    total = np.zeros((window.height, window.width, 3))
    for sign, blob in changes:
        total += sign * _pixels(*blob, window)
    return total.astype(np.float32)


def _draws(node: scene_pb2.Node) -> bool:
    return node.HasField("sprite") or node.HasField("mesh")


def _size(graph: SceneGraph, index: int) -> tuple[float, float]:
    second = scene_pb2.ATTRIBUTE_DEPTH if graph.nodes[index].HasField("mesh") else scene_pb2.ATTRIBUTE_HEIGHT
    return graph.value(index, scene_pb2.ATTRIBUTE_WIDTH) or 1.0, graph.value(index, second) or 1.0


def _colour(graph: SceneGraph, index: int) -> np.ndarray:
    channels = (scene_pb2.ATTRIBUTE_RED, scene_pb2.ATTRIBUTE_GREEN, scene_pb2.ATTRIBUTE_BLUE)
    values = [graph.value(index, channel) for channel in channels]
    return np.array([0.8 if value is None else value for value in values])


def _pixels(graph: SceneGraph, view: CameraView, index: int, window: Window) -> np.ndarray:
    """[h, w, 3] float64: a node's share of the pixels in the window."""
    return np.exp(-_squared_distance(graph, view, index, window) / 2)[..., None] * _colour(graph, index)


def _squared_distance(graph: SceneGraph, view: CameraView, index: int, window: Window) -> np.ndarray:
    """[h, w] float64: q of the module's formula at the centres of the window's pixels."""
    centre, axes = _ellipse(graph, view, index)
    if abs(np.linalg.det(axes)) < _NO_AREA_PX:
        return np.full((window.height, window.width), np.inf)
    inverse = np.linalg.inv(axes)
    x = np.arange(window.left, window.right) + 0.5 - centre[0]
    y = (np.arange(window.top, window.bottom) + 0.5 - centre[1])[:, None]
    u = inverse[0, 0] * x + inverse[0, 1] * y
    v = inverse[1, 0] * x + inverse[1, 1] * y
    return u * u + v * v


def _ellipse(graph: SceneGraph, view: CameraView, index: int) -> tuple[np.ndarray, np.ndarray]:
    """c [2] and A [2, 2] of the module's formula, float64."""
    world = graph.world[index]
    width, height = _size(graph, index)
    origin = world[:3, 3]
    points = view.to_camera(np.stack((origin, origin + world[:3, 0] * width / 4, origin + world[:3, 1] * height / 4)))
    centre, *tips = view.project(points)
    return centre, np.stack([tip - centre for tip in tips], axis=1)


def _window(graph: SceneGraph, view: CameraView, index: int) -> Window:
    """Return the pixels up to 7 standard deviations from a blob's centre."""
    centre, axes = _ellipse(graph, view, index)
    reach = _REACH * np.linalg.norm(axes, axis=1)
    size = view.width_px, view.height_px
    left, top = np.clip(np.floor(centre - reach), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(centre + reach), 0, size).astype(int).tolist()
    return Window(left, top, right, bottom) if left < right and top < bottom else NOWHERE
