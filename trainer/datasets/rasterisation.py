"""Polygons and run lengths as masks."""

from collections.abc import Sequence

import numpy as np


def polygons_mask(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Return the mask [height, width] of rings [n, 2] px: pixels whose centres lie in any ring (even-odd rule)."""
    mask = np.zeros((height, width), bool)
    for ring in rings:
        mask |= _ring_mask(np.asarray(ring, np.float64), height, width)
    return mask


def _ring_mask(ring: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a ring's mask: pixels with an odd number of crossings of their row's centre line to the left."""
    flips = np.zeros((height, width + 1), np.int64)
    starts, ends = ring, np.roll(ring, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(starts, ends, strict=True):
        if y0 == y1:
            continue
        low, high = min(y0, y1), max(y0, y1)
        # Rows whose centre lies in [low, high): an edge includes its lower end and excludes its upper end.
        first, last = max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), height)
        rows = np.arange(first, last)
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (rows, columns), 1)
    return (np.cumsum(flips, axis=1)[:, :width] % 2).astype(bool)


def runs_mask(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return bool [height, width] from column-wise run lengths, the first of which is False.

    Raises:
        ValueError: they do not cover the image.
    """
    lengths = np.asarray(counts, np.int64)
    if lengths.sum() != height * width or (lengths < 0).any():
        raise ValueError(f"run lengths cover {lengths.sum()} pixels of {height * width}")
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return pixels.reshape((height, width), order="F")


def unpacked_runs(text: str) -> list[int]:
    """Return run lengths from COCO's text.

    The text holds groups of five bits. Every length after the third is stored as the difference to the length two
    before it (pycocotools, maskApi.c, rleFrString).
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
