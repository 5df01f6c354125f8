"""Masks as polygons.

A polygon runs midway between pixel centres inside and outside of the mask, so rasterising it reproduces the mask.
Straight borders follow the pixels' edges, and corners are cut by half a pixel (marching squares, Lorensen & Cline
1987). Pixels: (0, 0) is the top left corner of the top left pixel.

COCO's and YOLO's polygons have no holes. A cut joins a hole to the ring around it: the ring goes in and out along the
same line, which encloses no area under both the even-odd and the non-zero rule.
"""

import itertools
from typing import cast

import numpy as np
from contourpy import FillType, contour_generator


def mask_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Return rings around the parts of a mask, [n, 2] float64 pixels each, not closed; holes are cut open.

    Parts that touch at a corner alone may come as one ring or as two.

    Args:
        mask: bool [height, width].
    """
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    generator = contour_generator(z=np.pad(inside, 1).astype(np.float64), fill_type=FillType.OuterOffset)
    parts, offsets = cast(tuple[list[np.ndarray], list[np.ndarray]], generator.filled(0.5, 2.0))
    rings = []
    for points, ends in zip(parts, offsets, strict=True):
        # The padding puts a pixel's centre at its index + 1.
        loops = [_corners(points[first : last - 1]) for first, last in itertools.pairwise(ends)]
        rings.append(joined(loops) + np.array((left - 0.5, top - 0.5)))
    return rings


def joined(rings: list[np.ndarray]) -> np.ndarray:
    """Return one ring [n, 2] from one or more rings, joined by cuts between nearest points."""
    ring, *others = rings
    for other in others:
        squared = ((ring[:, None] - other[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(np.argmin(squared), squared.shape)
        around = np.roll(other, -int(there), axis=0)
        ring = np.concatenate((ring[: here + 1], around, around[:1], ring[here:]))
    return ring


def _corners(ring: np.ndarray) -> np.ndarray:
    """Return a ring without the points that lie on the line between their neighbours."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
