"""How well one set of differences agrees with another: cosine and ratio of norms."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Agreement:
    """Sums over differences that were added: squares of each side, and their products.

    Attributes:
        count: how many were added.
        square, reference_square, product: Σ a², Σ b², Σ a·b.
    """

    count: int = 0
    square: float = 0.0
    reference_square: float = 0.0
    product: float = 0.0

    def add(self, values: np.ndarray, reference: np.ndarray) -> None:
        """Counts two arrays of the same shape."""
        a, b = values.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
        self.add_sums(float(a @ a), float(b @ b), float(a @ b))

    def add_sums(self, square: float, reference_square: float, product: float, count: int = 1) -> None:
        """Counts what was summed up elsewhere."""
        self.count += count
        self.square += square
        self.reference_square += reference_square
        self.product += product

    @property
    def cosine(self) -> float:
        """Of the angle between both; 1 where both are zero, 0 where one is."""
        if self.square == 0 or self.reference_square == 0:
            return 1.0 if self.square == self.reference_square else 0.0
        return self.product / math.sqrt(self.square * self.reference_square)

    @property
    def norm_ratio(self) -> float:
        """Norm over that of the reference; 1 where both are zero, infinite where the reference alone is."""
        if self.reference_square == 0:
            return 1.0 if self.square == 0 else math.inf
        return math.sqrt(self.square / self.reference_square)

    def within(self, least_cosine: float, largest_ratio_error: float) -> bool:
        """Whether the cosine is as large and the ratio as near to 1."""
        return self.cosine >= least_cosine and abs(self.norm_ratio - 1) <= largest_ratio_error
