"""Textures of engines: decoded once per content hash, padded, premultiplied."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from render_server.errors import AssetMissing, InvalidTask

#: Modes with 16-bit grey.
_GREY_16 = ("I;16", "I;16B", "I;16L", "I")


@dataclass(frozen=True)
class Texture:
    """An image with a transparent surrounding.

    Attributes:
        padded: [height + 2, width + 2, 4] float32: red, green, blue times opacity, and opacity; display values, 0 to 1.
            The outermost texels are transparent, so that bilinear interpolation fades out at the edge.
    """

    padded: np.ndarray

    @property
    def width(self) -> int:
        """Return the number of texels per row, without the padding."""
        return self.padded.shape[1] - 2

    @property
    def height(self) -> int:
        """Return the number of rows of texels, without the padding."""
        return self.padded.shape[0] - 2

    @cached_property
    def single_colour(self) -> tuple[float, float, float] | None:
        """Return the colour of all texels that are not fully transparent; None if they have several."""
        alpha = self.padded[..., 3]
        seen = alpha > 0
        if not seen.any():
            return 0.0, 0.0, 0.0
        colours = self.padded[..., :3][seen] / alpha[seen][:, None]
        first = colours[0]
        if np.abs(colours - first).max() > 1e-6:
            return None
        return float(first[0]), float(first[1]), float(first[2])

    @cached_property
    def support(self) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) in padded texels around non-transparent texels, including interpolation."""
        seen = self.padded[..., 3] > 0
        if not seen.any():
            return 0.0, 0.0, 0.0, 0.0
        rows, columns = seen.any(axis=1).nonzero()[0], seen.any(axis=0).nonzero()[0]
        # A texel fades out towards its neighbours' centres.
        return float(columns[0]) - 0.5, float(rows[0]) - 0.5, float(columns[-1]) + 1.5, float(rows[-1]) + 1.5

    @cached_property
    def planes(self) -> tuple[Image.Image, ...]:
        """Return the four channels of `padded` as Pillow images of mode F."""
        return tuple(Image.fromarray(np.ascontiguousarray(self.padded[..., channel])) for channel in range(4))

    @cached_property
    def opaque_hull(self) -> np.ndarray:
        """[n, 2] float64: the convex hull's corners (x, y), in turn, of the texels whose opacity is >= 1/2.

        Unit: texels from the image's top left corner. Empty if there is no such texel.
        """
        opaque = self.padded[1:-1, 1:-1, 3] >= 0.5
        rows = opaque.any(axis=1).nonzero()[0]
        left = opaque[rows].argmax(axis=1).tolist()
        right = (self.width - opaque[rows, ::-1].argmax(axis=1)).tolist()
        ends = zip(rows.tolist(), left, right, strict=True)
        corners = sorted({(x, y) for row, a, b in ends for x in (a, b) for y in (row, row + 1)})
        return np.array([*_half_hull(corners), *_half_hull(corners[::-1])], dtype=np.float64).reshape(-1, 2)


def _half_hull(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return one side of the convex hull of sorted points, without its last point (Andrew 1979)."""
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while len(hull) > 1:
            (ax, ay), (bx, by) = hull[-2:]
            if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                break
            hull.pop()
        hull.append((x, y))
    return hull[:-1]


def decode(path: Path) -> np.ndarray:
    """Return a PNG as straight colours and opacity: [height, width, 4] float32, 0 to 1.

    Raises:
        ValueError: the file is not a PNG, or is damaged.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode in _GREY_16:
                grey = np.asarray(image).astype(np.float32) / np.float32(65535)
                return np.stack((grey, grey, grey, np.ones_like(grey)), axis=2)
            return np.asarray(image.convert("RGBA")).astype(np.float32) / np.float32(255)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error


class TextureCache:
    """The most recently used textures, by content hash.

    Args:
        max_bytes: limit for all decoded textures and their planes together; the last one is kept regardless of its
            size.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._textures: OrderedDict[str, Texture] = OrderedDict()

    def get(self, content_hash: str, assets: Mapping[str, Path], field: str) -> Texture:
        """Return the texture of that hash.

        Args:
            field: path of the field that names it, for errors.

        Raises:
            AssetMissing: it is not among the assets.
            InvalidTask: the asset is not a PNG.
        """
        texture = self._textures.get(content_hash)
        if texture is not None:
            self._textures.move_to_end(content_hash)
            return texture
        path = assets.get(content_hash)
        if path is None:
            raise AssetMissing([content_hash])
        try:
            straight = decode(path)
        except ValueError as error:
            allowed = "it must be the content hash of an RGBA, RGB or grey PNG"
            raise InvalidTask(field, f"{content_hash}, which cannot be decoded ({error})", allowed) from error
        padded = np.zeros((straight.shape[0] + 2, straight.shape[1] + 2, 4), np.float32)
        padded[1:-1, 1:-1, :3] = straight[..., :3] * straight[..., 3:]
        padded[1:-1, 1:-1, 3] = straight[..., 3]
        padded.flags.writeable = False
        texture = self._textures[content_hash] = Texture(padded)
        self._bytes += _cost(texture)
        while self._bytes > self._max_bytes and len(self._textures) > 1:
            self._bytes -= _cost(self._textures.popitem(last=False)[1])
        return texture


def _cost(texture: Texture) -> int:
    """Return the size in bytes of a texture with its planes."""
    return 2 * texture.padded.nbytes
