"""The global stage: which of the valleys that the search has found the target lies in, and where in them.

The MMDs of valleys say more of how well each was hit than of which one is right. So a network learns from renders
scattered around each valley to tell them apart, and votes on the target's images: model choice by a classifier, as in
approximate Bayesian computation (Pudlo et al., 2016). The shares of the votes are corrected for what the classifier
confuses on renders that it has not learned from (Lipton et al., Detecting and Correcting for Label Shift with Black Box
Predictors, ICML 2018).

That holds only if the target looks like the renders of its valley. So the same network learns how far each attribute
lies from its valley's centre; the centres move to where it reads the target, and all is done again until they stay.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor

from trainer.features import features_of
from trainer.features.readout import Readout, Window
from trainer.features.simulator import SimulatorFeatures
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.inference.moments import FEWEST, inside, read_shift
from trainer.inference.problem import Problem, feature_network, scatter
from trainer.inference.search import VALLEY_WIDTH, distance
from trainer.metrics.attributes import deviation, mean_of
from trainer.model.drawing import shifted
from trainer.model.transformer import MINORITY, DistributionTransformer
from trainer.randomness import Purpose, torch_generator

#: By how much the search may have missed a valley's bottom, as a fraction of the features' window.
MISSED = 0.4
#: Most turns of rendering, learning and moving the centres.
TURNS = 6
#: Centres are right when none that matters moves by more, in half widths.
SETTLED = 0.15
#: One in so many renders is kept back, to see what the network confuses.
_KEPT_BACK = 4


def compare(
    problem: Problem, transformer: DistributionTransformer, places: Sequence[int], valleys: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The shares [V] of the target's images that come from each valley; and the valleys, centred on them.

    Args:
        places: the attributes at `encoding.mutable` that the valleys are shifts of.
        valleys: V shifts [len(places)], in the attributes' units.
    """
    settings, encoding = problem.settings, problem.encoding
    specs = [encoding.mutable[place][1] for place in places]
    network = feature_network(problem, [len(valleys), len(places)], Purpose.VALLEYS)
    found, centres = np.zeros(0), list(valleys)
    for turn in range(TURNS):
        centres = aligned(specs, centres)
        images, truth, half_widths = [], [], []
        for index, centre in enumerate(centres):
            number = turn * len(valleys) + index
            scenes, half_width = _around(problem, transformer, places, centre, number)
            truth.append(np.column_stack([np.full(len(scenes), index), _offsets(problem, places, scenes, half_width)]))
            half_widths.append(half_width)
            images.append(problem.images(scenes, Purpose.VALLEYS, number, f"render valley {index + 1}"))
        seen, known = np.concatenate(images), np.concatenate(truth)
        kept_back = np.arange(len(seen)) % _KEPT_BACK == 0
        network.fit(
            seen[~kept_back],
            known[~kept_back].astype(np.float32),
            settings.feature_epochs,
            torch_generator(problem.seed, Purpose.VALLEYS, turn),
            problem.progress.step("choose the valley"),
            _class_and_offsets,
        )
        ours, theirs = _read(network, seen[kept_back], len(valleys)), _read(network, problem.target, len(valleys))
        classes = known[kept_back, 0]
        confusion = np.stack([ours[0][classes == index].mean(0) for index in range(len(valleys))])
        found = shares(theirs[0].mean(0), confusion)
        moved = np.zeros(len(valleys))
        for index in range(len(valleys)):
            rendered = (classes == index) & (ours[0].argmax(1) == index)
            wanted = theirs[0].argmax(1) == index
            if min(rendered.sum(), wanted.sum()) < FEWEST:
                continue
            for column, spec in enumerate(specs):
                shift = read_shift(
                    known[kept_back][rendered, 1 + column], ours[1][rendered, column], theirs[1][wanted, column]
                )
                if shift is None:
                    moved[index] = 1.0  # The network, which goes on learning, may see it next time.
                else:
                    step = float(np.clip(shift, -1, 1))
                    moved[index] = max(moved[index], abs(step))
                    centres[index][column] = inside(centres[index][column] + step * half_widths[index][column], spec)
        if moved[found >= MINORITY].max(initial=0.0) < SETTLED:
            break
    return found, centres


def shares(votes: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """The shares [V] w >= 0 of classes in a population, Σ w = 1, for which w @ confusion is nearest to the votes.

    Args:
        votes: [V], what a classifier says of the population's members on average.
        confusion: [V, V], what it says on average of members of each class.
    """
    heavy = 1e3  # The sum is no matter of accuracy.
    weights, _ = nnls(np.vstack([confusion.T, np.full((1, len(votes)), heavy)]), np.append(votes, heavy))
    return weights / weights.sum()


def aligned(specs: Sequence[AttributeSpec], valleys: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The valleys [len(specs)] with attributes that differ by less than a valley's width made equal.

    Such differences say how well each valley was hit. A classifier would see them, and take a target between them for
    either.
    """
    columns = np.array(valleys)
    for place, spec in enumerate(specs):
        values = columns[:, [place]].copy()
        left = list(range(len(values)))
        while left:
            near = [i for i in left if distance([spec], values[i], values[left[0]]) < VALLEY_WIDTH]
            columns[near, place] = mean_of(values[near], spec.wraps)
            left = [i for i in left if i not in near]
    return list(columns)


def _around(
    problem: Problem, transformer: DistributionTransformer, places: Sequence[int], centre: np.ndarray, number: int
) -> tuple[list[SceneGraph], np.ndarray]:
    """Scenes scattered around a valley, and over which half widths [len(places)]."""
    scenes = problem.scenes(Purpose.VALLEYS, problem.settings.valley_images, number)
    moved = shifted(transformer, scenes, places, centre)
    window = Window.around(problem.encoding, moved).narrowed(MISSED)
    scattered = scatter(problem, moved, window, Purpose.VALLEYS, number)
    widths = window.half_width[:, places]
    seen = np.isfinite(widths)
    return scattered, np.where(seen.any(0), np.where(seen, widths, 0).sum(0) / np.maximum(seen.sum(0), 1), 1.0)


def _offsets(
    problem: Problem, places: Sequence[int], scenes: Sequence[SceneGraph], half_width: np.ndarray
) -> np.ndarray:
    """How far each scene's attributes lie from their mean [N, len(places)], in half widths."""
    encoding = problem.encoding
    readout = Readout.of(encoding, Window.around(encoding, scenes))
    values = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in scenes])))
    columns = []
    for place in places:
        is_angle = encoding.mutable[place][1].is_angle
        columns.append(deviation(values[:, place], mean_of(values[:, place], is_angle), is_angle))
    return np.stack(columns, 1) / half_width


def _class_and_offsets(output: Tensor, wanted: Tensor) -> Tensor:
    classes = output.shape[1] - wanted.shape[1] + 1
    loss: Tensor = F.cross_entropy(output[:, :classes], wanted[:, 0].long())
    return loss + F.mse_loss(output[:, classes:], wanted[:, 1:])


def _read(network: SimulatorFeatures, images: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Votes [N, classes] and offsets [N, ...]."""
    output = features_of(network, images).double()
    return output[:, :classes].softmax(1).numpy(), output[:, classes:].numpy()
