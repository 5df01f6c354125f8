"""Conversion between linear light and display values (IEC 61966-2-1, sRGB)."""

import numpy as np


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Return display values as linear light, element by element; the element type stays."""
    values = np.asarray(values)
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4).astype(
        values.dtype
    )


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Return linear light as display values, element by element; the element type stays."""
    values = np.asarray(values)
    return np.where(
        values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055
    ).astype(values.dtype)


def srgb_slope(values: np.ndarray) -> np.ndarray:
    """Return d display / d light at linear light, element by element; 0 outside of 0 to 1, where the display clips."""
    values = np.asarray(values)
    slope = np.where(values <= 0.0031308, 12.92, 1.055 / 2.4 * np.maximum(values, 0.0031308) ** (1 / 2.4 - 1))
    return np.where((values > 0) & (values < 1), slope, 0.0)
