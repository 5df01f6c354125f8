"""Descent on a loss whose lowest point is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer.features.descent import Course, descend


def test_the_line_through_points_is_found_in_passes_over_all_of_them() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=200)).float()
    y = 3 * x - 2
    line, seen, told = nn.Parameter(torch.zeros(2)), [], []

    def loss_of(index: Tensor) -> Tensor:
        seen.append(index)
        return (line[0] * x[index] + line[1] - y[index]).square().mean()

    generator = torch.Generator().manual_seed(0)
    error = descend([line], len(x), loss_of, Course(60, 32, 0.1), generator, lambda *now: told.append(now))
    assert line.tolist() == pytest.approx([3, -2], abs=0.05)
    assert error < 0.01
    assert told == [(done + 1, 60) for done in range(60)]
    for turn in np.array_split(np.arange(len(seen)), 60):
        assert sorted(torch.cat([seen[batch] for batch in turn]).tolist()) == list(range(200))


def test_fewer_samples_than_a_batch_are_one() -> None:
    seen = []

    def loss_of(index: Tensor) -> Tensor:
        seen.append(len(index))
        return weight.square().sum()

    weight = nn.Parameter(torch.ones(1))
    descend([weight], 5, loss_of, Course(2, 32, 0.1), torch.Generator())
    assert seen == [5, 5]
