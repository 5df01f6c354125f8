"""A start that is read off the target."""

from pathlib import Path

import numpy as np
import pytest
from support.painted import painted_problem

from trainer.inference.reading import read_mean, read_start


@pytest.mark.parametrize("yaw", [135.0, -100.0])
def test_the_start_is_read_over_the_whole_ranges(tmp_path: Path, yaw: float) -> None:
    problem, transformer = painted_problem(tmp_path, [yaw], [1], feature_images=1500, reading_epochs=10)
    names = [spec.name for _, spec in problem.encoding.mutable]
    found = dict(zip(names, read_start(problem, transformer, range(2))[0], strict=True))
    assert found["x"] == pytest.approx(4, abs=1)
    assert (found["yaw"] - yaw + 180) % 360 - 180 == pytest.approx(0, abs=15)
    assert not transformer.shift.any()


def test_what_cannot_be_read_stays(tmp_path: Path) -> None:
    problem, _ = painted_problem(tmp_path, [0], [1])
    specs = {spec.name: spec for _, spec in problem.encoding.mutable}
    rng = np.random.default_rng(0)
    for name, width in (("x", 10), ("yaw", 180)):
        truth, noise = rng.uniform(-width, width, (2, 500))
        assert read_mean(truth, noise, noise[:200] + 1, specs[name]) is None
        reading = read_mean(truth, 0.1 * noise + truth, truth[:200], specs[name])
        assert reading is not None
        assert reading.error == pytest.approx(0.1 * noise.std(), rel=0.1)


def test_readings_that_are_too_flat_are_stretched(tmp_path: Path) -> None:
    """A network that is not sure says less than what is the case."""
    problem, _ = painted_problem(tmp_path, [0], [1])
    spec = next(spec for _, spec in problem.encoding.mutable if spec.name == "x")
    rng = np.random.default_rng(0)
    truth = rng.uniform(-10, 10, 4000)
    read = 0.4 * truth + 1 + rng.normal(0, 1, 4000)
    target = 0.4 * rng.normal(6, 1, 4000) + 1 + rng.normal(0, 1, 4000)
    reading = read_mean(truth, read, target, spec)
    assert reading is not None
    assert reading.mean == pytest.approx(6, abs=0.2)
    assert reading.error == pytest.approx(1 / 0.4, rel=0.1)
