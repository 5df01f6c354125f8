"""Draws flat sprite scenes with Pillow and NumPy, without Blender."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from metasim.v1 import render_pb2 as pb
from PIL import Image

from render_server.column_results import ColumnResults
from render_server.engines.display import linear_to_srgb, srgb_to_linear
from render_server.engines.flat import (
    FlatSprite,
    flat_obstacle,
    flat_sprites,
    painters_order,
    perturbed_sprites,
    sample_offsets,
    surface_layers,
)
from render_server.engines.frame import pack, wants_labels
from render_server.engines.textures import TextureCache
from render_server.extent import content_extent
from render_server.geometry import camera_view
from render_server.probes import Probe, plan_probes
from render_server.scene_graph import SceneGraph
from render_server.steps import half_pixel_steps

_AFFINE = Image.Transform.AFFINE
_BILINEAR = Image.Resampling.BILINEAR
_Window = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels
_NOWHERE: _Window = (0, 0, 0, 0)


@dataclass(frozen=True)
class _Layer:
    """A sprite's share of one sample of the image: premultiplied light and opacity in the rectangle that it covers."""

    left: int
    top: int
    right: int
    bottom: int
    light: np.ndarray  # [h, w, 3] float32, or [h, w, 1] if grey; linear under STANDARD
    alpha: np.ndarray  # [h, w, 1] float32


class RasterEngine:
    """Bilinear texels, painter's order, premultiplied blending; every sample lies on a fixed grid."""

    name = "raster"
    version = "1"
    device = "cpu"

    def __init__(self) -> None:
        self._textures = TextureCache()

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """See `Engine.render`."""
        started = time.perf_counter()
        graph = _flat(SceneGraph(task.scene))
        frame = _Frame(task, graph, self._textures, assets)
        columns = ColumnResults(task)
        probes = plan_probes(graph, task, half_pixel_steps(graph, frame.view, content_extent))
        built = time.perf_counter()
        image = frame.base_image()
        differences = [(probe, *frame.difference(probe)) for probe in probes]
        surface = None
        if wants_labels(task.outputs):
            surface = surface_layers(graph, frame.view, frame.sprites, frame.node_mask())
        rendered = time.perf_counter()
        for probe, left, top, difference in differences:
            columns.add(probe, difference, left_px=left, top_px=top, samples=0)
        result = pack(task, graph, frame.view, image, surface, columns.in_order())
        timing = result.timing
        timing.build_s, timing.render_s, timing.encode_s = (
            built - started,
            rendered - built,
            time.perf_counter() - rendered,
        )
        timing.renders = 1 + sum(side is not None for probe in probes for side in probe.sides)
        return result


