"""Which columns are asked for, and what becomes of the answers."""

from pathlib import Path

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto
from support.grammars import SPRITES, write_sprites

from trainer.grammar import Grammar, SceneGraph, load_grammar
from trainer.rendering import Column, Probing
from trainer.rendering.columns import pack_gradient, plan_columns


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path))


def sampled(grammar: Grammar, count: int) -> list[SceneGraph]:
    rng = np.random.default_rng(0)
    return [grammar.sample(rng) for _ in range(count)]


def test_the_step_is_the_grammars_or_the_workers_and_always_fits(tmp_path: Path) -> None:
    steps = {}
    for stated in ("", ", step: 0.5", ", step: 15"):
        text = SPRITES.replace("range: [-10, 10]", f"range: [-10, 10]{stated}")
        plan = plan_columns(sampled(load_grammar(write_sprites(tmp_path, text)), 1), Probing(), 0)
        steps[stated] = next(column.step for column in plan[0].wire if column.HasField("minimum"))

    assert steps == {"": 0, ", step: 0.5": 0.5, ", step: 15": pytest.approx(9.98)}


def test_ranges_go_along_but_for_the_whole_circle(grammar: Grammar) -> None:
    x, yaw = plan_columns(sampled(grammar, 1), Probing(), 0)[0].wire

    assert (x.minimum, x.maximum) == (-10, 10)
    assert not yaw.HasField("minimum")
    assert not yaw.HasField("maximum")


def test_audits_are_a_function_of_the_seed_with_the_stated_frequency(grammar: Grammar) -> None:
    scenes, probing = sampled(grammar, 500), Probing(audit=0.2)

    plans = [plan_columns(scenes, probing, seed) for seed in (1, 1, 2)]

    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    audited = [column.audit for scene in plans[0] for column in scene.wire]
    assert abs(np.mean(audited) - 0.2) < 4 * 0.4 / np.sqrt(1000)


def test_a_subset_keeps_indices_and_columns_together(grammar: Grammar) -> None:
    (plan,) = plan_columns(sampled(grammar, 1), Probing(), 0)

    chosen = plan.subset([1])

    assert (chosen.indices, chosen.wire) == ((1,), (plan.wire[1],))


def test_the_product_with_a_column_is_that_of_the_whole_frames() -> None:
    rng = np.random.default_rng(0)
    column = Column(top=2, left=3, difference=rng.normal(size=(4, 5, 3)).astype(np.float16), span=-0.5)
    gradient = rng.normal(size=(8, 9, 3)).astype(np.float32)

    frame = column.in_frame(8, 9)

    assert column.dot(gradient) == pytest.approx(float((gradient * frame).sum()), rel=1e-5)
    assert np.count_nonzero(frame) == 60


@pytest.mark.parametrize("size", [1e-42, 1e-12, 1.0, 3e38])
def test_gradients_of_any_size_fit_into_half_precision(size: float) -> None:
    gradient = (np.random.default_rng(0).uniform(-1, 1, (6, 7, 3)) * size).astype(np.float32)

    tensor, scale = pack_gradient(gradient)

    kept = tensor_from_proto(tensor).astype(np.float64) / scale
    assert np.allclose(kept, gradient, rtol=2**-11, atol=float(np.abs(gradient).max()) * 2**-28)
