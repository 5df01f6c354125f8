"""The global stage of many attributes: a start that is read off the target's images.

A search over the ranges of many attributes hits nothing by chance. Instead a network learns to read images over the
whole ranges, and what it says of the target's is where to start; then again over narrower windows around that:
sequential neural estimation (Papamakarios & Murray, Fast ε-free Inference of Simulation Models with Bayesian
Conditional Density Estimation, NIPS 2016), with the mean in place of a density. Attributes that cannot be read yet keep
their whole range, and become readable where what hides them has been put in its place. Of an angle the axis may be read
first; then the window is around both directions of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from trainer.features import features_of
from trainer.features.dense import DenseFeatures
from trainer.features.readout import Readout, Window
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.learning.moments import SEEN, inside
from trainer.learning.problem import Problem, dense_network, scatter
from trainer.model.drawing import shifted
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.statistics import deviation, mean_of

#: Most turns, each with windows half as wide as the one before; two where everything could be read.
TURNS = 3
#: Multiples of angles that are read: of the double as well, for an axis whose direction is not seen yet.
MULTIPLES = (1, 2)
#: Widest window around an axis, to each side of either direction.
WIDEST_AXIS_DEG = 45.0
#: One in so many renders is kept back, to see what can be read.
_KEPT_BACK = 8


class Sight(Enum):
    """What can be read of an attribute."""

    NOTHING = 0
    AXIS = 1
    VALUE = 2


@dataclass(frozen=True)
class Reader:
    """A network, and what its features stand for."""

    network: DenseFeatures
    readout: Readout


def read_start(
    problem: Problem, transformer: DistributionTransformer, places: Sequence[int]
) -> tuple[np.ndarray, Reader]:
    """The shift [len(places)] to the target's means, in the attributes' units; and what has read it.

    Attributes that cannot be read are not shifted.
    """
    shift = np.zeros(len(places))
    sights = [Sight.NOTHING] * len(places)
    reader = None
    for turn in range(TURNS):
        prior = problem.scenes(Purpose.READING, problem.settings.feature_images, turn)
        scenes = shifted(transformer, prior, places, shift)
        window = _window(problem, places, shift, sights, 0.5**turn, Window.around(problem.encoding, scenes))
        reader, truth, ours = learn_to_read(problem, reader, scenes, window, Purpose.READING, turn)
        theirs = features_of(reader.network, problem.target)
        for index, place in enumerate(places):
            spec = problem.encoding.mutable[place][1]
            for sight, multiple in ((Sight.VALUE, 1), (Sight.AXIS, 2)):
                if sight is Sight.AXIS and not spec.wraps:
                    continue
                values = [reader.readout.numbers(features, multiple)[:, place] for features in (truth, ours, theirs)]
                mean = read_mean(values[0], values[1], values[2], spec, multiple)
                if mean is not None:
                    shift[index] = inside(mean - spec.distribution.mean, spec)
                    sights[index] = sight
                    break
        if turn and all(sight is Sight.VALUE for sight in sights):
            break
    assert reader is not None
    return shift, reader


def learn_to_read(
    problem: Problem,
    reader: Reader | None,
    scenes: Sequence[SceneGraph],
    window: Window,
    purpose: Purpose,
    index: int,
) -> tuple[Reader, torch.Tensor, torch.Tensor]:
    """Goes on learning, now from the scenes with their attributes anywhere in the window.

    Args:
        reader: which has learned before; None: none has.
        purpose, index: of the random numbers.

    Returns:
        The reader; and of renders that it has not learned from what is the case and what it says [N, D].
    """
    readout = Readout.of(problem.encoding, window, MULTIPLES)
    network = dense_network(problem, readout) if reader is None else reader.network
    if reader is not None:
        network.rescale(reader.readout, readout)
    scattered = scatter(problem, scenes, window, purpose, index)
    images, labels = problem.labelled(scattered, readout, purpose, index, "render to learn to read")
    kept_back = np.arange(len(images)) % _KEPT_BACK == 0
    learned_from, tested_on = np.flatnonzero(~kept_back), np.flatnonzero(kept_back)
    epochs = problem.settings.reading_epochs
    network.fit(
        images[learned_from],
        labels.chosen(learned_from),
        epochs if reader is None else max(1, epochs // 2),
        torch_generator(problem.seed, purpose, 3, index),
        problem.progress.stage("learn to read"),
    )
    truth = torch.from_numpy(labels.means[tested_on])
    return Reader(network, readout), truth, features_of(network, images[tested_on])


def read_mean(
    truth: np.ndarray, read: np.ndarray, target: np.ndarray, spec: AttributeSpec, multiple: int = 1
) -> float | None:
    """The target's mean.

    Args:
        truth: the attribute in renders [N], spread evenly.
        read: what is read off these renders [N].
        target: what is read off the target's images [M].
        multiple: of an angle that wraps; 2: axes, which are the same after half a turn.

    Returns:
        None where the attribute cannot be read.
    """
    if spec.wraps:  # Of angles all round there is no line to fit; directions are right on average.
        errors = np.deg2rad(multiple * (read - truth))
        return mean_of(multiple * target, True) / multiple if float(np.cos(errors).mean()) > SEEN else None
    centre = mean_of(truth, spec.is_angle)
    a, b, c = (deviation(values, centre, spec.is_angle) for values in (truth, read, target))
    slope = float(np.cov(a, b)[0, 1] / a.var(ddof=1))
    if not slope > 0 or slope**2 * a.var() < SEEN * b.var():
        return None
    return centre + float(np.median(c) - np.median(b)) / slope + float(np.median(a))


def _window(
    problem: Problem, places: Sequence[int], shift: np.ndarray, sights: Sequence[Sight], part: float, around: Window
) -> Window:
    """The whole range of the attributes at `places`; of those that were read a part of it, around their shift."""
    centre, half_width = around.centre.copy(), around.half_width.copy()
    opposite = set()
    for index, place in enumerate(places):
        kind, spec = problem.encoding.mutable[place]
        if sights[index] is Sight.NOTHING:
            half_width[:, place] = (spec.high - spec.low) / 2
            centre[:, place] = (spec.low + spec.high) / 2
            continue
        half_width[:, place] = (spec.high - spec.low) / 2 * part
        centre[:, place] = spec.distribution.mean + shift[index]
        if sights[index] is Sight.AXIS:
            half_width[:, place] = np.minimum(half_width[:, place], WIDEST_AXIS_DEG)
            opposite.add((kind, spec.name))
    return Window(centre, half_width, frozenset(opposite))
