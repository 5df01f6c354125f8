"""Lenses: principal point and distortion of a perspective camera, in OpenCV's convention; see `Lens` in scene.proto."""

from dataclasses import dataclass

import numpy as np

from metasim.v1 import scene_pb2

#: Steps of Newton's method that undo a distortion, and the error that counts as none, in units of x / z.
_STEPS, _TOLERANCE = 20, 1e-9


@dataclass(frozen=True)
class Distortion:
    """Brown and Conrady's distortion of points (x, y) = (X / Z, Y / Z), x to the right and y down."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    @classmethod
    def from_proto(cls, lens: scene_pb2.Lens) -> "Distortion":
        """Return the distortion of a lens."""
        return cls(lens.k1, lens.k2, lens.p1, lens.p2, lens.k3)

    @property
    def coefficients(self) -> tuple[float, float, float, float, float]:
        """(k1, k2, p1, p2, k3), the order of OpenCV."""
        return self.k1, self.k2, self.p1, self.p2, self.k3

    @property
    def is_none(self) -> bool:
        """Return whether the lens bends nothing: every coefficient is 0."""
        return not any(self.coefficients)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return where the lens shows points [..., 2]."""
        x, y = points[..., 0], points[..., 1]
        s = x * x + y * y
        r = 1 + s * (self.k1 + s * (self.k2 + s * self.k3))
        return np.stack(
            (
                x * r + 2 * self.p1 * x * y + self.p2 * (s + 2 * x * x),
                y * r + self.p1 * (s + 2 * y * y) + 2 * self.p2 * x * y,
            ),
            axis=-1,
        )

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Return the points [..., 2] that the lens shows at these, by Newton's method; NaN where there are none."""
        found = np.array(points, np.float64)
        with np.errstate(all="ignore"):
            for _ in range(_STEPS):
                error = self.apply(found) - points
                if np.abs(error).max(initial=0) < _TOLERANCE:
                    break
                xx, xy, yx, yy = self._derivative(found)
                determinant = xx * yy - xy * yx
                step_x = (yy * error[..., 0] - xy * error[..., 1]) / determinant
                step_y = (xx * error[..., 1] - yx * error[..., 0]) / determinant
                found -= np.stack((step_x, step_y), axis=-1)
            xx, xy, yx, yy = self._derivative(found)
            wrong = ~(np.abs(self.apply(found) - points).max(axis=-1) < 1e-6)
            # Beyond a fold the determinant is negative: the lens shows other points there as well.
            wrong |= ~(xx * yy - xy * yx > 0) | ~(xx > 0)
        found[wrong] = np.nan
        return found

    def _derivative(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(dx'/dx, dx'/dy, dy'/dx, dy'/dy)"""
        x, y = points[..., 0], points[..., 1]
        s = x * x + y * y
        r = 1 + s * (self.k1 + s * (self.k2 + s * self.k3))
        slope = 2 * (self.k1 + s * (2 * self.k2 + 3 * s * self.k3))  # dr/dx = slope * x
        mixed = slope * x * y + 2 * self.p1 * x + 2 * self.p2 * y
        return (
            r + slope * x * x + 2 * self.p1 * y + 6 * self.p2 * x,
            mixed,
            mixed,
            r + slope * y * y + 6 * self.p1 * y + 2 * self.p2 * x,
        )
