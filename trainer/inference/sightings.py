"""What a feature space reads of each kind of node: image by image, or, where it tells objects apart, one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.features import FeatureSpace, features_of
from trainer.features.objects import OVERLAP, matched
from trainer.features.readout import Readout
from trainer.features.regions import RegionFeatures
from trainer.grammar import SceneGraph
from trainer.inference.problem import Problem
from trainer.randomness import Purpose

#: Objects that are less sure to be of a kind do not count.
SURE_OF_KIND = 0.7


@dataclass(frozen=True)
class Known:
    """What was read of renders, and what is the case.

    Attributes:
        modes: int64 [n] of the node, or of all nodes of the kind in the image; -1: of something else, taken for one.
        truth, read: [n, len(encoding.mutable)], in the attributes' units; those of other kinds mean nothing, nor does
            the truth where there is no mode.
        images: int64 [n], the image of each.
    """

    modes: np.ndarray
    truth: np.ndarray
    read: np.ndarray
    images: np.ndarray


def said_of(space: FeatureSpace, images: np.ndarray) -> Tensor:
    """What features say of 8-bit images [N, H, W, 3] in a readout's numbers: [N, D]."""
    return space.said(images) if isinstance(space, RegionFeatures) else features_of(space, images)


def read_target(space: FeatureSpace, readout: Readout, images: np.ndarray) -> dict[str, np.ndarray]:
    """By kind what is read of images whose scenes are not known: [m, len(encoding.mutable)]."""
    found = dict.fromkeys(readout.kinds, readout.numbers(said_of(space, images)))
    if not isinstance(space, RegionFeatures):
        return found
    seen = space.look(images)
    values = readout.numbers(seen.values)
    for place, number in enumerate(space.regions):
        found[readout.kinds[number]] = values[(seen.kinds[:, place] >= SURE_OF_KIND).numpy()]
    return found


def read_renders(
    problem: Problem, space: FeatureSpace, readout: Readout, scenes: Sequence[SceneGraph], number: int, stage: str
) -> dict[str, Known]:
    """Renders scenes; by kind what is read of them.

    Args:
        number: of the random numbers.
        stage: for the progress.
    """
    if not isinstance(space, RegionFeatures):
        return known_of(space, readout, scenes, problem.images(scenes, Purpose.MOMENTS, number, stage), ())
    return known_of(space, readout, scenes, *problem.masked(scenes, Purpose.MOMENTS, number, stage))


def known_of(
    space: FeatureSpace,
    readout: Readout,
    scenes: Sequence[SceneGraph],
    images: np.ndarray,
    masks: Sequence[np.ndarray],
) -> dict[str, Known]:
    """By kind what is read of rendered scenes.

    Args:
        images: uint8 [N, H, W, 3].
        masks: instance masks [H, W]; only a space that tells objects apart needs them.
    """
    found = _by_image(readout, scenes, readout.numbers(said_of(space, images)))
    if not isinstance(space, RegionFeatures):
        return found
    seen = space.look(images)
    objects = space.label(readout, scenes, masks).objects
    for place, kind in enumerate(space.regions):
        rows = (seen.kinds[:, place] >= SURE_OF_KIND).nonzero().squeeze(1)
        modes = np.full(len(rows), -1, dtype=np.int64)
        codes = torch.zeros(len(rows), len(readout.column_kinds))
        for index, row in enumerate(rows.tolist()):
            image = int(seen.images[row])
            theirs = objects[image]
            best, overlap = matched(seen.boxes[row : row + 1], torch.from_numpy(theirs.boxes))
            own = int(best)
            if float(overlap) > OVERLAP and theirs.kinds[own] == kind:
                codes[index] = torch.from_numpy(theirs.codes[own])
                modes[index] = scenes[image].nodes[theirs.nodes[own]].mode
        found[readout.kinds[kind]] = Known(
            modes, readout.numbers(codes), readout.numbers(seen.values[rows]), seen.images[rows].numpy()
        )
    return found


def _by_image(readout: Readout, scenes: Sequence[SceneGraph], read: np.ndarray) -> dict[str, Known]:
    truth = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in scenes])))
    found = {}
    for kind in readout.kinds:
        modes = [{node.mode for node in scene.nodes if node.kind == kind} for scene in scenes]
        plain = [index for index, own in enumerate(modes) if len(own) == 1]  # One node, or several alike
        own = np.array([min(modes[index]) for index in plain], dtype=np.int64)
        found[kind] = Known(own, truth[plain], read[plain], np.array(plain, dtype=np.int64))
    return found
