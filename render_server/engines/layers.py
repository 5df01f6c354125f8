"""Sprites as layers: bilinear samples of visible sprites, many per call."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from metasim.colour import srgb_to_linear
from PIL import Image

from render_server.engines.flat import FlatSprite
from render_server.engines.textures import Texture

_MESH = Image.Transform.MESH
_BILINEAR = Image.Resampling.BILINEAR

#: Pixels sampled per call, unless a single sprite has more.
_CANVAS_PX = 1 << 20


class Layer(NamedTuple):
    """A sprite's share of one sample of the image: premultiplied light and opacity in whole pixels around it."""

    sprite: FlatSprite
    left: int
    top: int
    right: int
    bottom: int
    light: np.ndarray  # [h, w, 3] float32, or [h, w, 1] if grey; linear under STANDARD
    alpha: np.ndarray  # [h, w, 1] float32


class _Box(NamedTuple):
    """The pixels that may show a sprite, and their quadrilateral in the texture."""

    sprite: FlatSprite
    left: int
    top: int
    width: int
    height: int
    quad: tuple[float, ...]


def sampled_layers(
    sprites: Sequence[FlatSprite], width_px: int, height_px: int, offset: tuple[float, float], *, standard: bool
) -> list[Layer]:
    """Return the layers of an image's visible sprites.

    A layer is bit-identical regardless of the other layers in the call.

    Args:
        offset: offset of samples from pixel centres, right and down, in pixels.
        standard: whether light is linear.
    """
    layers: list[Layer] = []
    by_texture: dict[str, list[_Box]] = {}
    for sprite in sprites:
        box = _box(sprite, width_px, height_px, offset)
        if box is not None:
            by_texture.setdefault(sprite.texture_hash, []).append(box)
    for boxes in by_texture.values():
        for part in _canvases(boxes):
            layers += _sampled(boxes[0].sprite.texture, part, standard)
    return layers


def _box(sprite: FlatSprite, width_px: int, height_px: int, offset: tuple[float, float]) -> _Box | None:
    x0, y0, x1, y1 = sprite.bounds_px
    dx, dy = offset
    left, top = max(0, math.ceil(x0 - 0.5 - dx)), max(0, math.ceil(y0 - 0.5 - dy))
    width = min(width_px, math.floor(x1 + 0.5 - dx)) - left
    height = min(height_px, math.floor(y1 + 0.5 - dy)) - top
    if width <= 0 or height <= 0:
        return None
    a, b, c, d, e, f = sprite.texel_from_pixel
    x, y = left + dx, top + dy
    u, v = a * x + b * y + c, d * x + e * y + f
    right_u, right_v, down_u, down_v = a * width, d * width, b * height, e * height
    quad = (u, v, u + down_u, v + down_v, u + right_u + down_u, v + right_v + down_v, u + right_u, v + right_v)
    return _Box(sprite, left, top, width, height, quad)


def _canvases(boxes: list[_Box]) -> Iterator[list[_Box]]:
    """Yield groups of boxes whose samples fit on a canvas of moderate size, one below the other."""
    part: list[_Box] = []
    width = height = 0
    for box in boxes:
        width, height = max(width, box.width), height + box.height
        if part and width * height > _CANVAS_PX:
            yield part
            part, width, height = [], box.width, box.height
        part.append(box)
    yield part


def _sampled(texture: Texture, boxes: list[_Box], standard: bool) -> Iterator[Layer]:
    size = max(box.width for box in boxes), sum(box.height for box in boxes)
    tops, mesh = [], []
    below = 0
    for box in boxes:
        tops.append(below)
        mesh.append(((0, below, box.width, below + box.height), box.quad))
        below += box.height

    def sampled(channel: int) -> np.ndarray:
        plane = texture.planes[channel].transform(size, _MESH, mesh, _BILINEAR)
        return np.frombuffer(plane.tobytes(), np.float32).reshape(size[1], size[0], 1)

    alpha = sampled(3)
    colour = texture.single_colour
    if colour is None:
        light = np.concatenate((sampled(0), sampled(1), sampled(2)), axis=2)
        if standard:
            # Texels are interpolated as display values, then decoded.
            light = srgb_to_linear(light / np.maximum(alpha, np.float32(1e-20))) * alpha
    elif standard:
        colour = tuple(srgb_to_linear(np.array(colour)).tolist())
    for box, first in zip(boxes, tops, strict=True):
        inside = slice(first, first + box.height), slice(0, box.width)
        opacity = alpha[inside]
        if colour is None:
            shown = light[inside] * np.array(box.sprite.tint, np.float32)
        else:
            shown = _tinted(opacity, colour, box.sprite.tint)
        yield Layer(box.sprite, box.left, box.top, box.left + box.width, box.top + box.height, shown, opacity)


def _tinted(alpha: np.ndarray, colour: Sequence[float], tint: Sequence[float]) -> np.ndarray:
    red, green, blue = (c * t for c, t in zip(colour, tint, strict=True))
    if red == green == blue:
        return alpha if red == 1.0 else alpha * np.float32(red)
    return alpha * np.array((red, green, blue), np.float32)
