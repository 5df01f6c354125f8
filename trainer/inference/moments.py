"""Means and spreads of the target, read off its images: the last step of the global stage.

The MMD sees a wrong spread poorly: a spread of 5 degrees in place of 10 hardly changes it where the features' own
errors are as large. But the simulator tells how they err. On renders whose attributes are known, what is read off, f,
is regressed on the truth, f = b a + c + e, and the target's moments follow from the renders' (primed):

    mean(a) = mean(a') + (mean(f) - mean(f')) / b          var(a) = (var(f) - var(e')) / b²

(regression calibration; Carroll et al., Measurement Error in Nonlinear Models, 2006; compare the regression adjustment
of Beaumont et al., Approximate Bayesian Computation in Population Genetics, 2002). A spread is the prior's unless it
differs significantly from that.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.features import FeatureSpace
from trainer.features.readout import Readout
from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.nodes import MODES
from trainer.inference.joint import Leaning, Scattered, joint_shift, leanings
from trainer.inference.problem import Problem
from trainer.inference.sightings import Known, read_renders, read_target
from trainer.metrics.attributes import attribute_statistics, deviation, mean_of, without_outliers
from trainer.model.drawing import transformed
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose

#: Attributes that explain less of the variance of what is read off cannot be seen, and are left alone.
SEEN = 0.2
#: Most by which a spread is changed, either way.
MOST = 10.0
#: Features, and what is known of their errors, from spreads that were so many times as large or as small do not fit.
ELSEWHERE = 1.5
#: Most by which a round changes a spread: of values too near to each other nothing could be read any more.
STEP = 2.0
#: Rounds: the regression is local, so each starts where the one before has led.
ROUNDS = 4
#: Standard errors by which variances must differ.
SIGNIFICANT = 2.0
#: By mode and place, of each round how much the prior was stretched; and, centred, truths [N], what was read of these
#: [N], and of what is taken for the kind [M].
Pool = dict[tuple[int, int], list[tuple[float, np.ndarray, np.ndarray, np.ndarray]]]

#: Fewest values that a mean and a spread are taken from.
FEWEST = 30


@dataclass(frozen=True)
class _Joint:
    """Shifts of all attributes to the target's means [len(encoding.mutable)], and the line of one kind's readings."""

    shifts: np.ndarray
    line: Leaning


def match_moments(
    problem: Problem,
    transformer: DistributionTransformer,
    space: FeatureSpace,
    readout: Readout,
    places: Sequence[int],
    turn: int = 0,
    scattered: Scattered | None = None,
    bystanders: Sequence[int] = (),
) -> bool:
    """Moves and stretches the attributes at `places`, mode by mode, until their moments are the target's.

    Args:
        turn: how often that was done before, with features learned elsewhere.
        scattered: where each kind has one mode: tells how readings lean on the attributes of others.
        bystanders: places of others that are moved along where `scattered` is given.

    Returns:
        Whether the scenes have changed so much that features learned around the former ones no longer fit.
    """
    if not problem.settings.moment_images or not places:
        return False
    stretch = transformer.stretch[:, list(places)].clone()
    target = read_target(space, readout, problem.target)
    kinds = list(dict.fromkeys(problem.encoding.mutable[place][0] for place in places))
    # Of each mode and attribute what is known of the errors, from all rounds but the first: errors differ from place to
    # place, and only after that round are the means right.
    pooled: Pool = defaultdict(list)
    count = problem.settings.moment_images * transformer.most_modes
    leaning = None
    if scattered is not None and transformer.most_modes == 1:
        leaning = leanings(space, readout, scattered, FEWEST)
    for index in range(ROUNDS):
        number = turn * ROUNDS + index
        prior = problem.scenes(Purpose.MOMENTS, count, number)
        scenes = transformed(transformer, prior)
        known = read_renders(problem, space, readout, scenes, number, f"read the moments {index + 1}")
        shifts = None
        if leaning is not None:
            before = _displacement(problem.encoding, prior, scenes)
            # Once the renders are near, what rounds find differs by chance: the last ones are averaged.
            shifts = joint_shift(readout, leaning, known, target, FEWEST, before) / max(1, index)
            for place in bystanders:
                _, spec = problem.encoding.mutable[place]
                transformer.shift[0, place] = inside(float(transformer.shift[0, place] + shifts[place]), spec)
        for kind in kinds:
            own = [place for place in places if problem.encoding.mutable[place][0] == kind]
            joint = None
            if leaning is not None and shifts is not None:
                if kind not in leaning:
                    continue
                joint = _Joint(shifts, leaning[kind])
            _match_kind(problem, transformer, own, known[kind], target[kind], pooled if index else None, joint)
    return bool(((transformer.stretch[:, list(places)] / stretch).log().abs() > np.log(ELSEWHERE)).any())


def _displacement(encoding: Encoding, prior: Sequence[SceneGraph], scenes: Sequence[SceneGraph]) -> np.ndarray:
    """By how much G_θ moves the mean of each attribute [len(encoding.mutable)], by its shift and by the network."""
    before, after = (
        {(found.kind, found.name): found for found in attribute_statistics(encoding, each)} for each in (prior, scenes)
    )
    names = [(kind, spec.name) for kind, spec in encoding.mutable]
    return np.array([after[name].difference(before[name]) if name in after else 0.0 for name in names])


def _match_kind(
    problem: Problem,
    transformer: DistributionTransformer,
    places: Sequence[int],
    known: Known,
    target: np.ndarray,
    pooled: Pool | None,
    joint: "_Joint | None",
) -> None:
    """
    Args:
        pooled: takes what is known of errors; None: spreads stay.
        joint: what the readings of all kinds say together; None: each attribute is read by itself.
    """
    specs = {place: problem.encoding.mutable[place][1] for place in places}
    modes, truth, read = known.modes, known.truth, known.read
    present = [mode for mode in range(MODES) if (modes == mode).sum() >= FEWEST]
    if not present:
        return
    centres = {
        (mode, place): mean_of(truth[modes == mode, place], spec.is_angle)
        for mode in present
        for place, spec in specs.items()
    }

    def likeliest(found: np.ndarray) -> np.ndarray:
        """The mode that each image looks most like."""
        distances = np.zeros((len(present), len(found)))
        for row, mode in enumerate(present):
            for place, spec in specs.items():
                distances[row] += (
                    deviation(found[:, place], centres[mode, place], spec.is_angle) / (spec.high - spec.low)
                ) ** 2
        return np.array(present)[distances.argmin(0)]

    ours, theirs = likeliest(read), likeliest(target)
    for mode in present:
        rendered, wanted = (modes == mode) & (ours == mode), theirs == mode
        mistaken = (modes < 0) & (ours == mode)  # As among the target's.
        if min(rendered.sum(), wanted.sum()) < FEWEST:
            continue
        for place, spec in specs.items():
            centre = centres[mode, place]
            true, ours_read, others_read, theirs_read = (
                deviation(values[chosen, place], centre, spec.is_angle)
                for values, chosen in ((truth, rendered), (read, rendered), (read, mistaken), (target, wanted))
            )
            slope = None
            if joint is None:
                shift = read_shift(true, np.concatenate([ours_read, others_read]), theirs_read)
                if shift is None:
                    continue
            else:
                shift, slope = float(joint.shifts[place]), joint.line.seen(place, SEEN)
            transformer.shift[mode, place] = inside(float(transformer.shift[mode, place]) + shift, spec)
            if pooled is not None and (joint is None or slope is not None):
                stretch = float(transformer.stretch[mode, place])
                prior = true.std() / stretch
                middle = np.median(ours_read)
                pooled[mode, place].append((stretch, true - np.median(true), ours_read - middle, others_read - middle))
                alike = [each for s, *each in pooled[mode, place] if 1 / ELSEWHERE <= s / stretch <= ELSEWHERE]
                every_known, every_read, every_other = (np.concatenate(part) for part in zip(*alike, strict=True))
                readings = np.concatenate([every_read, every_other])
                goal = read_spread(every_known, readings, theirs_read, prior, slope) / prior
                goal = min(max(goal, stretch / STEP), stretch * STEP)
                transformer.stretch[mode, place] = min(max(goal, 1 / MOST), MOST)


def read_shift(truth: np.ndarray, read: np.ndarray, target: np.ndarray) -> float | None:
    """By how much the target's mean differs from the renders'.

    Args:
        truth: the attribute in renders [N].
        read: what is read off these renders [N], and then of what else looks like it in them, if anything.
        target: what is read off the target's images [M].

    Returns:
        None where the attribute cannot be seen.
    """
    truth, read, target = (without_outliers(values) for values in (truth, read, target))
    if not truth.std() > 0:
        return None
    slope = _slope(truth, read[: len(truth)])
    if not slope > 0 or (slope * truth.std()) ** 2 < SEEN * read[: len(truth)].var():
        return None
    return float(target.mean() - read.mean()) / slope


def read_spread(
    truth: np.ndarray, read: np.ndarray, target: np.ndarray, prior: float, slope: float | None = None
) -> float:
    """The target's standard deviation.

    Args:
        truth, read, target: as for `read_shift`; the attribute can be seen.
        prior: the spread that it has unless it differs significantly.
        slope: of the readings over the truth, where that is known better than from these.
    """
    truth, read, target = (without_outliers(values) for values in (truth, read, target))
    if slope is None:
        slope = _slope(truth, read[: len(truth)])
    errors = read.var() - slope**2 * truth.var()
    difference = float(target.var() - (slope**2 * prior**2 + errors))
    error = np.sqrt(2 / len(target) * target.var() ** 2 + 2 / len(read) * read.var() ** 2)
    if abs(difference) < SIGNIFICANT * error:
        return prior
    return float(np.sqrt(max(prior**2 + difference / slope**2, 0.0)))


def _slope(truth: np.ndarray, read: np.ndarray) -> float:
    return float(np.cov(truth, read)[0, 1] / truth.var(ddof=1))


def inside(shift: float, spec: AttributeSpec) -> float:
    """The shift within those that keep the prior's mean inside the range."""
    if spec.wraps:
        return (shift + 180) % 360 - 180
    return float(np.clip(shift, spec.low - spec.distribution.mean, spec.high - spec.distribution.mean))
