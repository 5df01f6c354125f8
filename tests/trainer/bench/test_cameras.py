"""Targets that another camera has taken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.bench.cameras import COUNT, MILD, TargetCamera, bench_cameras, write_target


def test_a_response_without_blur_and_noise_is_the_formula() -> None:
    camera = TargetCamera(blur_px=0, haze=0.1, gain=(0.8, 0.5, 0.2), gamma=2.0, noise=0)
    taken = np.asarray(camera.takes(Image.new("L", (4, 4), 128), np.random.default_rng(0)))
    wanted = 255 * (0.1 + np.array([0.8, 0.5, 0.2]) * (128 / 255) ** 2)
    assert np.abs(taken - wanted).max() <= 0.5


def test_noise_has_the_stated_spread() -> None:
    camera = TargetCamera(blur_px=0, haze=0.5, gain=(0, 0, 0), gamma=1, noise=0.05)
    taken = np.asarray(camera.takes(Image.new("L", (64, 64)), np.random.default_rng(1))) / 255
    assert taken.std() == pytest.approx(0.05, rel=0.05)


def test_drawn_cameras_differ_by_seed_and_are_the_same_for_one() -> None:
    drawn = [TargetCamera.drawn(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != MILD


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.bench.cameras.COUNT", 40)
    digits = np.zeros((3, 28, 28), np.uint8)
    digits[:, 4:24, 12:16] = 255  # An upright bar
    stored = SimpleNamespace(digits=SimpleNamespace(images=digits))
    monkeypatch.setattr("trainer.bench.cameras.mnist_set", lambda *_: stored)


@pytest.mark.usefixtures("few")
def test_a_target_is_turned_counter_clockwise_by_its_yaws(tmp_path: Path) -> None:
    yaws = write_target(tmp_path / "target", 0, drawn=False)
    files = sorted((tmp_path / "target").iterdir())
    assert len(files) == len(yaws) == 40 < COUNT
    for file, yaw in zip(files, yaws, strict=True):
        image = np.asarray(Image.open(file).convert("L"), dtype=float)
        weights = np.maximum(image - 100, 0)
        down, across = np.mgrid[:32, :32] - 15.5
        axis = 0.5 * np.arctan2(-2 * (weights * down * across).sum(), (weights * (across**2 - down**2)).sum())
        assert (np.rad2deg(axis) - 90 - yaw + 90) % 180 - 90 == pytest.approx(0, abs=4)


@pytest.mark.usefixtures("few")
def test_a_run_is_compared_with_the_yaws_of_its_own_target(tmp_path: Path) -> None:
    def trained(options: Any, progress: Any) -> Any:
        del progress
        assert len(list(Path(options.overrides["target"]["images"]).iterdir())) == 40
        learned = [{"mean": 91.0 if options.seed else 80.0, "std": 10.0}]
        return SimpleNamespace(
            summary={
                "attributes": {"learned": learned},
                "mmd": [0.0],
                "mmd_prior": [0.1],
                "seconds": {"total": 1.0},
                "renders": 1,
            }
        )

    result = bench_cameras([0, 1], drawn=False, overrides={}, keep=tmp_path, train_run=trained)
    assert [run["reached"] for run in result["runs"]] == [False, True]
    assert result["reached"] == 1
