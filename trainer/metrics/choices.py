"""Frequencies of categorical attributes: of the prior, of a learned model, and of sampled scenes.

The prior and the learned model give exact probabilities; sampled scenes give relative frequencies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer.grammar import SceneGraph
from trainer.grammar.nodes import MODE, ChoiceSpec
from trainer.grammar.productions import Production
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer


@dataclass(frozen=True)
class ChoiceStatistics:
    """The frequency of each category of a categorical attribute among all nodes of one kind.

    Attributes:
        moments: mean and standard deviation, if the categories are numbers.
    """

    kind: str
    name: str
    frequencies: Mapping[str, float]
    moments: tuple[float, float] | None = None

    def to_json(self) -> dict[str, object]:
        """Return kind, name, rounded frequencies and, for numbers, mean and standard deviation."""
        rounded = {name: round(value, 5) for name, value in self.frequencies.items()}
        found: dict[str, object] = {"kind": self.kind, "name": self.name, "frequencies": rounded}
        if self.moments is not None:
            found |= dict(zip(("mean", "std"), self.moments, strict=True))
        return found


def prior_choices(encoding: Encoding) -> list[ChoiceStatistics]:
    """Return the grammar's probabilities of each mutable categorical attribute."""
    return [
        _statistics(kind, choice, choice.probabilities)
        for kind, choice in encoding.choices
        if choice.name != MODE.name  # The prior has one component.
    ]


def learned_choices(transformer: DistributionTransformer, scenes: Sequence[SceneGraph]) -> list[ChoiceStatistics]:
    """Return the mean of the probabilities that a model gives the nodes of prior scenes.

    Its variance is smaller than that of the frequencies of drawn categories (Rao-Blackwell).
    """
    encoding = transformer.encoding
    batch = encoding.encode(scenes)
    with torch.no_grad():
        probabilities = transformer.log_probabilities(batch).double().exp()
    found = []
    for place, (kind, choice) in enumerate(encoding.choices):
        own = probabilities[batch.choice_places == place]
        if not len(own):
            continue
        if bool(transformer.unsettled[place]):
            found.append(_statistics(kind, choice, own.mean(0).tolist()))
        elif choice.name != MODE.name:
            found.append(_statistics(kind, choice, choice.probabilities))
    return found


def choice_statistics(encoding: Encoding, scenes: Sequence[SceneGraph]) -> list[ChoiceStatistics]:
    """Return the frequencies of the encoding's mutable categorical attributes in sampled scenes.

    Args:
        scenes: of the encoding's grammar, or of the target's; attributes that their nodes lack are left out.
    """
    found = []
    for kind, choice in encoding.choices:
        nodes = [
            (scene.kinds[kind], node) for scene in scenes for node in scene.nodes if node.kind == kind and node.choices
        ]
        specs = {draw.name: draw for node_kind, _ in nodes[:1] for draw in (*node_kind.draws, *node_kind.choices)}
        if choice.name not in specs:
            continue
        if choice.name == MODE.name and not any(node.mode for _, node in nodes):
            continue  # There is only one component.
        spec = specs[choice.name]
        counts = np.bincount([node.choices[choice.name] for _, node in nodes], minlength=len(spec.categories))
        found.append(_statistics(kind, spec, (counts / counts.sum()).tolist()))
    return found


def production_statistics(
    productions: Sequence[Production], probabilities: Mapping[str, Sequence[float]]
) -> list[ChoiceStatistics]:
    """Return the probabilities of the productions that have names."""
    found = []
    for each in productions:
        if each.name in probabilities:
            row = probabilities[each.name]
            entry = each.name.removesuffix(f".{each.part}")
            by_category = dict(zip(each.categories, row, strict=True))
            found.append(ChoiceStatistics(entry, each.part, by_category, each.moments(row)))
    return found


def _statistics(kind: str, choice: ChoiceSpec, frequencies: Sequence[float]) -> ChoiceStatistics:
    return ChoiceStatistics(kind, choice.name, dict(zip(choice.categories, frequencies, strict=False)))
