"""The camera's response, the effect of sensor and processing on a rendered image; see `CameraResponse` in scene.proto.

It acts on display values after rendering, so derivatives of and through the response need no render.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from metasim.colour import linear_to_srgb, srgb_to_linear
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from render_server.engines.frame import quantise
from render_server.jacobian.regions import Window

#: Luminance of linear red, green and blue (IEC 61966-2-1).
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: From CIE XYZ to linear sRGB.
_XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
#: The colour temperature of the camera's white balance, in kelvin.
NEUTRAL_K = 6500.0
#: Half-width of a blur's kernel, in standard deviations.
_REACH = 4.0


@dataclass(frozen=True)
class CameraResponse:
    """The parameters, with the names, units and ranges of scene.proto; the defaults change nothing."""

    exposure_ev: float = 0.0
    temperature_k: float = NEUTRAL_K
    tint: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    vignetting: float = 0.0
    blur_px: float = 0.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    jpeg_quality: float = 0.0

    @classmethod
    def from_proto(cls, message: pb.CameraResponse) -> "CameraResponse":
        """Return the parameters of a message, with defaults filled in."""
        given = {field.name: value for field, value in message.ListFields()}
        return cls(**given)

    @property
    def neutral(self) -> bool:
        """Return whether the response changes nothing."""
        return self == CameraResponse()

    @property
    def reach_px(self) -> int:
        """Return the distance in pixels over which a pixel has an effect."""
        return math.ceil(_REACH * self.blur_px + 0.5) if self.blur_px > 0 else 0


class Sensor:
    """Applies responses to the images of one task.

    Args:
        width_px, height_px: of the whole frame.
        seed: of the noise.
        linear: whether display values stand for sRGB-encoded light; otherwise they count as linear.
    """

    def __init__(self, width_px: int, height_px: int, seed: int, *, linear: bool) -> None:
        self._width, self._height, self._seed, self._linear = width_px, height_px, seed, linear
        self._noise: np.ndarray | None = None

    @property
    def frame(self) -> Window:
        """Return the window of the whole frame."""
        return Window(0, 0, self._width, self._height)

    def image(self, rendered: np.ndarray, response: CameraResponse) -> np.ndarray:
        """Return the frame as taken by the camera.

        Args:
            rendered: float32 [height, width, 3], display values in 0..1.

        Returns:
            float32 [height, width, 3] in 0..1.
        """
        taken = self.values(rendered, response, self.frame)
        quality = round(response.jpeg_quality)
        return _jpeg(taken, quality) if quality >= 1 else taken

    def values(self, rendered: np.ndarray, response: CameraResponse, window: Window) -> np.ndarray:
        """Return display values float32 [h, w, 3] of a window of the frame, without the JPEG compression.

        Args:
            rendered: float32 [h, w, 3], the window's display values.
        """
        x = np.asarray(rendered, np.float32)
        x = np.clip(x, 0, None)
        x = srgb_to_linear(x) if self._linear else x
        x = blurred(x, response.blur_px) if response.blur_px > 0 else x
        gain = (2.0**response.exposure_ev * white_balance(response.temperature_k, response.tint)).astype(np.float32)
        x = x * gain
        if response.vignetting:
            x = x * (1 - np.float32(response.vignetting) * self._radius_squared(window))[..., None]
        x = np.clip(x, 0, 1)
        x = linear_to_srgb(x) if self._linear else x
        if response.contrast != 1:
            up, down = x ** np.float32(response.contrast), (1 - x) ** np.float32(response.contrast)
            x = up / (up + down)
        if response.saturation != 1:
            grey = (x @ _LUMINANCE)[..., None]
            x = np.clip(grey + np.float32(response.saturation) * (x - grey), 0, 1)
        if response.shot_noise or response.read_noise:
            variance = np.float32(response.shot_noise) ** 2 * x + np.float32(response.read_noise) ** 2
            x = x + self._normal()[window.slices] * np.sqrt(variance)
        return np.clip(x, 0, 1)

    def difference(
        self, rendered: np.ndarray, difference: np.ndarray, window: Window, response: CameraResponse
    ) -> tuple[Window, np.ndarray]:
        """Return the change of the taken image for a change of the rendered one, and the changed window.

        It is the central difference about the rendered image, so it is exact to second order.

        Args:
            rendered: float32 [height, width, 3], the whole frame.
            difference: [h, w, 3], rendered display values in the window at the end minus the start of a step.
        """
        reach = response.reach_px
        outer, around = self._grown(window, reach), self._grown(window, 2 * reach)
        half = np.zeros((around.height, around.width, 3), np.float32)
        half[_within(window, around)] = difference.astype(np.float32) / 2
        base = rendered[around.slices]
        change = self.values(base + half, response, around) - self.values(base - half, response, around)
        return outer, change[_within(outer, around)]

    def _grown(self, window: Window, by: int) -> Window:
        if not window.pixels:
            return window
        return Window(
            max(0, window.left - by),
            max(0, window.top - by),
            min(self._width, window.right + by),
            min(self._height, window.bottom + by),
        )

    def _radius_squared(self, window: Window) -> np.ndarray:
        """(r / R)² [h, w] float32."""
        x = (np.arange(window.left, window.right) + 0.5 - self._width / 2) ** 2
        y = (np.arange(window.top, window.bottom) + 0.5 - self._height / 2) ** 2
        corner = (self._width / 2) ** 2 + (self._height / 2) ** 2
        return ((x[None, :] + y[:, None]) / corner).astype(np.float32)

    def _normal(self) -> np.ndarray:
        """The noise's normal numbers, float32 [height, width, 3]."""
        if self._noise is None:
            draws = np.random.default_rng(self._seed)
            self._noise = draws.standard_normal((self._height, self._width, 3), dtype=np.float32)
        return self._noise


