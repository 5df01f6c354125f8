"""Random appearance: the response of a random camera, applied to images.

An estimator trained on renders alone relies on their sharpness, contrast and noise. Trained on renders that pass
through a random camera, it also reads photographs (domain randomisation).
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

#: Fraction of renders that take the low frequencies of a photograph.
ADAPTED = 0.5

#: Maps 8-bit images [N, H, W, 3] and a generator to images as taken by a camera.
Appearance = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class RandomCamera:
    """Ranges of a camera's response; each image draws its own values, uniformly."""

    #: Exponent of the response curve; drawn uniformly in its logarithm.
    gamma: tuple[float, float] = (0.6, 1.6)
    #: Factor of all display values.
    gain: tuple[float, float] = (0.5, 1.1)
    #: Haze: added to all display values, in parts of full scale.
    offset: tuple[float, float] = (0.0, 0.3)
    #: White balance: factor of each channel, beside the gain.
    balance: tuple[float, float] = (0.85, 1.15)
    #: Standard deviation of a Gaussian blur, in pixels.
    blur_px: tuple[float, float] = (0.0, 1.0)
    #: Standard deviation of Gaussian noise, in parts of full scale.
    noise: tuple[float, float] = (0.0, 0.1)
    #: JPEG quality; applied to half of the images.
    jpeg_quality: tuple[int, int] = (40, 95)
    #: Fraction of images left unchanged.
    unchanged: float = 0.2

    def of_known_colours(self) -> "RandomCamera":
        """Return this camera with a response that barely changes brightness and colours."""
        return replace(self, gamma=(0.87, 1.15), gain=(0.97, 1.03), offset=(0.0, 0.04), balance=(0.97, 1.03))

    def apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the images as taken by this camera.

        Args:
            images: uint8 [N, H, W, 3], RGB.
            rng: the same generator state gives the same images.

        Returns:
            uint8 [N, H, W, 3], a new array.
        """
        seeds = rng.integers(2**63, size=len(images))
        return np.stack(
            [self._one(image, np.random.default_rng(seed)) for image, seed in zip(images, seeds, strict=True)]
        )

    def _one(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < self.unchanged:
            return image
        x = image.astype(np.float32) / 255
        x = x ** np.float32(np.exp(rng.uniform(*np.log(self.gamma))))
        x = x * (rng.uniform(*self.gain) * rng.uniform(*self.balance, size=3)).astype(np.float32)
        x = x + np.float32(rng.uniform(*self.offset))
        blur = rng.uniform(*self.blur_px)
        x = ndimage.gaussian_filter(x, (blur, blur, 0), mode="nearest") if blur > 0.05 else x
        x = x + np.float32(rng.uniform(*self.noise)) * rng.standard_normal(x.shape, dtype=np.float32)
        taken = (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
        return _jpeg(taken, int(rng.integers(*self.jpeg_quality))) if rng.random() < 0.5 else taken


@dataclass(frozen=True)
class PhotographicAppearance:
    """The appearance of renders for reading photographs: a random camera, and on some the photographs' low frequencies.

    Attributes:
        photographs: uint8 [M, H, W, 3], M >= 1.
    """

    camera: RandomCamera
    photographs: np.ndarray

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return uint8 [N, H, W, 3], a new array; the same generator state gives the same images."""
        taken = self.camera.apply(images, rng)
        chosen = np.flatnonzero(rng.random(len(taken)) < ADAPTED)
        if len(chosen):
            taken[chosen] = fourier_adapted(taken[chosen], self.photographs, rng)
        return taken


def unchanged(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the images unchanged."""
    del rng
    return images


def fourier_adapted(
    images: np.ndarray, target: np.ndarray, rng: np.random.Generator, betas: Sequence[float] = (0.01, 0.05)
) -> np.ndarray:
    """Give each image the low-frequency amplitude of a random target image (Yang & Soatto, CVPR 2020, eq. 1).

        x' = F⁻¹[M_β A(target) + (1 − M_β) A(x), phase(x)]

    M_β keeps the frequencies within a square of side 2β · min(H, W) around zero, so colours and light change and the
    content stays.

    Args:
        images: uint8 [N, H, W, 3].
        target: uint8 [M, H, W, 3], M >= 1.
        rng: draws the target image and β of each image.
        betas: values of β, below 0.5.

    Returns:
        uint8 [N, H, W, 3].
    """
    chosen = rng.integers(len(target), size=len(images))
    sizes = rng.choice(np.asarray(betas), size=len(images))
    return np.stack(
        [
            with_low_amplitude(image, low_amplitude(target[other], beta))
            for image, other, beta in zip(images, chosen, sizes, strict=True)
        ]
    )


def low_amplitude(image: np.ndarray, beta: float) -> np.ndarray:
    """Return the amplitude of an image's low frequencies in parts of full scale, float32 [2 r + 1, r + 1, 3].

    r = β · min(H, W), rounded down. Row r + k holds the vertical frequency k, column l the horizontal frequency l, both
    in periods per image. The others follow from the symmetry of a real image's spectrum.

    Args:
        image: uint8 [H, W, 3].
        beta: below 0.5.
    """
    height, width = image.shape[:2]
    reach = int(beta * min(height, width))
    spectrum = np.fft.rfft2(image.astype(np.float64) / 255, axes=(0, 1), norm="forward")
    return np.abs(spectrum[np.arange(-reach, reach + 1), : reach + 1]).astype(np.float32)


def with_low_amplitude(image: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Return an image whose low frequencies have the given amplitude and their own phase.

    Args:
        image: uint8 [H, W, 3].
        amplitude: as `low_amplitude` returns it, of an image of any size; r is below min(H, W) / 2.
    """
    reach = amplitude.shape[1] - 1
    spectrum = np.fft.rfft2(image.astype(np.float64) / 255, axes=(0, 1), norm="forward")
    places = np.arange(-reach, reach + 1)
    phase = np.angle(spectrum[places, : reach + 1])
    spectrum[places, : reach + 1] = amplitude * np.exp(1j * phase)
    changed = np.fft.irfft2(spectrum, s=image.shape[:2], axes=(0, 1), norm="forward")
    return np.clip(changed * 255 + 0.5, 0, 255).astype(np.uint8)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
