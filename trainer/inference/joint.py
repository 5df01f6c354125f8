"""Where the target's means lie, from the readings of all kinds together.

A reading leans on more than what it shall tell: a car seems turned where the camera sees a wider angle, and the camera
higher where the cars are larger. So the readings f of each kind of node are regressed on its own attributes and on
those that hold for a whole scene, a, on renders scattered over the features' window: f = B a + c + e. What is read off
the target then differs from what is read off renders by d = B Δ + e', and the shift of all attributes to the target's
means is that of linear Bayes,

    Δ = (Σ Bᵀ V⁻¹ B + Λ⁻¹)⁻¹ Σ Bᵀ V⁻¹ d,

summed over the kinds, with the covariance V of d and the squared spreads Λ of the prior; of attributes that have been
shifted by s before, -Λ⁻¹ s joins the sum: what cannot be seen goes back to the prior. V holds how far lines can be
trusted, too: the farther, the less. So V and Δ are found by turns, V from the second moments of Δ (expectation
maximisation), and lines do not matter where the renders have come to stand where the target does. Attributes that are
not to be learned are found as well, so that the others do not stand in for them. (Goldstein & Wooff, Bayes Linear
Statistics, 2007.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer.features import FeatureSpace
from trainer.features.readout import Readout
from trainer.grammar import SceneGraph
from trainer.inference.problem import standing_once
from trainer.inference.sightings import Known, known_of
from trainer.metrics.attributes import deviation, mean_of, without_outliers

#: Readings do not follow lines all the way: part of what a shift makes of them that is not trusted.
DOUBT = 0.1
#: Turns in which a shift, and how far lines can be trusted over its length, are found.
TURNS = 10


@dataclass(frozen=True)
class Scattered:
    """Renders of scenes that lie all over a window, and that nothing has learned from.

    Attributes:
        images: uint8 [N, H, W, 3].
        masks: instance masks [H, W].
    """

    scenes: Sequence[SceneGraph]
    images: np.ndarray
    masks: Sequence[np.ndarray]


@dataclass(frozen=True)
class Leaning:
    """How the readings of a kind of node follow the attributes.

    Attributes:
        own: places [q] in `encoding.mutable` of what is read.
        others: places [p] of what the readings lean on: those of `own`, and of the whole scene.
        slopes: B [q, p].
        errors: covariance [q, q] of the readings around the line.
        explained: by each attribute alone, of the variance of its reading [q].
        leverage: [p, p]: the slopes' covariance over that of the errors, the inverse of the attributes' scatter.
    """

    own: list[int]
    others: list[int]
    slopes: np.ndarray
    errors: np.ndarray
    explained: np.ndarray
    leverage: np.ndarray

    def seen(self, place: int, least: float) -> float | None:
        """What the reading of an attribute gains by 1 of it; None where that explains too little of its variance."""
        row = self.own.index(place)
        slope = float(self.slopes[row, row])
        return slope if slope > 0 and self.explained[row] >= least else None


def leanings(space: FeatureSpace, readout: Readout, renders: Scattered, fewest: int) -> dict[str, Leaning]:
    """By kind; those of which fewer than `fewest` are seen are left out."""
    mutable = readout.encoding.mutable
    singles = standing_once(readout.encoding, renders.scenes)
    of_scene = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in renders.scenes])))
    found = {}
    for kind, known in known_of(space, readout, renders.scenes, renders.images, renders.masks).items():
        own = [place for place, (of, _) in enumerate(mutable) if of == kind]
        right = known.modes >= 0
        if not own or right.sum() < fewest:
            continue
        others = own + [place for place in singles if place not in own]
        truth = of_scene[known.images[right]]
        truth[:, own] = known.truth[right][:, own]
        x, y = (
            _deviations(readout, values[:, at], at, _means(readout, values[:, at], at))
            for values, at in ((truth, others), (known.read[right], own))
        )
        x, y = x - x.mean(0), y - y.mean(0)
        slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
        errors = np.atleast_2d(np.cov(y - x @ slopes, rowvar=False))
        explained = slopes.diagonal() ** 2 * x[:, : len(own)].var(0) / np.maximum(y.var(0), 1e-12)
        found[kind] = Leaning(own, others, slopes.T, errors, explained, np.linalg.pinv(x.T @ x))
    return found


def joint_shift(
    readout: Readout,
    leaning: Mapping[str, Leaning],
    renders: Mapping[str, Known],
    target: Mapping[str, np.ndarray],
    fewest: int,
    before: np.ndarray,
) -> np.ndarray:
    """By how much the target's means differ from the renders' [len(encoding.mutable)], in the attributes' units.

    Args:
        before: by how much the renders' differ from the prior's, like the result.
    """
    mutable = readout.encoding.mutable
    variances = np.array([max(spec.distribution.std, 1e-6) ** 2 for _, spec in mutable])
    differences = []
    for kind, line in leaning.items():
        ours, theirs = renders[kind].read[:, line.own], target[kind][:, line.own]
        if min(len(ours), len(theirs)) < fewest:
            continue
        centres = _means(readout, ours, line.own)
        a, b = (_deviations(readout, read, line.own, centres) for read in (ours, theirs))
        sampling = np.atleast_2d(np.cov(a, rowvar=False)) / len(a) + np.atleast_2d(np.cov(b, rowvar=False)) / len(b)
        differences.append((line, b.mean(0) - a.mean(0), sampling))
    shift, covariance = -before, np.diag(variances)
    for _ in range(TURNS):
        moments = np.outer(shift, shift) + covariance
        precision, pull = np.diag(1 / variances), -before / variances
        for line, difference, sampling in differences:
            own = moments[np.ix_(line.others, line.others)]
            untrusted = DOUBT**2 * np.diag(line.slopes**2 @ own.diagonal())
            variance = sampling + line.errors * np.trace(line.leverage @ own) + untrusted
            weights = line.slopes.T @ np.linalg.pinv(variance)
            precision[np.ix_(line.others, line.others)] += weights @ line.slopes
            pull[line.others] += weights @ difference
        covariance = np.linalg.inv(precision)
        shift = covariance @ pull
    return shift


def _means(readout: Readout, values: np.ndarray, places: Sequence[int]) -> list[float]:
    """Of each column of values, which are of the attributes at `places`."""
    angles = [readout.encoding.mutable[place][1].is_angle for place in places]
    return [mean_of(column, is_angle) for column, is_angle in zip(values.T, angles, strict=True)]


def _deviations(readout: Readout, values: np.ndarray, places: Sequence[int], centres: Sequence[float]) -> np.ndarray:
    """Of each column of values from its centre, without outliers."""
    angles = [readout.encoding.mutable[place][1].is_angle for place in places]
    columns = zip(values.T, centres, angles, strict=True)
    return np.column_stack(
        [without_outliers(deviation(column, centre, is_angle)) for column, centre, is_angle in columns]
    )
