"""G_θ applied to scenes: categorical attributes are drawn, then numeric ones change (paper, section 3.1).

The paper's G_θ is deterministic and leaves categories alone. Here it also gives the probabilities of the mutable ones,
and of the modes of a learned mixture. What is drawn from them follows from each scene's own noise, so the same scene is
always changed alike, and changes little when the probabilities do (inverse transform sampling, common random numbers).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.grammar import SceneGraph
from trainer.model.encoding import GraphBatch, with_values
from trainer.model.transformer import DistributionTransformer


@dataclass(frozen=True)
class Drawn:
    """Scenes whose categorical attributes have been drawn."""

    scenes: list[SceneGraph]
    batch: GraphBatch
    #: [C, most categories], with gradient, scene after scene.
    log_probabilities: Tensor


def draw(transformer: DistributionTransformer, scenes: Sequence[SceneGraph], *, offsets: Tensor | None = None) -> Drawn:
    """The scenes with categories drawn from the transformer's probabilities; their numbers are still the prior's.

    Args:
        offsets: added to the logits of every node [len(encoding.choices), most categories].
    """
    encoding = transformer.encoding
    batch = encoding.encode(scenes)
    log_probabilities = transformer.log_probabilities(batch)
    unsettled = transformer.unsettled
    if not bool(unsettled.any()):
        return Drawn(list(scenes), batch, log_probabilities)
    redrawn, present = unsettled[batch.choice_places].cpu().numpy(), batch.categories.cpu().numpy()
    logits = (
        log_probabilities.detach() if offsets is None else log_probabilities.detach() + offsets[batch.choice_places]
    )
    cumulative = logits.cpu().double().softmax(1).cumsum(1).numpy()
    drawn, first = [], 0
    for scene in scenes:
        count = len(scene.choices)
        numbers = np.random.default_rng(scene.noise).random(count)[:, None]
        part = cumulative[first : first + count]
        # The last possible category ends at 1, up to rounding.
        categories = (numbers * part[:, -1:] >= part).sum(1)
        categories = np.where(redrawn[first : first + count], categories, present[first : first + count])
        drawn.append(encoding.grammar.with_choices(scene, categories.tolist()))
        first += count
    return Drawn(drawn, encoding.encode(drawn), log_probabilities)


def changed(transformer: DistributionTransformer, batch: GraphBatch) -> Tensor:
    """New values [M] of the batch's mutable numbers, which keep their gradient where they have one."""
    values: Tensor = transformer(batch)
    if values.requires_grad:  # A world may have categories alone
        values.retain_grad()
    return values


def transformed(transformer: DistributionTransformer, scenes: Sequence[SceneGraph]) -> list[SceneGraph]:
    """Return G_θ(s) for each scene s; where nothing is mutable, the scenes."""
    if not transformer.encoding.choices:
        return list(scenes)
    with torch.no_grad():
        drawn = draw(transformer, scenes)
        return with_values(drawn.scenes, transformer(drawn.batch))
