"""The global stage: sets where gradient descent starts, as one shift or as the modes of a mixture.

The search (`trainer.learning.search`) finds valleys of the MMD. Their MMDs say more of how well each was hit than of
which one is right. So a network learns from renders scattered around each valley to tell them apart, and votes on the
target's images: model choice by a classifier, as in approximate Bayesian computation (Pudlo et al., 2016). The shares
of the votes are corrected for what the classifier confuses on renders that it has not learned from (Lipton et al.,
Detecting and Correcting for Label Shift with Black Box Predictors, ICML 2018). A target that lies in several valleys is
a mixture, and its shares are the first weights of the modes. (The paper names such targets as future work.)
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor

from trainer.features import features_of
from trainer.features.pyramid import PixelPyramid
from trainer.features.readout import Window
from trainer.features.simulator import SimulatorFeatures
from trainer.grammar import SceneGraph
from trainer.grammar.scene_graph import MODE, MODES
from trainer.learning.problem import Problem
from trainer.learning.search import VALLEY_WIDTH, distance, find_valleys
from trainer.losses.mmd import MMD
from trainer.model.drawing import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator, integer, torch_generator

#: By how much the search may have missed a valley's bottom, as a fraction of the features' window.
MISSED = 0.4
#: A valley with a smaller share of the target is taken for a confusion.
MINORITY = 0.1
#: By how much longer the classifier learns than the features: shares are only as sure as it tells valleys apart.
_THOROUGH = 2
#: One in so many renders is kept back, to see what the classifier confuses.
_KEPT_BACK = 4


def place(problem: Problem, transformer: DistributionTransformer, places: Sequence[int]) -> None:
    """Searches a start for the attributes at `places` of `encoding.mutable`, and sets the transformer's buffers."""
    settings = problem.settings
    if settings.search_first == 0 or not places:
        return
    scenes = problem.scenes(Purpose.SEARCH, settings.search_scenes)
    pyramid = PixelPyramid()
    mmd = MMD(features_of(pyramid, problem.target))
    before = transformer.shift.clone()

    def features(shift: np.ndarray) -> Tensor:
        transformer.shift[:, places] = before[:, places] + torch.from_numpy(shift).float()
        images = problem.renderer.images(transformed(transformer, scenes), integer(problem.seed, Purpose.SEARCH))
        return features_of(pyramid, images)

    specs = [problem.encoding.mutable[place][1] for place in places]
    valleys, _ = find_valleys(
        specs,
        features,
        mmd,
        generator(problem.seed, Purpose.SEARCH, 1),
        first=settings.search_first,
        later=settings.search_later,
        generations=settings.search_generations,
        progress=problem.progress.stage("search the start"),
    )
    transformer.shift.copy_(before)
    weights = _shares(problem, transformer, places, valleys) if len(valleys) > 1 else np.ones(1)
    order = [i for i in np.argsort(-weights, kind="stable") if weights[i] >= MINORITY][:MODES]
    kept = [(float(weights[i]), valleys[i]) for i in order]
    for kind in dict.fromkeys(problem.encoding.mutable[place][0] for place in places):
        _set_modes(problem, transformer, kind, places, kept)


def _set_modes(
    problem: Problem,
    transformer: DistributionTransformer,
    kind: str,
    places: Sequence[int],
    valleys: Sequence[tuple[float, np.ndarray]],
) -> None:
    """The modes of one kind of node: valleys that differ in its own attributes."""
    encoding = problem.encoding
    own = [i for i, place in enumerate(places) if encoding.mutable[place][0] == kind]
    specs = [encoding.mutable[places[i]][1] for i in own]
    modes: list[tuple[float, np.ndarray]] = []
    for weight, valley in valleys:
        shift = valley[own]
        near = [i for i, (_, other) in enumerate(modes) if distance(specs, shift, other) < VALLEY_WIDTH]
        if near:
            modes[near[0]] = modes[near[0]][0] + weight, modes[near[0]][1]
        else:
            modes.append((weight, shift))
    choice = next(i for i, (name, spec) in enumerate(encoding.choices) if name == kind and spec is MODE)
    if int(transformer.log_prior[choice].isfinite().sum()) > 1:  # Of an earlier stage: what joins follows the best.
        modes = [(0.0, modes[0][1])] * MODES
    else:
        weights = torch.zeros(MODES)
        weights[: len(modes)] = torch.tensor([weight for weight, _ in modes])
        transformer.log_prior[choice, :MODES] = (weights / weights.sum()).log()
    columns = [places[i] for i in own]
    for mode in range(MODES):
        shift = modes[mode][1] if mode < len(modes) else modes[0][1]
        transformer.shift[mode, columns] += torch.from_numpy(shift).float()


def _shares(
    problem: Problem, transformer: DistributionTransformer, places: Sequence[int], valleys: Sequence[np.ndarray]
) -> np.ndarray:
    """Which fraction of the target's images comes from each valley."""
    images, labels = [], []
    before = transformer.shift.clone()
    for index, valley in enumerate(valleys):
        scenes = problem.scenes(Purpose.VALLEYS, problem.settings.valley_images, index)
        transformer.shift[:, places] = before[:, places] + torch.from_numpy(valley).float()
        moved = transformed(transformer, scenes)
        window = Window.around(problem.encoding, moved).narrowed(MISSED)
        scattered = scatter(problem, moved, window, Purpose.VALLEYS, index)
        images.append(problem.images(scattered, Purpose.VALLEYS, index, f"render valley {index + 1}"))
        labels += [index] * len(scenes)
    transformer.shift.copy_(before)
    seen, known = np.concatenate(images), np.array(labels, dtype=np.int64)
    kept_back = np.arange(len(seen)) % _KEPT_BACK == 0
    network = feature_network(problem, [len(valleys)], Purpose.VALLEYS)
    network.fit(
        seen[~kept_back],
        known[~kept_back],
        _THOROUGH * problem.settings.feature_epochs,
        torch_generator(problem.seed, Purpose.VALLEYS, len(valleys)),
        problem.progress.stage("choose the valley"),
        F.cross_entropy,
    )
    posteriors = features_of(network, seen[kept_back]).double().softmax(1).numpy()
    confusion = np.stack([posteriors[known[kept_back] == index].mean(0) for index in range(len(valleys))])
    return shares(features_of(network, problem.target).double().softmax(1).numpy().mean(0), confusion)


def shares(votes: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """The shares [V] w >= 0 of classes in a population, Σ w = 1, for which w @ confusion is nearest to the votes.

    Args:
        votes: [V], what a classifier says of the population's members on average.
        confusion: [V, V], what it says on average of members of each class.
    """
    heavy = 1e3  # The sum is no matter of accuracy.
    weights, _ = nnls(np.vstack([confusion.T, np.full((1, len(votes)), heavy)]), np.append(votes, heavy))
    return weights / weights.sum()


def scatter(
    problem: Problem, scenes: Sequence[SceneGraph], window: Window, purpose: Purpose, index: int
) -> list[SceneGraph]:
    """The scenes with their mutable numbers anywhere in the window."""
    rng = generator(problem.seed, purpose, index, 1)
    return [window.scatter(problem.encoding, scene, rng) for scene in scenes]


def feature_network(problem: Problem, layers: Sequence[int], purpose: Purpose) -> SimulatorFeatures:
    """An untrained network for the problem's images."""
    settings = problem.renderer.settings
    size = settings.height_px, settings.width_px
    return SimulatorFeatures(layers, size, torch_generator(problem.seed, purpose, 4))
