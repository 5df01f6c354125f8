"""The experiments with objects on a table."""

import numpy as np
import pytest

from trainer.experiments import load_experiment
from trainer.grammar.distributions import Distribution

EACH = {
    1: ["thing.yaw"],
    3: ["thing.x", "thing.y"],
    5: ["thing.pitch", "thing.roll"],
    8: ["arm.roll", "camera.yaw", "sun.intensity"],
}
HOUSEHOLD = ("bottle", "box", "mug", "tool", "toy")


@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize("attributes", EACH)
def test_as_many_attributes_are_mutable_as_the_name_says(attributes: int, classes: int) -> None:
    name = f"tyol-{attributes}" + ("-multi" if classes > 1 else "")
    experiment = load_experiment(name)
    mutable = {f"{kind}.{spec.name}" for kind, spec in experiment.grammar.specs if spec.mutable}
    assert mutable == {place for count, places in EACH.items() if count <= attributes for place in places}
    assert experiment.grammar.classes == (HOUSEHOLD if classes > 1 else ("box",))
    assert experiment.task == "pose"
    scene = experiment.grammar.sample(np.random.default_rng(0))
    assert len(scene.mutable) == attributes


def test_priors_and_targets_are_those_of_the_earlier_attempt() -> None:
    experiment = load_experiment("tyol-8-multi")
    assert experiment.target is not None
    prior = {(kind, spec.name): spec for kind, spec in experiment.grammar.specs}
    target = {(kind, spec.name): spec for kind, spec in experiment.target.grammar.specs}

    def moments(distribution: Distribution) -> tuple[float, float]:
        return distribution.mean, distribution.std

    assert moments(prior["thing", "yaw"].distribution)[0] % 360 == pytest.approx(180)
    assert moments(target["thing", "yaw"].distribution) == pytest.approx((90, 10), abs=1e-6)
    size = prior["table", "width"].distribution.mean
    light = prior["sun", "intensity"]
    for (kind, name), spec in prior.items():
        if not spec.mutable or (name == "yaw" and kind == "thing"):
            continue
        aim = target[kind, name]
        (mean, spread), (wanted, wanted_spread) = moments(spec.distribution), moments(aim.distribution)
        assert 0.9 < abs(wanted - mean) / spread < 3.1, (kind, name)
        assert wanted_spread == pytest.approx(spread, rel=0.03), (kind, name)
    for name in ("x", "y"):
        assert 0.025 <= prior["thing", name].distribution.std / size <= 0.075
        assert target["thing", name].distribution.mean < 0  # To the left, and towards the camera.
    width = light.high - light.low
    assert (light.distribution.mean - light.low) / width == pytest.approx(0.5)
    assert light.distribution.std / width == pytest.approx(0.01, rel=0.01)
