"""Shifts from readings that lean on each other, where all is known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from support.grammars import FLAT, write_sprites
from support.readouts import wide_readout

from trainer.features.readout import Readout
from trainer.grammar import load_grammar
from trainer.inference.joint import DOUBT, Leaning, Scattered, joint_shift, leanings
from trainer.inference.sightings import Known

WORLD = (
    FLAT
    + """\
  box:
    sprite: shapes
    width: 6
    height: 6
    x: {normal: [0, 2], mutable: true, range: [-10, 10]}
    y: {normal: [0, 2], mutable: true, range: [-10, 10]}
  light: # without pixels
    z: {normal: [0, 1], mutable: true, range: [-10, 10]}
scene: [camera, box, light]
"""
)
FEWEST = 30
UNMOVED = np.zeros(3)
#: Of a line through 1000 values that scatter by 1.
LEVERAGE = np.array([[1 / 1000]])


@pytest.fixture
def readout(tmp_path: Path) -> Readout:
    return wide_readout(load_grammar(write_sprites(tmp_path, WORLD)))


def places(readout: Readout) -> dict[str, int]:
    return {f"{kind}.{spec.name}": place for place, (kind, spec) in enumerate(readout.encoding.mutable)}


def known(read: np.ndarray) -> Known:
    return Known(np.zeros(len(read), dtype=np.int64), read, read, np.arange(len(read)))


def lights(readout: Readout) -> tuple[int, Leaning, np.ndarray, np.ndarray]:
    """The place of the light's z, how its readings follow it, and what is read of renders and of a target."""
    at = places(readout)["light.z"]
    rng = np.random.default_rng(0)
    ours, theirs = np.zeros((100, 3)), np.zeros((400, 3))
    ours[:, at], theirs[:, at] = rng.normal(0, 0.5, 100), rng.normal(0.4, 0.5, 400)
    line = Leaning([at], [at], np.array([[0.5]]), np.array([[0.2]]), np.ones(1), LEVERAGE)
    return at, line, ours, theirs


def test_one_reading_gives_the_mean_of_the_normal_posterior(readout: Readout) -> None:
    at, line, ours, theirs = lights(readout)
    found = joint_shift(readout, {"light": line}, {"light": known(ours)}, {"light": theirs}, FEWEST, UNMOVED)
    sampling = ours[:, at].var(ddof=1) / 100 + theirs[:, at].var(ddof=1) / 400
    difference = theirs[:, at].mean() - ours[:, at].mean()

    def posterior(variance: float) -> tuple[float, float]:
        precision = 0.25 / variance + 1
        return 0.5 * difference / variance / precision, 1 / precision

    def excess(variance: float) -> float:
        mean, spread = posterior(variance)
        return sampling + (0.2 / 1000 + DOUBT**2 * 0.25) * (mean**2 + spread) - variance

    mean, _ = posterior(brentq(excess, sampling, 10))
    assert found[at] == pytest.approx(mean, rel=0.03)
    assert found[[place for place in range(3) if place != at]] == pytest.approx(0)


def test_rounds_end_at_the_same_place_wherever_they_begin(readout: Readout) -> None:
    """Lines are trusted the more, the nearer the renders come; what is known of the mean besides is the prior."""
    at, line, ours, theirs = lights(readout)
    ends = []
    for first in (-3.0, 0.0, 3.0):
        before = np.zeros(3)
        before[at] = first
        for _ in range(6):
            read = known(ours + 0.5 * before)
            before = before + joint_shift(readout, {"light": line}, {"light": read}, {"light": theirs}, FEWEST, before)
        ends.append(before[at])
    assert ends == pytest.approx([ends[0]] * 3, rel=1e-3)
    assert ends[0] == pytest.approx((theirs[:, at].mean() - ours[:, at].mean()) / 0.5, rel=0.05)


def test_what_cannot_be_seen_goes_back_to_the_prior(readout: Readout) -> None:
    before = np.array([1.0, -2.0, 3.0])
    assert joint_shift(readout, {}, {}, {}, FEWEST, before) == pytest.approx(-before)


