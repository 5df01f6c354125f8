"""Evaluation of a detector, stage by stage and after fine-tuning, on a small world before a perspective camera."""

from pathlib import Path

import pytest
from support.crafted import moving
from support.moving_run import moving_run

from trainer.evaluate import EvaluateOptions, evaluate
from trainer.pool import PoolOptions
from trainer.runs.folder import Run
from trainer.runs.loading import open_run
from trainer.tasks.detection import DetectionSettings, ObjectDetection
from trainer.tasks.kitti_rules import KittiRules

WORLD = """
render: {width: 96, height: 48, samples: 1}
background: [0.4, 0.5, 0.7]
nodes:
  camera: {camera: perspective, fov: 40, z: 1.6, roll: 88, yaw: -90}
  car:
    class: car
    mesh: cube
    width: 4
    depth: 1.7
    height: 1.5
    x: {uniform: [7, 16]}
    y: {normal: [0, 2], mutable: true, range: [-8, 8]}
    z: 0.75
    red: 0.1
    intensity: 0.5
scene: [camera, {kind: car, count: 2}]
task: detection
target: {count: 20, overrides: {car.y: {normal: [2, 2]}}}
training: {stages: [{name: cars}, {name: task loss, losses: [mmd, task]}]}
"""


@pytest.mark.blender
def test_a_detector_is_scored_by_stage_and_after_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(WORLD)
    folder = tmp_path / "run"
    moving_run(folder, str(world), {"car.y": 2.0}, engine="blender")
    transformer = open_run(folder).transformer
    Run.open(folder).save_stage(1, moving(transformer.encoding, {"car.y": 1.0}).state_dict())
    Run.open(folder).save_stage(2, transformer.state_dict())
    network = ObjectDetection(KittiRules(), DetectionSettings(epochs=6, width=16))
    monkeypatch.setattr("trainer.evaluate.open_task", lambda _, **_options: network)

    options = EvaluateOptions(
        folder, train_images=24, test_images=16, stages=True, fine_tune=12, pool=PoolOptions(workers=1)
    )
    found = evaluate(options)

    assert (found["task"], found["metric"], found["test_images"]) == ("detection", "ap_moderate", 16)
    assert [stage["name"] for stage in found["stages"]] == ["cars", "task loss"]
    assert found["fine_tuned"]["images"] == 12
    tuned = found["fine_tuned"]["scores"]
    assert list(tuned) == ["target", "prior", "learned"]
    assert tuned["learned"] == found["stages"][1]["fine_tuned"]
    for scores in (found["scores"]["learned"], tuned["learned"], tuned["target"]):
        assert {"ap_moderate", "ap11_moderate", "ap_hard"} <= set(scores)
        assert all(0 <= value <= 1 for value in scores.values())
    # What goes on has seen three times as many images as what begins with them.
    assert tuned["learned"]["ap_moderate"] > tuned["target"]["ap_moderate"]
    assert found["layout"]["Car lateral"]["learned"] < 0.3 < 1.0 < found["layout"]["Car lateral"]["prior"]
    assert found["distances"]["car.y"]["learned"] < 0.3 < 1.5 < found["distances"]["car.y"]["prior"]
