"""Colour translation: one map for all images, from the renders' colours to the photographs'."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from trainer.randomness import Purpose, generator
from trainer.tasks.task_settings import changed_settings
from trainer.translation.colour_transfer import (
    LATTICE,
    lattice,
    looked_up,
    moments_transfer,
    sliced_transport,
)
from trainer.translation.guidance import UNKNOWN, Buffers
from trainer.translation.translator import FitInputs, Translator

#: Number of pixels of renders and of photographs to which a map is fitted.
_PIXELS = 50_000


@dataclass(frozen=True)
class ColourSettings:
    """Settings of the method `color`."""

    #: transport: sliced optimal transport of colours; moments: mean and standard deviation in lαβ (Reinhard).
    matching: Literal["transport", "moments"] = "transport"


class ColourTranslator(Translator):
    """Applies a colour look-up table. Edges keep their positions, since equal colours stay equal.

    Args:
        table: float32 [LATTICE, LATTICE, LATTICE, 3]; see `looked_up`.
    """

    method = "color"

    def __init__(self, table: np.ndarray, settings: ColourSettings = ColourSettings()) -> None:
        super().__init__()
        self.table, self.settings = table, settings

    @classmethod
    def _fitted(cls, inputs: FitInputs) -> Self:
        chosen = changed_settings(ColourSettings(), inputs.settings, "")
        rng = generator(inputs.seed, Purpose.TRANSLATION)
        source, target = (colours_of(images, _PIXELS, rng) for images in (inputs.renders.images, inputs.photographs))
        if chosen.matching == "moments":
            found = moments_transfer(lattice(), source, target)
        else:
            found = sliced_transport(lattice(), source, target, rng)
        table = found.clip(0, 1).astype(np.float32).reshape(LATTICE, LATTICE, LATTICE, 3)
        return cls(table, chosen)

    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        """See `Translator.apply`."""
        del buffers
        return looked_up(image, self.table)

    def _tensors(self) -> dict[str, Tensor]:
        return {"table": torch.from_numpy(self.table)}

    def _values(self) -> dict[str, Any]:
        return asdict(self.settings)

    @classmethod
    def _restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return cls(tensors["table"].reshape(LATTICE, LATTICE, LATTICE, 3).numpy(), ColourSettings(**values))


def colours_of(images: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return random pixels of images uint8 [N, H, W, 3] as colours float64 [count, 3] in [0, 1]."""
    pixels = images.reshape(-1, 3)
    return pixels[rng.integers(len(pixels), size=count)] / 255.0
