"""The global stage: sets where gradient descent starts, as one shift or as the modes of a mixture.

The search (`trainer.inference.search`) finds valleys of the MMD; `trainer.inference.comparing` says which part of the
target lies in each. Where there are too many attributes for a search, the start is read off the target's images
(`trainer.inference.reading`). A target that lies in several valleys is a mixture, and the parts are the first weights
of the modes. (The paper names such targets as future work.)
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.features import features_of
from trainer.features.pyramid import PixelPyramid
from trainer.grammar.nodes import MODES
from trainer.inference.comparing import compare
from trainer.inference.problem import Problem
from trainer.inference.reading import Reader, read_start
from trainer.inference.search import VALLEY_WIDTH, distance, find_valleys
from trainer.metrics.mmd import MMD
from trainer.model.drawing import shifted
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator, integer


def place(problem: Problem, transformer: DistributionTransformer, places: Sequence[int]) -> Reader | None:
    """Finds a start for the attributes at `places` of `encoding.mutable`, and sets the transformer's buffers.

    Returns:
        What has learned to read images, if the start was read.
    """
    if problem.settings.start == "prior" or not places:
        return None
    reader = None
    if problem.reads_start:
        start, reader = read_start(problem, transformer, places)
        valleys = [start]
    else:
        valleys = _search(problem, transformer, places)
    weights = np.ones(1)
    if len(valleys) > 1:
        weights, valleys = compare(problem, transformer, places, valleys)
    kept = [(float(weights[i]), valleys[i]) for i in np.argsort(-weights, kind="stable")[:MODES]]
    for kind in dict.fromkeys(problem.encoding.mutable[place][0] for place in places):
        _set_modes(problem, transformer, kind, places, kept)
    return reader


def _search(problem: Problem, transformer: DistributionTransformer, places: Sequence[int]) -> list[np.ndarray]:
    """Shifts [len(places)] to the valleys of the MMD."""
    settings = problem.settings
    scenes = problem.scenes(Purpose.SEARCH, settings.search_scenes)
    pyramid = PixelPyramid()
    mmd = MMD(features_of(pyramid, problem.target))

    def features(shift: np.ndarray) -> Tensor:
        moved = shifted(transformer, scenes, places, shift)
        images = problem.renderer.images(moved, integer(problem.seed, Purpose.SEARCH))
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
        progress=problem.progress.step("search the start"),
    )
    return valleys


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
    modes.sort(key=lambda pair: -pair[0])
    if len(transformer.modes(kind)) > 1:  # Of an earlier stage: what joins follows the best.
        modes = [(0.0, modes[0][1])] * MODES
    else:
        transformer.set_modes(kind, {mode: weight for mode, (weight, _) in enumerate(modes)})
    columns = [places[i] for i in own]
    for mode in range(MODES):
        shift = modes[mode][1] if mode < len(modes) else modes[0][1]
        transformer.shift[mode, columns] += torch.from_numpy(shift).float()
