"""Means and spreads from noisy readings, where all is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.painted import painted_problem

from trainer.features.readout import Readout, Window
from trainer.grammar import SceneGraph
from trainer.grammar.nodes import MODES
from trainer.inference.joint import Scattered
from trainer.inference.moments import match_moments, read_shift, read_spread
from trainer.inference.problem import Problem, scatter
from trainer.model.drawing import transformed
from trainer.randomness import Purpose


def readings(mean: float, std: float, count: int, seed: int, *, error: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """An attribute, and a reading of it that is too flat, shifted and noisy."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(mean, std, count)
    return truth, 0.8 * truth + 3 + rng.normal(0, error, count)


@pytest.mark.parametrize(("mean", "std"), [(0, 10), (6, 5), (-4, 20), (0, 15)])
def test_the_moments_of_the_target_are_found(mean: float, std: float) -> None:
    shifts, spreads = [], []
    for seed in range(20):
        truth, read = readings(0, 10, 2000, seed)
        _, target = readings(mean, std, 2000, 100 + seed)
        shifts.append(read_shift(truth, read, target))
        spreads.append(read_spread(truth, read, target, 10.0))
    assert np.mean(shifts) == pytest.approx(mean, abs=4 * np.std(shifts) / np.sqrt(len(shifts)))
    assert np.mean(spreads) == pytest.approx(std, rel=0.05)


def test_a_spread_that_differs_by_chance_alone_stays() -> None:
    same = [
        read_spread(*readings(0, 10, 1000, seed), readings(0, 10, 1000, 100 + seed)[1], 10.0) == 10.0
        for seed in range(40)
    ]
    assert np.mean(same) >= 0.85  # Two standard errors: 95 % are expected


def test_a_spread_is_told_from_renders_of_another() -> None:
    """The prior's is 10; the renders', of an earlier round, 14."""
    found = [
        read_spread(*readings(0, 14, 3000, seed), readings(0, 10, 1000, 100 + seed)[1], 10.0) for seed in range(40)
    ]
    assert np.mean(np.array(found) == 10.0) >= 0.8
    assert np.max(np.abs(np.array(found) - 10)) < 3


def test_what_cannot_be_seen_is_left_alone() -> None:
    truth, read = readings(0, 10, 2000, 0, error=40.0)
    assert read_shift(truth, read, read + 30) is None
    assert read_shift(np.zeros(100), np.arange(100.0), np.arange(100.0)) is None


def test_a_few_misread_images_do_not_matter() -> None:
    truth, read = readings(0, 10, 2000, 0)
    _, target = readings(0, 10, 2000, 1)
    target[:40] += 170
    shift = read_shift(truth, read, target)
    assert shift is not None
    assert abs(shift) < 2
    assert read_spread(truth, read, target, 10.0) == pytest.approx(10, rel=0.25)


def test_what_is_taken_for_the_kind_counts_on_both_sides() -> None:
    """A tenth of what is seen is something else, which reads as 25."""
    shifts, spreads = [], []
    for seed in range(20):
        truth, read = readings(0, 10, 2000, seed)
        _, target = readings(6, 5, 2000, 100 + seed)
        others = np.random.default_rng(200 + seed).normal(25, 2, (2, 200))
        shifts.append(read_shift(truth, np.append(read, others[0]), np.append(target, others[1])))
        spreads.append(read_spread(truth, np.append(read, others[0]), np.append(target, others[1]), 10.0))
    assert np.mean(shifts) == pytest.approx(0.9 * 6, abs=0.4)  # So the next round, from there, finds the rest.
    assert np.mean(spreads) < 7.5


def test_a_spread_that_is_too_small_for_the_errors_is_none_at_all() -> None:
    truth, read = readings(0, 10, 2000, 0)
    assert read_spread(truth, read, np.full(500, 3.0), 10.0) == 0


@dataclass(frozen=True)
class Coded(Problem):
    """Images of two pixels that say x and yaw, with noise."""

    def images(self, scenes: Sequence[SceneGraph], *_: Any) -> np.ndarray:
        """See `coded`."""
        return coded([[dict(_named(scene))[name] for name in ("x", "yaw")] for scene in scenes])


def _named(scene: SceneGraph) -> list[tuple[str, float]]:
    return [(item.name, value) for item, value in zip(scene.mutable, scene.values(), strict=True)]


def coded(values: Sequence[Sequence[float]]) -> np.ndarray:
    """uint8 [N, 1, 2, 3] of (x, yaw) pairs: 10 and 1 grey values per unit, noise of 3 grey values."""
    x, yaw = np.array(values).T
    rng = np.random.default_rng(len(values))
    pixels = np.stack([128 + 10 * x, 128 + yaw], 1) + rng.normal(0, 3, (len(x), 2))
    return np.repeat(np.clip(np.round(pixels), 0, 255).astype(np.uint8)[:, None, :, None], 3, axis=3)


@pytest.mark.parametrize(("together", "beside"), [(False, ()), (True, ()), (True, ("yaw",))])
def test_all_attributes_of_a_kind_are_moved_and_stretched(
    tmp_path: Path, together: bool, beside: tuple[str, ...]
) -> None:
    """The prior has x of ±4 and yaw of 0 ± 10, the target a quarter and a third of these spreads elsewhere.

    Bystanders are moved, not stretched.
    """
    painted, transformer = painted_problem(tmp_path, [0], [1], moment_images=2000)
    rng = np.random.default_rng(0)
    names = [spec.name for _, spec in painted.encoding.mutable]
    target = {"x": rng.normal(5, 0.6, 1500), "yaw": rng.normal(30, 3.5, 1500)}
    images = coded(np.stack([target["x"], target["yaw"]], 1).tolist())
    problem = Coded(painted.grammar, painted.settings, 0, painted.renderer, images)
    everywhere = np.zeros((MODES, 2))
    window = Window(everywhere, everywhere + np.array([8, 40] if names == ["x", "yaw"] else [40, 8]))
    readout = Readout.of(problem.encoding, window)

    class Decoded:
        name, layers = "decoded", None

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            said = (images[:, 0, 0] * 255 - 128).numpy() / np.array([10, 1])
            found = {"x": said[:, 0], "yaw": said[:, 1]}
            columns = []
            for _, spec in problem.encoding.mutable:
                values = found[spec.name]
                columns += [np.cos(np.deg2rad(values)), np.sin(np.deg2rad(values))] if spec.is_angle else [values]
            return torch.from_numpy((np.stack(columns, 1) - readout.offsets) / readout.scales)

    scattered = None
    if together:
        scenes = scatter(problem, problem.scenes(Purpose.FEATURES, 500), window, Purpose.FEATURES, 0)
        scattered = Scattered(scenes, problem.images(scenes), ())
    others = [place for place, name in enumerate(names) if name in beside]
    learned_places = [place for place in (0, 1) if place not in others]
    changed_much = match_moments(problem, transformer, Decoded(), readout, learned_places, 0, scattered, others)
    learned = transformed(transformer, problem.scenes(Purpose.MONITOR, 1000))
    values = np.array([scene.values() for scene in learned])
    assert changed_much
    for place, name in enumerate(names):
        spread = 10 if name in beside else target[name].std()
        assert values[:, place].mean() == pytest.approx(target[name].mean(), abs=0.3 * spread), name
        assert values[:, place].std() == pytest.approx(spread, rel=0.2), name