def white_balance(temperature_k: float, tint: float) -> np.ndarray:
    """Return the factors [3] of linear red, green and blue under light of a colour temperature.

    The light's chromaticity is the Planckian locus in the cubic approximation of Kang et al. (2002), at constant
    luminance, relative to `NEUTRAL_K`.
    """
    if temperature_k == NEUTRAL_K and tint == 0:
        return np.ones(3)
    factors: np.ndarray = np.maximum(_planckian_rgb(temperature_k), 0) / _planckian_rgb(NEUTRAL_K)
    factors[1] /= 2.0**tint
    return factors


def _planckian_rgb(kelvin: float) -> np.ndarray:
    """Linear sRGB [3] of luminance 1 on the Planckian locus; blue may be negative below 1900 K."""
    t = 1000 / kelvin
    if kelvin <= 4000:
        x = ((-0.2661239 * t - 0.2343589) * t + 0.8776956) * t + 0.179910
    else:
        x = ((-3.0258469 * t + 2.1070379) * t + 0.2226347) * t + 0.240390
    if kelvin <= 2222:
        y = ((-1.1063814 * x - 1.34811020) * x + 2.18555832) * x - 0.20219683
    elif kelvin <= 4000:
        y = ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867
    else:
        y = ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483
    return _XYZ_TO_RGB @ np.array([x / y, 1.0, (1 - x - y) / y])


def blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return an image [h, w, 3] blurred by a Gaussian integrated over pixels; edge pixels are extended."""
    reach = math.ceil(_REACH * sigma_px + 0.5)
    edges = [0.5 * math.erf((k - 0.5) / (sigma_px * math.sqrt(2))) for k in range(-reach, reach + 2)]
    weights = np.diff(edges)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        padded = np.pad(image, padding, mode="edge")
        size = image.shape[axis]
        image = sum(
            (weight * padded.take(np.arange(k, k + size), axis) for k, weight in enumerate(weights)),
            start=np.zeros_like(image),
        )
    return image


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(quantise(image)).save(buffer, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(buffer), np.float32) / 255


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Return the rows and columns of a window inside the array of another."""
    top, left = inner.top - outer.top, inner.left - outer.left
    return slice(top, top + inner.height), slice(left, left + inner.width)
