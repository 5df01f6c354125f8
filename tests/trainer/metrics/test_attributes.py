"""Statistics of attributes: exact ones of the prior, circular ones of angles."""

from pathlib import Path

import numpy as np
import pytest
from support.grammars import SPRITES, write_sprites

from trainer.grammar import load_grammar
from trainer.metrics.attributes import AttributeStatistics, attribute_statistics, prior_statistics, summarise
from trainer.model.encoding import Encoding


def prior_of(tmp_path: Path, yaw: str, scenes: int = 5) -> dict[str, AttributeStatistics]:
    world = load_grammar(write_sprites(tmp_path, SPRITES.replace("{normal: [0, 10], mutable", f"{{{yaw}, mutable")))
    rng = np.random.default_rng(0)
    found = prior_statistics(Encoding(world), [world.sample(rng) for _ in range(scenes)])
    return {item.name: item for item in found}


@pytest.mark.parametrize(
    ("yaw", "mean", "std"),
    [
        ("normal: [30, 10]", 30, 10),
        ("uniform: [-60, 60]", 0, 120 / np.sqrt(12)),
        ("uniform: [-180, 180]", None, 360 / np.sqrt(12)),
        ("mixture: [{weight: 0.5, normal: [0, 5]}, {weight: 0.5, normal: [90, 5]}]", 45, np.sqrt(45**2 + 5**2)),
    ],
)
def test_the_priors_moments_are_exact(tmp_path: Path, yaw: str, mean: float | None, std: float) -> None:
    found = prior_of(tmp_path, yaw)
    assert found["x"].mean == 0
    assert found["x"].std == pytest.approx(8 / np.sqrt(12))
    assert found["yaw"].std == pytest.approx(std, rel=1e-3)
    if mean is not None:  # All directions of the whole circle are its mean.
        assert found["yaw"].mean == pytest.approx(mean, abs=1e-3)
    assert len(found["yaw"].values) == 5


def test_ranges_are_recorded_but_not_that_of_the_whole_circle(tmp_path: Path) -> None:
    found = prior_of(tmp_path, "normal: [0, 10]")
    assert found["x"].range == (-10, 10)
    assert found["yaw"].range is None


def test_sampled_moments_approach_the_exact_ones(tmp_path: Path) -> None:
    world = load_grammar(write_sprites(tmp_path))
    rng = np.random.default_rng(0)
    scenes = [world.sample(rng) for _ in range(2000)]
    encoding = Encoding(world)
    for sampled, exact in zip(attribute_statistics(encoding, scenes), prior_statistics(encoding, scenes), strict=True):
        assert sampled.mean == pytest.approx(exact.mean, abs=4 * exact.std / np.sqrt(2000))
        assert sampled.std == pytest.approx(exact.std, rel=0.08)


def test_angles_on_both_sides_of_the_turn_have_their_mean_there() -> None:
    item = summarise("car", "yaw", "deg", True, [170, -170])
    assert abs(item.mean) == pytest.approx(180)
    assert item.std == pytest.approx(10)
    assert item.difference(summarise("car", "yaw", "deg", True, [-175])) == pytest.approx(-5)


def test_statistics_survive_json() -> None:
    item = AttributeStatistics("car", "x", "m", False, 1.0, 2.0, (0.5, 1.5), (-3.0, 3.0))
    assert AttributeStatistics.from_json({**item.to_json(), "values": [0.5, 1.5], "range": [-3.0, 3.0]}) == item
    old = {key: value for key, value in item.to_json().items() if key != "range"}
    assert AttributeStatistics.from_json(old).range is None
