from pathlib import Path

import numpy as np
import pytest
import torch
from support.grammars import write_sprites

from trainer.grammar import AttributeSpec, load_grammar
from trainer.inference.search import SWEPT, distance, find_valleys
from trainer.metrics.mmd import MMD


@pytest.fixture
def specs(tmp_path: Path) -> list[AttributeSpec]:
    """x in [-10, 10] and yaw, the whole circle."""
    kind = load_grammar(write_sprites(tmp_path)).kinds["thing"]
    return [next(spec for spec in kind.mutable_specs if spec.name == name) for name in ("x", "yaw")]


def views(shifts: np.ndarray) -> torch.Tensor:
    """Features of things at shifts [N, 2]: half a turn from each other they look nearly alike, as digits do."""
    x, turn = shifts[:, 0], np.deg2rad(shifts[:, 1])
    columns = [x / 5, 0.3 * np.cos(turn), 0.3 * np.sin(turn), np.cos(2 * turn), np.sin(2 * turn)]
    return torch.from_numpy(np.stack(columns, 1)).float()


def scenes(shift: np.ndarray, count: int = 40, seed: int = 0) -> np.ndarray:
    return shift + np.random.default_rng(seed).normal(0, (0.5, 10), (count, 2))


def target(*shifts: tuple[float, float]) -> MMD:
    return MMD(views(np.concatenate([scenes(np.array(shift), 200, 1 + i) for i, shift in enumerate(shifts)])))


def search(specs: list[AttributeSpec], mmd: MMD, seed: int, **counts: int):
    counts = {"first": 64, "later": 24, "generations": 5, **counts}
    return find_valleys(specs, lambda shift: views(scenes(shift)), mmd, np.random.default_rng(seed), **counts)


def test_the_deeper_valley_is_found_from_every_seed(specs: list[AttributeSpec]) -> None:
    for seed in range(10):
        (shift, *_), tried = search(specs, target((6, 90)), seed)

        assert len(tried.shifts) == 65 + 5 * 24 + 2 * SWEPT
        assert abs(shift[0] - 6) < 1, seed
        assert abs(shift[1] - 90) < 10, seed


def test_both_parts_of_a_mixture_are_found(specs: list[AttributeSpec]) -> None:
    wanted = [np.array([-4.0, 0.0]), np.array([5.0, 120.0])]
    for seed in range(5):
        found, tried = search(specs, target((-4, 0), (5, 120)), seed)
        for shift in wanted:
            nearest = min(found, key=lambda valley: distance(specs, valley, shift))
            assert abs(nearest[0] - shift[0]) < 1.5, seed
            assert abs((nearest[1] - shift[1] + 180) % 360 - 180) < 15, seed
        weights = tried.mixture()
        assert weights.sum() == pytest.approx(1)
        near = [distance(specs, shift, wanted[0]) < 0.15 for shift in tried.shifts]
        assert weights[near].sum() == pytest.approx(0.5, abs=0.15)


def test_no_shift_at_all_is_a_candidate(specs: list[AttributeSpec]) -> None:
    (shift, *_), tried = search(specs, target((0, 0)), 0, first=4, later=2, generations=1)

    assert distance(specs, shift, np.zeros(2)) < 0.1
    assert np.array_equal(tried.shifts[0], np.zeros(2))


def test_candidates_keep_the_mean_inside_the_range(specs: list[AttributeSpec]) -> None:
    _, tried = search(specs, target((10, 0)), 0, first=32, later=16, generations=3)

    shifts = np.array(tried.shifts)
    assert shifts[:, 0].min() >= -10
    assert shifts[:, 0].max() == 10  # The best one lies at the end
    assert np.abs(shifts[:, 1]).max() <= 180


def test_the_seed_decides_everything(specs: list[AttributeSpec]) -> None:
    def run(seed: int) -> np.ndarray:
        return search(specs, target((6, 90)), seed, first=16, later=8, generations=2)[0][0]

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_distances_go_the_shorter_way_round(specs: list[AttributeSpec]) -> None:
    assert distance(specs, np.array([0.0, 170.0]), np.array([0.0, -170.0])) == pytest.approx(20 / 360)
    assert distance(specs, np.array([-5.0, 0.0]), np.array([5.0, 0.0])) == pytest.approx(10 / 20)
