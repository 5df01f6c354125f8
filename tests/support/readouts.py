"""What features stand for, in tests."""

from collections.abc import Sequence

import numpy as np

from trainer.features.readout import Readout, Window
from trainer.grammar import Grammar
from trainer.model.encoding import Encoding


def wide_readout(grammar: Grammar, multiples: Sequence[int] = (1,)) -> Readout:
    """Of all mutable attributes, as widely as the prior has them."""
    encoding = Encoding(grammar)
    rng = np.random.default_rng(0)
    return Readout.of(encoding, Window.around(encoding, [grammar.sample(rng) for _ in range(200)]), multiples)
