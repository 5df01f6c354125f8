"""A transformer G_θ with known weights: it moves attributes by known amounts, and changes nothing else."""

import math
from collections.abc import Mapping, Sequence

import torch

from trainer.grammar.nodes import MODE
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer


def move(transformer: DistributionTransformer, amounts: Mapping[str, float | Sequence[float]]) -> None:
    """Set the weights so that attributes move by some amounts, by "kind.name", in their units.

    Several amounts are those of the first modes. One hidden feature says that a node is of a kind, and of a mode where
    there are several; the messages are silent; the output is the amount, in the code of the attribute.
    """
    encoding = transformer.encoding
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.zero_()
        feature = 0
        for name, amount in amounts.items():
            kind, attribute = name.split(".")
            spec = next(spec for owner, spec in encoding.mutable if (owner, spec.name) == (kind, attribute))
            several = isinstance(amount, Sequence)
            for mode, value in enumerate(amount if isinstance(amount, Sequence) else [amount]):
                transformer.input.weight[feature, encoding.kinds.index(kind)] = 1
                if several:
                    transformer.input.weight[feature, _mode_column(encoding, kind) + mode] = 1
                    transformer.input.bias[feature] = -1
                slot = encoding.slots[attribute]
                if spec.is_angle:  # The code is multiplied by (1 + a, b), as complex numbers.
                    turn = math.radians(value)
                    codes = [math.cos(turn) - 1, math.sin(turn)]
                else:
                    codes = [value / encoding.unit_of(spec)]
                for column, code in enumerate(codes, slot.start):
                    transformer.output.weight[column, feature] = code
                feature += 1


def _mode_column(encoding: Encoding, kind: str) -> int:
    place = next(i for i, (owner, choice) in enumerate(encoding.choices) if owner == kind and choice is MODE)
    return encoding.choice_starts[place]


def moving(encoding: Encoding, amounts: Mapping[str, float | Sequence[float]]) -> DistributionTransformer:
    """Return a transformer that moves attributes by some amounts; see `move`."""
    transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
    move(transformer, amounts)
    return transformer
