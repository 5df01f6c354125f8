from pathlib import Path

import numpy as np
from support.grammars import write_sprites

from trainer.grammar import load_grammar
from trainer.learning.search import SWEPT, find_valleys
from trainer.model.encoding import Encoding


def encoding_of(tmp_path: Path) -> Encoding:
    return Encoding(load_grammar(write_sprites(tmp_path)))  # x in [-10, 10] and yaw, the whole circle


def mirrored(shift: np.ndarray) -> float:
    """A valley at x = 6, yaw = 90, and a shallower one half a turn from it, as between images of digits."""
    x, yaw = shift
    turn = np.deg2rad(yaw - 90)
    return float((x - 6) ** 2 / 100 + 0.1 * (1 - np.cos(turn)) + 0.4 * (1 - np.cos(2 * turn)))


def test_the_deeper_valley_is_found_from_every_seed(tmp_path: Path) -> None:
    encoding = encoding_of(tmp_path)
    for seed in range(20):
        (shift, *_), tried = find_valleys(
            encoding, mirrored, np.random.default_rng(seed), first=64, later=24, generations=5
        )

        assert len(tried) == 65 + 5 * 24 + 2 * SWEPT
        assert abs(shift[0] - 6) < 1, seed
        assert abs(shift[1] - 90) < 10, seed


def test_no_shift_at_all_is_a_candidate(tmp_path: Path) -> None:
    (shift, *_), tried = find_valleys(
        encoding_of(tmp_path),
        lambda shift: float(np.abs(shift).sum()),
        np.random.default_rng(0),
        first=8,
        later=4,
        generations=1,
    )

    assert np.array_equal(shift, np.zeros(2))
    assert np.array_equal(tried[0][0], np.zeros(2))


def test_candidates_keep_the_mean_inside_the_range(tmp_path: Path) -> None:
    _, tried = find_valleys(
        encoding_of(tmp_path), lambda shift: -shift[0], np.random.default_rng(0), first=32, later=16, generations=3
    )

    shifts = np.array([shift for shift, _ in tried])
    assert shifts[:, 0].min() >= -10
    assert shifts[:, 0].max() == 10  # The best one lies at the end
    assert np.abs(shifts[:, 1]).max() <= 180


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    encoding = encoding_of(tmp_path)

    def run(seed: int) -> np.ndarray:
        return find_valleys(encoding, mirrored, np.random.default_rng(seed), first=16, later=8, generations=2)[0][0]

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
