"""Evaluation of runs whose model does something known, without training one."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.shifting_run import shifting_run

from trainer.cli.evaluate import _table
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.run import Json
from trainer.tasks import open_task

#: What makes lanes of the prior of `aerial`, whose cars stand across the road.
LANES = {"forward.y": -5.7, "forward.yaw": -90.0, "oncoming.y": 5.7, "oncoming.yaw": 90.0}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json]:
    """A run of `aerial` that moves the cars into their lanes, and how a quick network evaluates it."""
    folder = tmp_path_factory.mktemp("runs") / "aerial"
    shifting_run(folder, "aerial", LANES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.evaluate.open_task", partial(open_task, budget="quick"))
        return folder, evaluate(EvaluateOptions(folder, workers=1, train_images=100, test_images=20))


def test_every_score_of_the_task_is_kept(evaluated: tuple[Path, Json]) -> None:
    folder, scores = evaluated
    assert (scores["task"], scores["metric"]) == ("segmentation", "mean IoU")
    assert (scores["train_images"], scores["test_images"]) == (100, 20)
    for name in ("prior", "learned"):
        of = scores["scores"][name]
        assert list(of) == ["car", "house", "road", "tree", "mean IoU"]
        assert of["mean IoU"] == scores[name] == pytest.approx(np.mean([of[each] for each in list(of)[:4]]))
    assert json.loads((folder / "summary.json").read_text())["evaluation"] == scores


def test_attributes_are_compared_with_the_targets(evaluated: tuple[Path, Json]) -> None:
    _, scores = evaluated
    distances = scores["distances"]
    assert list(distances) == [
        "forward.y", "forward.yaw", "house.y", "house.yaw", "oncoming.y", "oncoming.yaw", "tree.y"
    ]  # fmt: skip
    for name in ("forward.yaw", "oncoming.yaw"):
        item = distances[name]
        assert item["unit"] == "deg"
        assert item["prior"] == pytest.approx(90, abs=3)
        # What is left is the larger spread of the prior: 12 and 5 degrees, whose quantiles differ by 7 |z|.
        assert item["learned"] == pytest.approx(7 * np.sqrt(2 / np.pi), abs=1)
    assert distances["tree.y"]["learned"] == pytest.approx(distances["tree.y"]["prior"], rel=0.1)


def test_the_table_shows_all_scores_and_distances() -> None:
    scores = {
        "task": "segmentation",
        "test_images": 1000,
        "train_images": 2500,
        "scores": {"prior": {"car": 0.3, "mean IoU": 0.803}, "learned": {"car": 0.867, "mean IoU": 0.952}},
        "distances": {
            "forward.yaw": {"prior": 90.0, "learned": 4.5, "unit": "deg"},
            "tree.y": {"prior": 0.0, "learned": 1.0, "unit": "px"},
        },
    }
    assert _table(scores).splitlines() == [
        "segmentation, tested on 1,000 unseen target images",
        "  trained on 2,500 images of the    car  mean IoU",
        "    prior                         30.0%     80.3%",
        "    learned model                 86.7%     95.2%",
        "",
        "  distance from the target's  prior  learned  smaller by",
        "    forward.yaw (deg)         90.00     4.50         95%",
        "    tree.y (px)                0.00     1.00           -",
    ]
