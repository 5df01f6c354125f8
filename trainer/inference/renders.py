"""Rendered scenes with known attributes, for the training of the estimator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from trainer.inference.objects import Objects


@dataclass(frozen=True)
class Renders:
    """Rendered scenes with known attributes.

    Attributes:
        images: uint8 [N, H, W, 3].
        numbers: [N, D].
        categories: int [N, F].
        kept_back: bool [N], renders that are held out for the calibration.
        presence: uint8 [N, K, h, w], the fraction of each of the trunk's cells that shows nodes of a kind, times 255.
        objects: the nodes of repeating kinds.
    """

    images: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray
    kept_back: np.ndarray
    presence: np.ndarray
    objects: Objects

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays except those of the objects."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "objects"}

    @staticmethod
    def joined(parts: Sequence["Renders"]) -> "Renders":
        """Return the concatenation of all parts."""
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        sizes = [len(part.images) for part in parts]
        return Renders(**arrays, objects=Objects.joined([part.objects for part in parts], sizes))

    def of(self, index: np.ndarray) -> "Renders":
        """Return the renders at an index, int [n], sorted."""
        return Renders(**{name: array[index] for name, array in self.arrays.items()}, objects=self.objects.of(index))

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Return all arrays by name."""
        named = {**self.arrays, **{f"objects.{name}": array for name, array in vars(self.objects).items()}}
        return {f"{prefix}.{name}": torch.from_numpy(array) for name, array in named.items()}

    @staticmethod
    def from_state(prefix: str, tensors: Mapping[str, Tensor]) -> "Renders":
        """Return the renders from the result of `state`."""
        own = {
            name.removeprefix(f"{prefix}."): each.numpy()
            for name, each in tensors.items()
            if name.startswith(f"{prefix}.")
        }
        objects = {name: own.pop(f"objects.{name}") for name in (item.name for item in fields(Objects))}
        return Renders(**own, objects=Objects(**objects))
