"""Triangle meshes as arrays, from which the procedural models are built."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A triangle mesh. Corners at one place with different normals or texture coordinates are separate vertices."""

    #: [n, 3] metres, z up.
    points: np.ndarray
    #: [n, 3], of length 1, outwards.
    normals: np.ndarray
    #: [n, 2] from 0 to 1: u to the right, v upwards from the texture's lower edge.
    uvs: np.ndarray
    #: [m, 3] vertices, counter-clockwise seen from outside.
    triangles: np.ndarray

    def transformed(self, matrix: np.ndarray) -> "Shape":
        """Return the shape after an affine map, [4, 4] or [3, 4]. A reflection keeps the outside outside."""
        linear = matrix[:3, :3]
        normals = self.normals @ np.linalg.inv(linear)
        mirrored = np.linalg.det(linear) < 0
        return Shape(
            self.points @ linear.T + matrix[:3, 3],
            normals / np.linalg.norm(normals, axis=1, keepdims=True),
            self.uvs,
            self.triangles[:, ::-1] if mirrored else self.triangles,
        )

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Shape":
        """Return the translated shape."""
        return Shape(self.points + np.array((x, y, z)), self.normals, self.uvs, self.triangles)

    def scaled(self, x: float, y: float, z: float) -> "Shape":
        """Return the shape scaled along the axes; negative factors mirror it."""
        return self.transformed(np.diag((x, y, z, 1.0)))

    def turned(self, axis: str, angle_deg: float) -> "Shape":
        """Return the shape rotated counter-clockwise about the axis `x`, `y` or `z`."""
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        matrix, angle = np.eye(4), np.deg2rad(angle_deg)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return self.transformed(matrix)


def joined(shapes: Sequence[Shape]) -> Shape:
    """Return several shapes as one, for parts that share a surface."""
    starts = np.cumsum([0, *(len(shape.points) for shape in shapes[:-1])])
    return Shape(
        np.concatenate([shape.points for shape in shapes]),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uvs for shape in shapes]),
        np.concatenate([shape.triangles + start for shape, start in zip(shapes, starts, strict=True)]),
    )
