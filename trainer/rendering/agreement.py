"""The agreement of two sets of differences: cosine and ratio of norms."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Agreement:
    """Sums over all differences that were added: squares of each side, and their products.

    Attributes:
        count: number of differences that were added.
        square, reference_square, product: Σ a², Σ b², Σ a·b.
    """

    count: int = 0
    square: float = 0.0
    reference_square: float = 0.0
    product: float = 0.0

    def add(self, values: np.ndarray, reference: np.ndarray) -> None:
        """Add two arrays of the same shape."""
        a, b = values.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
        self.add_sums(float(a @ a), float(b @ b), float(a @ b))

    def add_sums(self, square: float, reference_square: float, product: float, count: int = 1) -> None:
        """Add sums that were computed elsewhere."""
        self.count += count
        self.square += square
        self.reference_square += reference_square
        self.product += product

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both; 1 if both are zero, 0 if one is."""
        if self.square == 0 or self.reference_square == 0:
            return 1.0 if self.square == self.reference_square else 0.0
        return self.product / math.sqrt(self.square * self.reference_square)

    @property
    def norm_ratio(self) -> float:
        """Norm divided by that of the reference; 1 if both are zero, infinite if only the reference is."""
        if self.reference_square == 0:
            return 1.0 if self.square == 0 else math.inf
        return math.sqrt(self.square / self.reference_square)

    def within(self, least_cosine: float, largest_ratio_error: float) -> bool:
        """Return whether cosine and ratio of norms are within these bounds."""
        return self.cosine >= least_cosine and abs(self.norm_ratio - 1) <= largest_ratio_error
