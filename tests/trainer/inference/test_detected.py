"""Which kinds are detected, and which are read off the whole image."""

from typing import Any

import numpy as np
import pytest
from support.grammars import FLAT, write_sprites

from trainer.grammar import load_grammar
from trainer.inference.problem import Problem
from trainer.inference.training_settings import TrainingSettings

WORLD = (
    FLAT
    + """\
  left: &thing {class: disc, sprite: shapes, width: 8, height: 8, x: {normal: [-6, 2], mutable: true, range: [-12, 12]}}
  right: {<<: *thing, class: star}
  other: {<<: *thing, class: ring}
scene: [camera, left, right, {kind: other, count: {integers: [0, 2]}}]
"""
)
TWO = WORLD.replace(", {kind: other, count: {integers: [0, 2]}}", "")
ONE = TWO.replace(", right]", "]")


@pytest.mark.parametrize(
    ("world", "together", "detected"),
    [
        (ONE, False, []),
        (TWO, False, ["left", "right"]),
        (WORLD, False, ["left", "right", "other"]),
        (ONE, True, []),
        (TWO, True, []),
        (WORLD, True, ["other"]),
    ],
)
def test_kinds_that_stand_once_are_read_off_the_image_if_they_are_alone_or_read_together(
    tmp_path: Any, world: str, together: bool, detected: list[str]
):
    settings = TrainingSettings.parse({"inference": {"together": together}})
    target = np.zeros((2, 4, 4, 3), np.uint8)
    problem = Problem(load_grammar(write_sprites(tmp_path, world)), settings, 0, None, target)  # type: ignore[arg-type]
    kinds = [kind for kind in ("left", "right", "other") if kind in world.partition("scene:")[2]]
    assert problem.detected(kinds) == detected
