"""The global stage of many attributes: a start that is read off the target's images.

A search over the ranges of many attributes hits nothing by chance. Instead a network learns to read images over the
whole ranges, and what it says of the target's is where to start; then again over windows around that, as wide as what
was read may be wrong: sequential neural estimation (Papamakarios & Murray, Fast ε-free Inference of Simulation Models
with Bayesian Conditional Density Estimation, NIPS 2016), with mean and error in place of a density. Attributes that
cannot be read yet keep their whole range, and become readable where what hides them has been put in its place. Of an
angle the axis may be read first; then the window is around both directions of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from trainer.features.dense import DenseFeatures
from trainer.features.readout import Readout, Window
from trainer.features.regions import RegionFeatures
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.inference.joint import Scattered
from trainer.inference.moments import SEEN, inside
from trainer.inference.problem import Problem, object_network, scatter
from trainer.inference.sightings import said_of
from trainer.metrics.attributes import deviation, mean_of
from trainer.model.drawing import shifted
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator

#: Most turns; fewer where the windows cannot become narrower.
TURNS = 4
#: Windows reach so many standard deviations of the error of what was read to each side, and at least this fraction of
#: the range and so many standard deviations of the prior.
ERRORS, LEAST, SPREADS = 2.0, 1 / 8, 2.0
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
class Reading:
    """What is read of an attribute off the target: its mean, and the standard deviation of the error of an image's."""

    mean: float
    error: float


@dataclass(frozen=True)
class Reader:
    """A network, and what its features stand for."""

    network: DenseFeatures | RegionFeatures
    readout: Readout


def read_start(
    problem: Problem, transformer: DistributionTransformer, places: Sequence[int]
) -> tuple[np.ndarray, Reader]:
    """The shift [len(places)] to the target's means, in the attributes' units; and what has read it.

    Attributes that cannot be read are not shifted.
    """
    specs = [problem.encoding.mutable[place][1] for place in places]
    shift = np.zeros(len(places))
    reach = np.array([(spec.high - spec.low) / 2 for spec in specs])
    least = np.array([max(LEAST * (spec.high - spec.low), SPREADS * spec.distribution.std) for spec in specs])
    sights = [Sight.NOTHING] * len(places)
    reader = None
    for turn in range(TURNS):
        prior = problem.scenes(Purpose.READING, problem.settings.feature_images, turn)
        scenes = shifted(transformer, prior, places, shift)
        window = _window(problem, places, shift, reach, sights, Window.around(problem.encoding, scenes))
        reader, kept = learn_to_read(problem, reader, scenes, window, places, Purpose.READING, turn)
        truth = torch.from_numpy(np.stack([reader.readout.read(scene) for scene in kept.scenes]))
        ours, theirs = (said_of(reader.network, images) for images in (kept.images, problem.target))
        for index, (place, spec) in enumerate(zip(places, specs, strict=True)):
            for sight, multiple in ((Sight.VALUE, 1), (Sight.AXIS, 2)):
                if sight is Sight.AXIS and not spec.wraps:
                    continue
                values = [reader.readout.numbers(features, multiple)[:, place] for features in (truth, ours, theirs)]
                reading = read_mean(values[0], values[1], values[2], spec, multiple)
                if reading is not None:
                    shift[index] = inside(reading.mean - spec.distribution.mean, spec)
                    reach[index] = min(reach[index], max(least[index], ERRORS * reading.error))
                    sights[index] = sight
                    break
        if all(sight is Sight.VALUE for sight in sights) and (reach <= least).all():
            break
    assert reader is not None
    return shift, reader


def learn_to_read(
    problem: Problem,
    reader: Reader | None,
    scenes: Sequence[SceneGraph],
    window: Window,
    places: Sequence[int],
    purpose: Purpose,
    index: int,
) -> tuple[Reader, Scattered]:
    """Goes on learning, now from the scenes with their attributes anywhere in the window.

    Args:
        reader: which has learned before; None: none has.
        places: of the attributes that shall be read.
        purpose, index: of the random numbers.

    Returns:
        The reader, and renders that it has not learned from.
    """
    readout = Readout.of(problem.encoding, window, MULTIPLES)
    network = object_network(problem, readout, scenes, places) if reader is None else reader.network
    if reader is not None:
        network.rescale(reader.readout, readout)
    scattered = scatter(problem, scenes, window, purpose, index)
    images, masks = problem.masked(scattered, purpose, index, "render to learn to read")
    labels = network.label(readout, scattered, masks)
    kept_back = np.arange(len(images)) % _KEPT_BACK == 0
    learned_from, tested_on = np.flatnonzero(~kept_back), np.flatnonzero(kept_back)
    epochs = problem.settings.reading_epochs
    network.fit(
        images[learned_from],
        labels.chosen(learned_from),  # type: ignore[arg-type]
        epochs if reader is None else max(1, epochs // 2),
        torch_generator(problem.seed, purpose, 3, index),
        problem.progress.step("learn to read"),
    )
    kept = Scattered([scattered[i] for i in tested_on], images[tested_on], [masks[i] for i in tested_on])
    return Reader(network, readout), kept


def read_mean(
    truth: np.ndarray, read: np.ndarray, target: np.ndarray, spec: AttributeSpec, multiple: int = 1
) -> Reading | None:
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
        errors = deviation(multiple * (read - truth), 0.0, True)
        if float(np.cos(np.deg2rad(errors)).mean()) < SEEN:
            return None
        return Reading(mean_of(multiple * target, True) / multiple, float(np.sqrt(np.mean(errors**2))) / multiple)
    centre = mean_of(truth, spec.is_angle)
    a, b, c = (deviation(values, centre, spec.is_angle) for values in (truth, read, target))
    slope = float(np.cov(a, b)[0, 1] / a.var(ddof=1))
    if not slope > 0 or slope**2 * a.var() < SEEN * b.var():
        return None
    mean = centre + float(np.median(c) - np.median(b)) / slope + float(np.median(a))
    return Reading(mean, float(np.sqrt(max(b.var() / slope**2 - a.var(), 0.0))))


def _window(
    problem: Problem,
    places: Sequence[int],
    shift: np.ndarray,
    reach: np.ndarray,
    sights: Sequence[Sight],
    around: Window,
) -> Window:
    """The whole range of the attributes at `places`; around the shift of those that were read, as far as they reach."""
    centre, half_width = around.centre.copy(), around.half_width.copy()
    opposite = set()
    for index, place in enumerate(places):
        kind, spec = problem.encoding.mutable[place]
        half_width[:, place] = reach[index]
        if sights[index] is Sight.NOTHING:
            centre[:, place] = (spec.low + spec.high) / 2
            continue
        centre[:, place] = spec.distribution.mean + shift[index]
        if sights[index] is Sight.AXIS:
            half_width[:, place] = np.minimum(half_width[:, place], WIDEST_AXIS_DEG)
            opposite.add((kind, spec.name))
    return Window(centre, half_width, frozenset(opposite))
