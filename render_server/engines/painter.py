"""Painter's algorithm: layers of sprites blended from the farthest to the nearest."""

from collections.abc import Mapping, Sequence

import numpy as np
from metasim.colour import linear_to_srgb
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines.flat import Change, FlatSprite
from render_server.engines.layers import Layer, sampled_layers
from render_server.jacobian.regions import Window

#: Maximum number of sprite samples cached between calls; larger scenes are sampled again.
_KEPT_SAMPLES = 1 << 24


class Painter:
    """Renders a flat scene with and without changes of its sprites.

    A pixel is bit-identical regardless of its window and of other images in the call.

    Args:
        sprites: the scene's sprites by node index.
    """

    def __init__(
        self, sprites: Mapping[int, FlatSprite], settings: pb.RenderSettings, background: scene_pb2.Color
    ) -> None:
        self._sprites = sprites
        self._width_px, self._height_px = settings.width_px, settings.height_px
        self._standard = settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        self._background = background.red, background.green, background.blue
        self._grey = background.red == background.green == background.blue
        self._black = not any(self._background)
        self._kept: dict[tuple[float, float], list[Layer]] = {}
        self._kept_samples = 0

    def paint(self, changes: Sequence[Change], window: Window, offsets: Sequence[tuple[float, float]]) -> np.ndarray:
        """[changes, h, w, 3] float32 display values in the window; one channel if everything drawn there is grey.

        Args:
            changes: one per image; an empty one gives the scene itself.
            offsets: offsets of samples from pixel centres, right and down, in pixels.
        """
        total = self._sample(changes, window, offsets[0])
        for offset in offsets[1:]:
            total = total + self._sample(changes, window, offset)
        if len(offsets) > 1:
            total /= np.float32(len(offsets))
        if self._standard:
            total = linear_to_srgb(total)
        return np.minimum(total, np.float32(1), out=total)

    def node_mask(self) -> np.ndarray:
        """[h, w] uint16: the nearest sprite that is opaque at each pixel's centre, as index + 1."""
        mask = np.zeros((self._height_px, self._width_px), np.uint16)
        for layer in sorted(self._unchanged((0.0, 0.0)), key=_depth_order):
            window = mask[layer.top : layer.bottom, layer.left : layer.right]
            window[layer.alpha[..., 0] >= 0.5] = layer.sprite.node + 1
        return mask

    def _sample(self, changes: Sequence[Change], window: Window, offset: tuple[float, float]) -> np.ndarray:
        """[changes, h, w, 3 or 1] float32: the light of one sample."""
        changed = [sprite for change in changes for sprite in change.values() if sprite is not None]
        fresh = {id(layer.sprite): layer for layer in self._layers(changed, offset)}
        around = [layer for layer in self._unchanged(offset) if _overlap(layer, window)]
        drawn = []
        for change in changes:
            layers = [layer for layer in around if layer.sprite.node not in change]
            layers += [fresh[id(sprite)] for sprite in change.values() if id(sprite) in fresh]
            drawn.append(sorted(layers, key=_depth_order))
        grey = self._grey and all(layer.light.shape[2] == 1 for layers in drawn for layer in layers)
        images = np.zeros((len(changes), window.height, window.width, 1 if grey else 3), np.float32)
        if not self._black:
            images[:] = self._background[:1] if grey else self._background
        for image, layers in zip(images, drawn, strict=True):
            self._blend(image, layers, window)
        return images

    def _blend(self, image: np.ndarray, layers: Sequence[Layer], window: Window) -> None:
        black = self._black
        for layer in layers:
            left, right = max(window.left, layer.left), min(window.right, layer.right)
            top, bottom = max(window.top, layer.top), min(window.bottom, layer.bottom)
            if left >= right or top >= bottom:
                continue
            inside = slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left)
            part = image[top - window.top : bottom - window.top, left - window.left : right - window.left]
            if black:
                part[...] = layer.light[inside]
                black = False
            else:
                part *= 1 - layer.alpha[inside]
                part += layer.light[inside]

    def _unchanged(self, offset: tuple[float, float]) -> list[Layer]:
        layers = self._kept.get(offset)
        if layers is None:
            layers = self._layers(list(self._sprites.values()), offset)
            self._kept_samples += sum(layer.alpha.size for layer in layers)
            if self._kept_samples <= _KEPT_SAMPLES:
                self._kept[offset] = layers
        return layers

    def _layers(self, sprites: Sequence[FlatSprite], offset: tuple[float, float]) -> list[Layer]:
        return sampled_layers(sprites, self._width_px, self._height_px, offset, standard=self._standard)


def _overlap(layer: Layer, window: Window) -> bool:
    return (
        layer.left < window.right
        and window.left < layer.right
        and layer.top < window.bottom
        and window.top < layer.bottom
    )


def _depth_order(layer: Layer) -> tuple[float, int]:
    """Return the sprites from the farthest to the nearest; at equal depth, the later node is nearer."""
    return -layer.sprite.depth_m, layer.sprite.node