class _Frame:
    """The unperturbed scene's layers, from which those of a probe differ in few."""

    def __init__(
        self, task: pb.RenderTask, graph: SceneGraph, textures: TextureCache, assets: Mapping[str, Path]
    ) -> None:
        settings, background = task.settings, task.scene.background
        self._graph, self._settings, self._textures, self._assets = graph, settings, textures, assets
        self._standard = settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        self._background = np.array((background.red, background.green, background.blue), np.float32)
        self._black = not self._background.any()
        self._grey = bool((self._background == self._background[0]).all())
        self._offsets = sample_offsets(settings.samples, settings.filter_width_px)
        self.view = camera_view(graph, settings.width_px, settings.height_px)
        self.sprites = flat_sprites(graph, self.view, textures, assets)
        self._order = [sprite.node for sprite in painters_order(self.sprites)]
        self._layers = {index: self._sampled(sprite) for index, sprite in self.sprites.items()}

    def base_image(self) -> np.ndarray:
        """[h, w, 3] float32, display values."""
        image = self._compose(self._order, self._layers, (0, 0, self.view.width_px, self.view.height_px))
        return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)

    def difference(self, probe: Probe) -> tuple[int, int, np.ndarray]:
        """(left, top, [h, w, 3 or 1] float32): the upper minus the lower image, in the rectangle that can change."""
        sides = [(self._order, self._layers) if graph is None else self._perturbed(graph) for graph in probe.sides]
        (_, lower), (_, upper) = sides
        changed = [
            layer
            for index in lower.keys() | upper.keys()
            if lower.get(index) is not upper.get(index)
            for layer in (*lower.get(index, ()), *upper.get(index, ()))
        ]
        window = _union(changed)
        low, high = (self._compose(order, layers, window) for order, layers in sides)
        return window[0], window[1], high - low

    def node_mask(self) -> np.ndarray:
        """[h, w] uint16: the nearest sprite that is opaque at each pixel's centre, as index + 1."""
        mask = np.zeros((self.view.height_px, self.view.width_px), np.uint16)
        for index in self._order:
            layer = self._layers[index][0] if self._offsets == [(0.0, 0.0)] else self._layer(self.sprites[index], 0, 0)
            if layer is not None:
                window = mask[layer.top : layer.bottom, layer.left : layer.right]
                window[layer.alpha[..., 0] >= 0.5] = index + 1
        return mask

    def _perturbed(self, graph: SceneGraph) -> tuple[list[int], dict[int, Sequence[_Layer]]]:
        sprites = perturbed_sprites(_flat(graph), self.sprites, self.view, self._textures, self._assets)
        layers = {
            index: self._layers[index] if sprite is self.sprites.get(index) else self._sampled(sprite)
            for index, sprite in sprites.items()
        }
        return [sprite.node for sprite in painters_order(sprites)], layers

    def _sampled(self, sprite: FlatSprite) -> Sequence[_Layer]:
        return [self._layer(sprite, dx, dy) for dx, dy in self._offsets]

    def _layer(self, sprite: FlatSprite, dx: float, dy: float) -> _Layer:
        """The sprite, sampled at (dx, dy) pixels from each pixel's centre."""
        xs = [corner[0] for corner in sprite.corners_px]
        ys = [corner[1] for corner in sprite.corners_px]
        # Pixels whose sample may lie inside.
        left, right = max(0, math.floor(min(xs) - 0.5 - dx)), min(self.view.width_px, math.ceil(max(xs) + 0.5 - dx))
        top, bottom = max(0, math.floor(min(ys) - 0.5 - dy)), min(self.view.height_px, math.ceil(max(ys) + 0.5 - dy))
        width, height = right - left, bottom - top
        if width <= 0 or height <= 0:
            return _Layer(*_NOWHERE, np.zeros((0, 0, 1), np.float32), np.zeros((0, 0, 1), np.float32))
        a, b, c, d, e, f = sprite.texel_from_pixel
        x, y = left + dx, top + dy
        texels = (a, b, c + a * x + b * y, d, e, f + d * x + e * y)

        def sampled(channel: int) -> np.ndarray:
            plane = sprite.texture.planes[channel].transform((width, height), _AFFINE, texels, _BILINEAR)
            return np.frombuffer(plane.tobytes(), np.float32).reshape(height, width, 1)

        alpha = sampled(3)
        tint, colour = np.array(sprite.tint, np.float32), sprite.texture.single_colour
        if colour is not None:
            if self._standard:
                colour = tuple(srgb_to_linear(np.array(colour)).tolist())
            red, green, blue = (c * t for c, t in zip(colour, sprite.tint, strict=True))
            if red == green == blue:
                light = alpha if red == 1.0 else alpha * np.float32(red)
            else:
                light = alpha * np.array((red, green, blue), np.float32)
        else:
            light = np.concatenate((sampled(0), sampled(1), sampled(2)), axis=2)
            if self._standard:
                # Texels are interpolated as display values and decoded then.
                light = srgb_to_linear(light / np.maximum(alpha, np.float32(1e-20))) * alpha
            light *= tint
        return _Layer(left, top, right, bottom, light, alpha)

    def _compose(self, order: Sequence[int], layers: Mapping[int, Sequence[_Layer]], window: _Window) -> np.ndarray:
        """[h, w, 3] float32 display values in the window; one channel if all that is drawn there is grey."""
        total = self._blend(order, layers, window, 0)
        for sample in range(1, len(self._offsets)):
            total = total + self._blend(order, layers, window, sample)
        if len(self._offsets) > 1:
            total /= np.float32(len(self._offsets))
        if self._standard:
            total = linear_to_srgb(total)
        return np.minimum(total, np.float32(1), out=total)

    def _blend(
        self,
        order: Iterable[int],
        layers: Mapping[int, Sequence[_Layer]],
        window: _Window,
        sample: int,
    ) -> np.ndarray:
        left, top, right, bottom = window
        drawn = [layers[index][sample] for index in order]
        grey = self._grey and all(layer.light.shape[2] == 1 for layer in drawn)
        image = np.zeros((bottom - top, right - left, 1 if grey else 3), np.float32)
        black = self._black
        if not black:
            image[:] = self._background[:1] if grey else self._background
        for layer in drawn:
            x0, x1 = max(left, layer.left), min(right, layer.right)
            y0, y1 = max(top, layer.top), min(bottom, layer.bottom)
            if x0 >= x1 or y0 >= y1:
                continue
            inside = (slice(y0 - layer.top, y1 - layer.top), slice(x0 - layer.left, x1 - layer.left))
            part = image[y0 - top : y1 - top, x0 - left : x1 - left]
            if black:
                part[...] = layer.light[inside]
                black = False
            else:
                part *= 1 - layer.alpha[inside]
                part += layer.light[inside]
        return image


def _flat(graph: SceneGraph) -> SceneGraph:
    obstacle = flat_obstacle(graph)
    if obstacle is not None:
        raise obstacle
    return graph


def _union(layers: Sequence[_Layer]) -> _Window:
    shown = [layer for layer in layers if layer.right > layer.left]
    if not shown:
        return _NOWHERE
    return (
        min(layer.left for layer in shown),
        min(layer.top for layer in shown),
        max(layer.right for layer in shown),
        max(layer.bottom for layer in shown),
    )
