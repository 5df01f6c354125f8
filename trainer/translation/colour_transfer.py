"""Transfer of colour distributions by moments (Reinhard) or sliced optimal transport; look-up tables that apply it."""

import numpy as np
from scipy import ndimage

#: Rows: red, green, blue of sRGB; columns: long, medium, short cones (Reinhard et al., 2001, equation 4).
_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
#: From the logarithms of the cones' values to lαβ (equation 6).
_LAB = np.diag(1 / np.sqrt([3.0, 6.0, 2.0])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
#: Added to the cones' values, so that black has a logarithm.
_BLACK = 1 / 255
#: Points of a look-up table along each channel.
LATTICE = 33
#: Number of quantiles that represent a one-dimensional distribution.
_QUANTILES = 256


def to_lab(colours: np.ndarray) -> np.ndarray:
    """Return lαβ, float64 [..., 3], of colours [..., 3] in [0, 1] (Ruderman et al., 1998)."""
    found: np.ndarray = np.log10(colours @ _LMS.T + _BLACK) @ _LAB.T
    return found


def from_lab(values: np.ndarray) -> np.ndarray:
    """Return colours float64 [..., 3], not clipped, of lαβ [..., 3]; the inverse of `to_lab`."""
    found: np.ndarray = (10.0 ** (values @ np.linalg.inv(_LAB).T) - _BLACK) @ np.linalg.inv(_LMS).T
    return found


def moments_transfer(colours: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return colours with the source's mean and standard deviation of each lαβ channel replaced by the target's.

    This is Reinhard et al., Color Transfer between Images, 2001, equations 10 and 11.

    Args:
        colours: [..., 3] in [0, 1].
        source, target: colours [N, 3] and [M, 3] whose moments are used.

    Returns:
        float64 [..., 3], not clipped.
    """
    before, after = to_lab(source), to_lab(target)
    gain = after.std(0) / np.maximum(before.std(0), 1e-6)
    return from_lab((to_lab(colours) - before.mean(0)) * gain + after.mean(0))


def line_transport(values: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the values after optimal transport between one-dimensional distributions.

    The map sends each quantile of the source to the same quantile of the target. Values beyond the ends are shifted.

    Args:
        values: [...], the values to transport.
        source, target: samples [N] and [M].
    """
    return _moved(values, _quantiles(source), _quantiles(target))


def _quantiles(samples: np.ndarray) -> np.ndarray:
    # `np.quantile` gives the same result faster on sorted samples.
    found: np.ndarray = np.quantile(np.sort(samples), np.linspace(0, 1, _QUANTILES))
    return found


def _moved(values: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return values mapped so that the quantiles `before` become `after`."""
    moved = np.interp(values, before, after)
    below, above = np.minimum(values - before[0], 0), np.maximum(values - before[-1], 0)
    result: np.ndarray = moved + below + above
    return result


def sliced_transport(
    colours: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    rounds: int = 40,
    step: float = 0.5,
) -> np.ndarray:
    """Return colours after sliced optimal transport of the source's distribution to the target's.

    Each round transports the three coordinates of a random rotation separately (Pitié et al., 2007; Rabin et al., 2011)
    and takes a fraction of that step.

    Args:
        colours: [K, 3].
        source, target: samples [N, 3] and [M, 3].
        rng: draws the rotations.
        step: fraction of each step to take, 0 to 1.

    Returns:
        float64 [K, 3], not clipped.
    """
    moved, left = colours.astype(np.float64), source.astype(np.float64)
    for _ in range(rounds):
        axes = random_rotation(rng)
        wanted = target @ axes
        change_left, change = np.empty_like(left), np.empty_like(moved)
        for axis in range(3):
            here, there = left @ axes[:, axis], moved @ axes[:, axis]
            before, after = _quantiles(here), _quantiles(wanted[:, axis])
            change_left[:, axis] = _moved(here, before, after) - here
            change[:, axis] = _moved(there, before, after) - there
        left, moved = left + step * change_left @ axes.T, moved + step * change @ axes.T
    return moved


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a random orthogonal matrix [3, 3], uniformly distributed."""
    matrix, triangle = np.linalg.qr(rng.standard_normal((3, 3)))
    signed: np.ndarray = matrix * np.sign(np.diag(triangle))
    return signed


def lattice() -> np.ndarray:
    """Return the colours of a look-up table, float64 [LATTICE³, 3] in [0, 1]: red changes slowest, blue fastest."""
    steps = np.linspace(0, 1, LATTICE)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)


def looked_up(images: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return images with each colour replaced by the table's, interpolated linearly.

    Args:
        images: uint8 [..., 3].
        table: [LATTICE, LATTICE, LATTICE, 3], colours in [0, 1] for those of `lattice`.

    Returns:
        uint8 [..., 3].
    """
    places = images.reshape(-1, 3).T.astype(np.float32) * np.float32((LATTICE - 1) / 255)
    channels = [ndimage.map_coordinates(table[..., channel], places, order=1, mode="nearest") for channel in range(3)]
    colours = np.stack(channels, -1).reshape(images.shape)
    return np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8)
