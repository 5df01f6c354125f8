"""Images of small round things seen from above: what screw heads, coins and cells have in common."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Disc:
    """Polar coordinates of the texels of a square image.

    Attributes:
        x: [size, size], to the right, from -1 to 1.
        y: up.
        radius: distance from the middle; 1 at the middle of an edge.
        angle: counter-clockwise from x, in radians.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray

    @classmethod
    def of(cls, size: int) -> "Disc":
        """Return the coordinates of an image of a size in texels."""
        along = (2 * np.arange(size) + 1) / size - 1
        x, y = np.meshgrid(along, -along)
        return cls(x, y, np.hypot(x, y), np.arctan2(y, x))

    @property
    def texel(self) -> float:
        """The width of a texel."""
        return 2 / len(self.x)

    def inside(self, radius: np.ndarray | float) -> np.ndarray:
        """Return how much of each texel lies within a radius, 0 to 1."""
        return np.clip((radius - self.radius) / self.texel + 0.5, 0, 1)

    def outline(self, rng: np.random.Generator, roughness: float, waves: int) -> np.ndarray:
        """Return a closed, irregular curve: a factor of about 1 at each texel's angle.

        Args:
            roughness: standard deviation of the factor.
            waves: highest frequency.
        """
        curve = np.ones_like(self.angle)
        for k in range(2, waves + 1):
            a, b = rng.normal(0, roughness / np.sqrt(waves - 1), 2)
            curve += a * np.cos(k * self.angle) + b * np.sin(k * self.angle)
        return curve


def blobs(rng: np.random.Generator, size: int, width: float) -> np.ndarray:
    """Return smooth noise [size, size] of mean 0 and spread 1, with features of `width` texels."""
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size)), width, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def embossed(height: np.ndarray, direction: float, depth: float) -> np.ndarray:
    """Return the brightness [size, size], about 1, of a relief that light strikes from a direction in radians."""
    down, right = np.gradient(height)
    return np.asarray(1 + depth * (np.sin(direction) * down - np.cos(direction) * right))


def over(below: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Return straight RGBA texels [H, W, 4] with a colour [3] or [H, W, 3] painted over them.

    Args:
        cover: opacity of the colour [H, W].
    """
    alpha = cover + below[..., 3] * (1 - cover)
    light = colour * cover[..., None] + below[..., :3] * (below[..., 3] * (1 - cover))[..., None]
    return np.concatenate([light / np.maximum(alpha, 1e-9)[..., None], alpha[..., None]], -1)


def shadow(disc: Disc, radius: float, rng: np.random.Generator, strength: tuple[float, float]) -> np.ndarray:
    """Return RGBA texels of the soft shadow that a thing of a radius casts to a random side."""
    side, far = rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.12) * radius
    moved = np.hypot(disc.x - far * np.cos(side), disc.y - far * np.sin(side))
    cover = np.clip((radius * 1.05 - moved) / (0.16 * radius) + 0.5, 0, 1) * rng.uniform(*strength)
    return over(np.zeros((*disc.x.shape, 4)), np.zeros(3), cover)
