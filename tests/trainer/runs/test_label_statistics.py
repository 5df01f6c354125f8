"""Statistics of labels: counts, shares and sizes against closed forms."""

import numpy as np

from trainer.runs.label_statistics import LabelStatistics
from trainer.tasks.boxes import ObjectBox


def test_counts_shares_and_sizes() -> None:
    images = [
        (ObjectBox(0, (10, 10, 14, 19)), ObjectBox(1, (20, 20, 30, 30)), ObjectBox(-1, (0, 0, 9, 9), crowd=True)),
        (ObjectBox(0, (10, 10, 20, 20)), ObjectBox(0, (0, 10, 40, 20)), ObjectBox(0, (30, 10, 49.5, 20))),
    ]
    found = LabelStatistics.of(("a", "b", "c"), images, 50, 40).values()
    np.testing.assert_allclose(found[0], [2, 0.5, 0])
    np.testing.assert_allclose(found[1], [0.8, 0.2, 0])
    # The frame cuts two of the four.
    np.testing.assert_allclose(found[2], [(6 + 10) / 2, 10, np.nan])


def test_intervals_cover_the_mean_of_the_population() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(20):
        images = [tuple(ObjectBox(0, (2, 2, 4, 4)) for _ in range(rng.poisson(3))) for _ in range(40)]
        statistics = LabelStatistics.of(("a",), images, 50, 40)
        low, high = next(of for s, _, of in statistics.intervals(rng) if s == 0) or (0, 0)
        covered += low <= 3 <= high
    assert covered >= 15  # 95 % of 20 are 19; 14 or fewer have a probability below 1e-3
