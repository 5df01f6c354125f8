"""What a feature space reads of each kind of node: image by image, or, where it tells objects apart, one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer.features import FeatureSpace, features_of
from trainer.features.readout import Readout
from trainer.features.regions import OVERLAP, RegionFeatures, matched
from trainer.grammar import SceneGraph
from trainer.grammar.scene_graph import MODE
from trainer.learning.problem import Problem
from trainer.randomness import Purpose

#: Objects that are less sure to be of a kind do not count.
SURE_OF_KIND = 0.7


@dataclass(frozen=True)
class Known:
    """What was read of renders, and what is the case.

    Attributes:
        modes: int64 [n] of the node, or of all nodes of the kind in the image; -1 where there is none, or they differ.
        truth, read: [n, len(encoding.mutable)], in the attributes' units; those of other kinds mean nothing.
    """

    modes: np.ndarray
    truth: np.ndarray
    read: np.ndarray


def read_target(space: FeatureSpace, readout: Readout, images: np.ndarray) -> dict[str, np.ndarray]:
    """By kind what is read of images whose scenes are not known: [m, len(encoding.mutable)]."""
    if not isinstance(space, RegionFeatures):
        return dict.fromkeys(readout.kinds, readout.numbers(features_of(space, images)))
    whole = readout.numbers(features_of(space, images))
    found = dict.fromkeys(readout.kinds, whole)
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
        images = problem.images(scenes, Purpose.MOMENTS, number, stage)
        return _by_image(readout, scenes, readout.numbers(features_of(space, images)))
    images, masks = problem.masked(scenes, Purpose.MOMENTS, number, stage)
    found = _by_image(readout, scenes, readout.numbers(features_of(space, images)))
    seen = space.look(images)
    objects = space.label(readout, scenes, masks).objects
    for place, kind in enumerate(space.regions):
        rows, codes, modes = [], [], []
        for row in (seen.kinds[:, place] >= SURE_OF_KIND).nonzero().squeeze(1).tolist():
            image = int(seen.images[row])
            theirs = objects[image]
            best, overlap = matched(seen.boxes[row : row + 1], torch.from_numpy(theirs.boxes))
            own = int(best)
            if float(overlap) > OVERLAP and theirs.kinds[own] == kind:
                rows.append(row)
                codes.append(theirs.codes[own])
                modes.append(scenes[image].nodes[theirs.nodes[own]].choices[MODE.name])
        truth = torch.from_numpy(np.array(codes, dtype=np.float32).reshape(len(rows), len(readout.column_kinds)))
        found[readout.kinds[kind]] = Known(
            np.array(modes, dtype=np.int64), readout.numbers(truth), readout.numbers(seen.values[rows])
        )
    return found


def _by_image(readout: Readout, scenes: Sequence[SceneGraph], read: np.ndarray) -> dict[str, Known]:
    truth = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in scenes])))
    return {kind: Known(np.array([_mode(scene, kind) for scene in scenes]), truth, read) for kind in readout.kinds}


def _mode(scene: SceneGraph, kind: str) -> int:
    found = {node.choices[MODE.name] for node in scene.nodes if node.kind == kind}
    return found.pop() if len(found) == 1 else -1