def test_what_a_reading_owes_to_another_attribute_is_not_taken_for_its_own(readout: Readout) -> None:
    """The box's readings follow the light more than the box, whose y cannot be seen; only the light differs."""
    x, y, z = (places(readout)[name] for name in ("box.x", "box.y", "light.z"))
    lines = {
        "box": Leaning(
            [x, y], [x, y, z], np.array([[0.4, 0.0, 0.8], [0.0, 0.02, 0.5]]), np.eye(2), np.ones(2), np.eye(3) / 8000
        ),
        "light": Leaning([z], [z], np.array([[0.6]]), np.eye(1), np.ones(1), np.eye(1) / 2000),
    }

    def read(means: dict[int, float], count: int, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        found = {}
        for kind, line in lines.items():
            found[kind] = np.zeros((count, 3))
            truth = np.array([means.get(place, 0.0) for place in line.others])
            found[kind][:, line.own] = line.slopes @ truth + rng.normal(0, 1, (count, len(line.own)))
        return found

    shifts = []
    for seed in range(40):
        ours = {kind: known(values) for kind, values in read({}, 1000, seed).items()}
        shifts.append(joint_shift(readout, lines, ours, read({z: 1.0}, 1000, 100 + seed), FEWEST, UNMOVED))
    mean, error = np.mean(shifts, axis=0), np.std(shifts, axis=0) / np.sqrt(len(shifts))
    assert mean[z] == pytest.approx(1, abs=0.06)
    assert abs(mean[x]) < 3 * error[x] + 0.05
    assert abs(mean[y]) < 3 * error[y] + 0.3  # Of 2, its spread: next to nothing is known of it.


def test_too_few_readings_say_nothing(readout: Readout) -> None:
    at = places(readout)["light.z"]
    line = Leaning([at], [at], np.array([[0.5]]), np.array([[0.2]]), np.ones(1), LEVERAGE)
    few = known(np.zeros((FEWEST - 1, 3)))
    assert not joint_shift(
        readout, {"light": line}, {"light": few}, {"light": np.ones((100, 3))}, FEWEST, UNMOVED
    ).any()


def test_lines_are_drawn_through_renders(readout: Readout) -> None:
    """Images that say the box's x and y and the light, each mixed with the light."""
    x, y, z = (places(readout)[name] for name in ("box.x", "box.y", "light.z"))
    rng = np.random.default_rng(0)
    scenes = [readout.encoding.grammar.sample(rng) for _ in range(500)]
    truth = readout.numbers(torch.from_numpy(np.stack([readout.read(scene) for scene in scenes])))
    mixing = np.eye(3)
    mixing[x, z], mixing[y, z], mixing[x, x] = 0.7, -0.4, 0.5
    read = truth @ mixing.T + rng.normal(0, 0.2, truth.shape)

    class Said:
        name, layers = "said", None

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            numbers = read[(images[:, 0, 0, 0] * 255).round().int() * 256 + (images[:, 1, 0, 0] * 255).round().int()]
            return torch.from_numpy((numbers - readout.offsets) / readout.scales)

    number = np.arange(500)
    images = np.zeros((500, 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = number // 256, number % 256
    space: Any = Said()
    found = leanings(space, readout, Scattered(scenes, images, SimpleNamespace()), FEWEST)  # type: ignore[arg-type]
    box = found["box"]
    x_scatter = (truth[:, box.others] - truth[:, box.others].mean(0)).T
    assert box.leverage == pytest.approx(np.linalg.inv(x_scatter @ x_scatter.T), rel=0.05, abs=1e-5)
    for place, row in zip(box.own, box.slopes, strict=True):
        assert row == pytest.approx(mixing[place, box.others], abs=0.05)
    # Of the variance of the box's reading of x: 1 of x itself, 0.49 of the light, 0.04 of noise.
    assert box.explained[box.own.index(x)] == pytest.approx(1 / 1.53, abs=0.08)
    assert box.seen(x, 0.5) == pytest.approx(0.5, abs=0.05)
    assert box.seen(x, 0.8) is None
    assert np.diag(box.errors) == pytest.approx([0.04, 0.04], rel=0.2)
    assert set(found["light"].others) == {x, y, z}
    assert not leanings(space, readout, Scattered(scenes[:20], images[:20], ()), FEWEST)
