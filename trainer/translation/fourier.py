"""Fourier domain adaptation (FDA; Yang & Soatto, CVPR 2020): a photograph's light with a render's content."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trainer.errors import InputError
from trainer.features.appearance import low_amplitude, with_low_amplitude
from trainer.tasks.task_settings import changed_settings
from trainer.translation.guidance import UNKNOWN, Buffers
from trainer.translation.translator import FitInputs, Translator, image_generator


@dataclass(frozen=True)
class FourierSettings:
    """Settings of the method `fourier`."""

    #: Highest exchanged frequency, in periods per pixel of the shorter side. The paper uses 0.01 to 0.09.
    beta: Annotated[float, Field(ge=0, lt=0.5)] = 0.01


class FourierTranslator(Translator):
    """Gives each image the low-frequency amplitude of one photograph, selected by the image's pixels.

    Args:
        amplitudes: float32 [M, 2 r + 1, r + 1, 3], of each photograph; see `low_amplitude`.
    """

    method = "fourier"

    def __init__(self, amplitudes: np.ndarray, settings: FourierSettings) -> None:
        super().__init__()
        self.amplitudes, self.settings = amplitudes, settings

    @classmethod
    def _fitted(cls, inputs: FitInputs) -> Self:
        chosen = changed_settings(FourierSettings(), inputs.settings, "")
        return cls(np.stack([low_amplitude(image, chosen.beta) for image in inputs.photographs]), chosen)

    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        """See `Translator.apply`.

        Raises:
            InputError: the image is too small for the exchanged frequencies.
        """
        del buffers
        reach = self.amplitudes.shape[2] - 1
        if min(image.shape[:2]) < 2 * reach + 2:
            raise InputError(
                f"an image of {image.shape[1]} x {image.shape[0]} px is too small for {reach} periods; give images "
                f"of at least {2 * reach + 2} px, or a model that was fitted with a smaller beta"
            )
        chosen = image_generator(image).integers(len(self.amplitudes))
        return with_low_amplitude(image, self.amplitudes[chosen])

    def _tensors(self) -> dict[str, Tensor]:
        return {"amplitudes": torch.from_numpy(self.amplitudes)}

    def _values(self) -> dict[str, Any]:
        return asdict(self.settings)

    @classmethod
    def _restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(tensors["amplitudes"].numpy(), FourierSettings(**values))
