"""The global stage of many attributes: a start that is read off the target's images.

A search over the ranges of many attributes hits nothing by chance. Instead the simulator's features are learned over
the whole ranges, and what they say of the target's images is where to start; then again over narrower windows around
that: sequential neural estimation (Papamakarios & Murray, Fast ε-free Inference of Simulation Models with Bayesian
Conditional Density Estimation, NIPS 2016), with the mean in place of a density. Attributes that cannot be read yet keep
their whole range, and become readable where what hides them has been put in its place.
"""

from collections.abc import Sequence

import numpy as np
import torch

from trainer.features import features_of
from trainer.features.readout import Readout, Window
from trainer.grammar import AttributeSpec
from trainer.learning.moments import SEEN, inside
from trainer.learning.problem import Problem, feature_network, scatter
from trainer.model.drawing import shifted
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.statistics import deviation, mean_of

#: Most turns, each with windows half as wide as the one before; two where everything could be read.
TURNS = 3
#: One in so many renders is kept back, to see what can be read.
_KEPT_BACK = 4


def read_start(problem: Problem, transformer: DistributionTransformer, places: Sequence[int]) -> np.ndarray:
    """The shift [len(places)] to the target's means, in the attributes' units; 0 for those that cannot be read."""
    settings, encoding = problem.settings, problem.encoding
    specs = [encoding.mutable[place][1] for place in places]
    shift = np.zeros(len(places))
    read = np.zeros(len(places), dtype=bool)
    network, readout = None, None
    for turn in range(TURNS):
        prior = problem.scenes(Purpose.READING, settings.feature_images, turn)
        scenes = shifted(transformer, prior, places, shift)
        window = _window(problem, places, shift, read, 0.5**turn, Window.around(encoding, scenes))
        if readout is None or network is None:
            readout = Readout.of(encoding, window)
            network = feature_network(problem, readout.layers, Purpose.READING)
        scattered = scatter(problem, scenes, window, Purpose.READING, turn)
        images = problem.images(scattered, Purpose.READING, turn, "render the ranges")
        wanted = np.stack([readout.read(scene) for scene in scattered])
        kept_back = np.arange(len(images)) % _KEPT_BACK == 0
        network.fit(
            images[~kept_back],
            wanted[~kept_back],
            settings.feature_epochs,
            torch_generator(problem.seed, Purpose.READING, 3, turn),
            problem.progress.stage("read the target"),
        )
        truth = readout.numbers(torch.from_numpy(wanted[kept_back]))
        ours = readout.numbers(features_of(network, images[kept_back]))
        theirs = readout.numbers(features_of(network, problem.target))
        for index, (place, spec) in enumerate(zip(places, specs, strict=True)):
            found = read_mean(truth[:, place], ours[:, place], theirs[:, place], spec)
            if found is not None:
                shift[index], read[index] = inside(found - spec.distribution.mean, spec), True
        if turn and read.all():
            break
    return shift


def read_mean(truth: np.ndarray, read: np.ndarray, target: np.ndarray, spec: AttributeSpec) -> float | None:
    """The target's mean.

    Args:
        truth: the attribute in renders [N], spread evenly.
        read: what is read off these renders [N].
        target: what is read off the target's images [M].

    Returns:
        None where the attribute cannot be read.
    """
    centre = mean_of(truth, spec.is_angle)
    if spec.wraps:  # Of angles all round there is no line to fit; directions are right on average.
        errors = np.deg2rad(deviation(read, 0.0, True) - truth)
        return mean_of(target, True) if float(np.cos(errors).mean()) > SEEN else None
    a, b, c = (deviation(values, centre, spec.is_angle) for values in (truth, read, target))
    slope = float(np.cov(a, b)[0, 1] / a.var(ddof=1))
    if not slope > 0 or slope**2 * a.var() < SEEN * b.var():
        return None
    return centre + float(np.median(c) - np.median(b)) / slope + float(np.median(a))


def _window(
    problem: Problem, places: Sequence[int], shift: np.ndarray, read: np.ndarray, part: float, around: Window
) -> Window:
    """The whole range of the attributes at `places`; of those that were read a part of it, around their shift."""
    centre, half_width = around.centre.copy(), around.half_width.copy()
    for index, place in enumerate(places):
        spec = problem.encoding.mutable[place][1]
        half_width[:, place] = (spec.high - spec.low) / 2 * (part if read[index] else 1.0)
        centre[:, place] = spec.distribution.mean + shift[index] if read[index] else (spec.low + spec.high) / 2
    return Window(centre, half_width)
