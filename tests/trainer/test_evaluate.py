"""Evaluation of runs whose model does something known, without training one."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.crafted import moving
from support.grammars import SPRITES, write_sprites
from support.moving_run import moving_run

from trainer.cli.evaluate import _table
from trainer.errors import InputError
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.features.image_distances import image_distances
from trainer.features.neutral import RandomFeatures
from trainer.pool import PoolOptions
from trainer.progress import Silent
from trainer.runs.folder import Run
from trainer.runs.loading import open_run
from trainer.runs.report.report import write_report
from trainer.runs.task_scores import summaries
from trainer.tasks import Scores, open_task
from trainer.tasks.classifier import ClassifierSettings, DigitClassifier, DigitNet
from trainer.translation.colour import ColourTranslator
from trainer.translation.colour_transfer import LATTICE, lattice

#: What makes a street of the prior of `aerial`, whose cars stand across the road and its houses upon it.
STREET = {"house.y": 22.5, "forward.y": -5.7, "forward.yaw": -90.0, "oncoming.y": 5.7, "oncoming.yaw": 90.0}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of `aerial` that moves cars and houses to their places, and how a quick network evaluates it."""
    folder = tmp_path_factory.mktemp("runs") / "aerial"
    moving_run(folder, "aerial", STREET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.evaluate.open_task", partial(open_task, budget="quick"))
        return folder, evaluate(EvaluateOptions(folder, train_images=100, test_images=60, pool=PoolOptions(workers=1)))


def test_every_score_of_the_task_is_kept(evaluated: tuple[Path, dict[str, Any]]) -> None:
    folder, scores = evaluated
    assert (scores["task"], scores["metric"]) == ("segmentation", "mean IoU")
    assert (scores["train_images"], scores["test_images"]) == (100, 60)
    for name in ("prior", "learned"):
        of = scores["scores"][name]
        assert list(of) == ["car", "house", "road", "tree", "mean IoU"]
        assert of["mean IoU"] == scores[name] == pytest.approx(np.mean([of[each] for each in list(of)[:4]]))
    assert json.loads((folder / "summary.json").read_text())["evaluation"] == scores


def test_attributes_are_compared_with_the_targets(evaluated: tuple[Path, dict[str, Any]]) -> None:
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
    assert distances["tree.y"]["learned"] == pytest.approx(distances["tree.y"]["prior"], rel=0.1, abs=1e-3)
    assert "layout" not in scores, "nothing of aerial views stands before a camera"


def test_images_are_compared_with_the_targets(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, scores = evaluated
    found = scores["image_distances"]
    assert (found["features"], found["target_images"], found["learned"]["images"]) == ("natural", 60, 100)
    assert found["learned"]["mmd"] < found["prior"]["mmd"]
    assert found["learned"]["kid_standard_error"] > 0


#: Three shapes, one to an image, and a folder of images as the target.
PHOTOS = (
    SPRITES.replace("class: thing", 'class: "{label}"')
    + """\
target: {images: photos}
training: {stages: [{name: place, attributes: [thing.x]}, {name: turn, attributes: [thing.yaw]}]}
"""
)


def photographed(folder: Path, *, labels: bool) -> Path:
    """A run that turns shapes by 90°, and photos of turned ones; sub-folders are labels."""
    world = write_sprites(folder, PHOTOS)
    for shape in ("disc", "square", "star"):
        (folder / "shapes" / shape).mkdir()
        (folder / "shapes" / f"{shape}.png").rename(folder / "shapes" / shape / f"{shape}.png")
    rng = np.random.default_rng(0)
    for level, shape in zip((40, 100, 160), ("disc", "square", "star"), strict=True):
        photos = folder / "photos" / (shape if labels else "")
        photos.mkdir(parents=True, exist_ok=True)
        for number in range(6):
            image = np.zeros((32, 32, 3), np.uint8)
            left = rng.integers(8, 16)
            image[12:20, left : left + 8] = level * level // 255  # Opacity is as high as the colour.
            Image.fromarray(image).save(photos / f"{shape}-{number}.png")
    moving_run(folder / "run", str(world), {"thing.yaw": 90})
    return folder / "run"


def test_photos_without_labels_are_compared_and_not_scored(tmp_path: Path) -> None:
    notes: list[str] = []
    progress = Silent()
    progress.note = notes.append  # type: ignore[method-assign]
    found = evaluate(
        EvaluateOptions(photographed(tmp_path, labels=False), test_images=50, pool=PoolOptions(workers=1)), progress
    )
    reason = f"{tmp_path / 'photos'}: disc-0.png has no label, which classification needs"
    assert found["not_scored"] == reason
    assert notes == [f"classification is not scored: {reason}"]
    assert not {"scores", "distances", "metric", "prior"} & set(found)
    assert (found["test_images"], found["image_distances"]["prior"]["images"]) == (18, 50)
    lines = _table(found).splitlines()
    assert lines[0] == f"classification is not scored: {reason}"
    assert [line.split()[0] for line in lines[3:]] == ["MMD²", "KID", "of"]


def test_labelled_photos_score_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.evaluate.open_task", partial(open_task, budget="quick"))
    found = evaluate(
        EvaluateOptions(photographed(tmp_path, labels=True), train_images=200, pool=PoolOptions(workers=1))
    )
    assert (found["metric"], found["test_images"], found["unseen"]) == ("accuracy", 18, False)
    assert found["learned"] > 0.9
    assert "tested on 18 images of the target" in _table(found)


def test_a_translation_that_changes_nothing_scores_as_the_learned_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluate.open_task", partial(open_task, budget="quick"))
    run, model = photographed(tmp_path, labels=True), tmp_path / "same.safetensors"
    ColourTranslator(lattice().reshape(LATTICE, LATTICE, LATTICE, 3).astype(np.float32)).save(model)
    found = evaluate(EvaluateOptions(run, train_images=100, translate=model, pool=PoolOptions(workers=1)))
    assert found["scores"]["translated"] == found["scores"]["learned"]
    assert found["translated"] == found["learned"]
    assert found["image_distances"]["translated"] == found["image_distances"]["learned"]
    assert found["translation"].startswith("color (model ")
    lines = [line.strip() for line in _table(found).splitlines()]
    assert [line.split("  ")[0] for line in lines[2:5]] == ["prior", "learned model", "learned + translated"]
    assert "learned + translated" in next(line for line in lines if line.startswith("distance from the target's"))
    assert "the learned model, translated" in write_report(Run.open(run)).read_text()


def more_photos(folder: Path, count: int, seed: int) -> Path:
    """Photos like those of `photographed`, with labels."""
    rng = np.random.default_rng(seed)
    for level, shape in zip((40, 100, 160), ("disc", "square", "star"), strict=True):
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            image = np.zeros((32, 32, 3), np.uint8)
            left = rng.integers(8, 16)
            image[12:20, left : left + 8] = level * level // 255
            Image.fromarray(image).save(folder / shape / f"{number}.png")
    return folder


def test_folders_replace_the_targets_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = photographed(tmp_path, labels=True)
    test, validation = more_photos(tmp_path / "test", 4, 1), more_photos(tmp_path / "validation", 3, 2)
    settings = ClassifierSettings(classes=3, epochs=2)
    monkeypatch.setattr("trainer.evaluate.open_task", lambda _, **_options: DigitClassifier(settings))
    options = EvaluateOptions(run, train_images=60, pool=PoolOptions(workers=1))
    found = evaluate(replace(options, test=test, validation=validation, fine_tune=6))
    assert (found["test_images"], found["real_images"], found["unseen"]) == (12, 9, True)
    assert list(found["scores"]) == ["prior", "learned", "real"]
    assert found["fine_tuned"]["images"] == 6
    low, high = found["intervals"]["real"]["accuracy"]
    assert low <= found["real"] <= high
    scores = found["scores"]
    share = found["gap_closed"]["learned"]["share"]
    gap = scores["real"]["accuracy"] - scores["prior"]["accuracy"]
    if gap:
        assert share == pytest.approx((scores["learned"]["accuracy"] - scores["prior"]["accuracy"]) / gap)
    assert json.loads((run / "summary.json").read_text())["evaluation"] == found
    assert "trained on 9 labelled images of the target" in _table(found)

    # Photos of the target that are not tested on are trained on without being asked for.
    assert evaluate(replace(options, test=test))["real_images"] == 18
    assert "real" not in evaluate(replace(options, test=test, real=False))["scores"]
    with pytest.raises(InputError, match=r"^--real needs labelled photographs outside the test set: name test"):
        evaluate(replace(options, real=True))
    for photo in test.glob("*/*.png"):
        photo.rename(test / f"{photo.parent.name}-{photo.name}")
    with pytest.raises(InputError, match=r"test: .*\.png has no label, which classification needs$"):
        evaluate(replace(options, test=test))


class Tunable(DigitClassifier):
    """Forgets what it has learned."""

    def fine_tune(self, _: DigitNet, images: np.ndarray, labels: list[int], seed: int, progress: Callable) -> DigitNet:
        assert len(images) == 6
        return self.train(images, labels, seed, progress)


def test_stages_and_fine_tuning_are_scored_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stage has turned things by half of what is right; six of the photos are for fine-tuning."""
    folder = photographed(tmp_path, labels=True)
    run, loaded = Run.open(folder), open_run(folder)
    weights = loaded.transformer.state_dict()
    run.save_stage(1, moving(loaded.transformer.encoding, {"thing.yaw": 45}).state_dict())
    settings = ClassifierSettings(classes=3, epochs=4)
    monkeypatch.setattr("trainer.evaluate.open_task", lambda _, **_options: Tunable(settings))
    options = EvaluateOptions(folder, train_images=100, stages=True, pool=PoolOptions(workers=1))
    unfinished = evaluate(options)
    assert [stage["name"] for stage in unfinished["stages"]] == ["place", "turn, not finished"]
    assert unfinished["test_images"] == 18

    run.save_stage(2, weights)
    found = evaluate(replace(options, fine_tune=6))
    assert found["test_images"] == 12
    place, turn = found["stages"]
    assert (place["name"], turn["name"]) == ("place", "turn")
    assert turn["scores"] == found["scores"]["learned"]
    assert turn["image_distances"] == found["image_distances"]["learned"]
    assert place["image_distances"]["mmd"] > turn["image_distances"]["mmd"]
    tuned = found["fine_tuned"]
    assert (tuned["images"], list(tuned["scores"])) == (6, ["target", "prior", "learned"])
    assert place["fine_tuned"] == tuned["scores"]["prior"] == tuned["scores"]["target"]

    several = evaluate(replace(options, fine_tune=6, networks=2))
    assert several["networks"] == 2
    assert several["deviations"]["learned"] == several["stages"][1]["scores_deviations"]
    assert several["fine_tuned"]["deviations"]["prior"] == several["stages"][0]["fine_tuned_deviations"]
    deviation = several["deviations"]["prior"]["accuracy"]
    assert several["prior"] == several["scores"]["prior"]["accuracy"]
    # The first of the two is the one that stands alone elsewhere: half of their difference is from it to the mean.
    assert abs(several["prior"] - found["prior"]) == pytest.approx(deviation / np.sqrt(2))


def test_scores_of_several_networks_are_summed_up() -> None:
    found = {"prior": [Scores("ap", {"ap": value, "car": 0.5}) for value in (0.1, 0.2, 0.6)]}
    assert summaries({"prior": found["prior"][:1]}, ["prior"]) == {"scores": {"prior": {"ap": 0.1, "car": 0.5}}}
    of = summaries(found, ["prior"])
    assert of["scores"]["prior"] == pytest.approx({"ap": 0.3, "car": 0.5})
    assert of["deviations"]["prior"] == pytest.approx({"ap": np.sqrt((0.04 + 0.01 + 0.09) / 2), "car": 0})


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    folder = photographed(tmp_path, labels=True)
    with pytest.raises(InputError, match="run has no weights of its stages: no stage has ended yet, or"):
        evaluate(EvaluateOptions(folder, stages=True, pool=PoolOptions(workers=1)))


def test_a_few_images_are_too_few_to_compare() -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(InputError, match=r"^3 images \(prior\) are too few to compare; 4 are needed$"):
        image_distances(RandomFeatures((8, 8)), {"prior": images}, np.zeros((9, 8, 8, 3), np.uint8), 0)


def test_the_table_shows_all_scores_and_distances() -> None:
    scores = {
        "task": "segmentation",
        "test_images": 1000,
        "unseen": True,
        "train_images": 2500,
        "scores": {"prior": {"car": 0.3, "mean IoU": 0.803}, "learned": {"car": 0.867, "mean IoU": 0.952}},
        "distances": {
            "forward.yaw": {"prior": 90.0, "learned": 4.5, "unit": "deg"},
            "tree.y": {"prior": 0.0, "learned": 1.0, "unit": "px"},
            "tree.z": {"prior": 0.001, "learned": 0.002, "unit": "px"},
        },
        "layout": {"Car heading": {"prior": 2.0, "learned": 0.5, "unit": "deg"}},
        "image_distances": {
            "features": "estimator",
            "prior": {"mmd": 0.5, "kid": 1.25, "kid_standard_error": 0.1},
            "learned": {"mmd": 0.01, "kid": -0.0002, "kid_standard_error": 0.0003},
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
        "    tree.y (px)                0.00     1.00      larger",
        "    tree.z (px)                0.00     0.00           -",
        "",
        "  distance of the layout  prior  learned  smaller by",
        "    Car heading (deg)      2.00     0.50         75%",
        "",
        "  distance from the target's            prior           learned",
        "    MMD²                               0.5000            0.0100",
        "    KID                       1.2500 ± 0.1000  -0.0002 ± 0.0003",
        "  of images, in the feature space estimator",
    ]


def test_the_table_shows_stages_and_fine_tuning() -> None:
    near = {"mmd": 0.01, "kid": 0.25, "kid_standard_error": 0.1}
    far = {"mmd": 0.5, "kid": 1.25, "kid_standard_error": 0.1}
    scores = {
        "task": "detection",
        "test_images": 500,
        "unseen": True,
        "train_images": 400,
        "scores": {"prior": {"ap": 0.3}, "learned": {"ap": 0.5}},
        "fine_tuned": {"images": 100, "scores": {"target": {"ap": 0.25}, "prior": {"ap": 0.4}, "learned": {"ap": 0.6}}},
        "stages": [
            {"name": "cars", "scores": {"ap": 0.45}, "fine_tuned": {"ap": 0.55}, "image_distances": far},
            {"name": "camera", "scores": {"ap": 0.5}, "fine_tuned": {"ap": 0.6}, "image_distances": near},
        ],
        "image_distances": {"features": "estimator", "prior": far, "learned": near},
    }
    assert _table(scores).splitlines() == [
        "detection, tested on 500 unseen target images",
        "  trained on 400 images of the                 ap",
        "    prior                                   30.0%",
        "    cars                                    45.0%",
        "    + camera                                50.0%",
        "  and on 100 labelled images of the target",
        "    these alone                             25.0%",
        "    prior                                   40.0%",
        "    cars                                    55.0%",
        "    + camera                                60.0%",
        "",
        "  distance from the target's            prior             cars         + camera",
        "    MMD²                               0.5000           0.5000           0.0100",
        "    KID                       1.2500 ± 0.1000  1.2500 ± 0.1000  0.2500 ± 0.1000",
        "  of images, in the feature space estimator",
    ]
    real = {
        **scores,
        "metric": "ap",
        "real_images": 45,
        "scores": {**scores["scores"], "real": {"ap": 0.9}},
        "intervals": {"prior": {"ap": [0.25, 0.35]}, "learned": {"ap": [0.4, 0.6]}, "real": {"ap": [0.85, 0.95]}},
        "gap_closed": {"learned": {"share": 1 / 3, "interval": [0.2, 0.45]}},
        "stages": [],
    }
    del real["fine_tuned"]
    assert _table(real).splitlines()[:6] == [
        "detection, tested on 500 unseen target images",
        "  trained on 400 images of the                    ap  95% interval of ap        gap closed",
        "    prior                                      30.0%      25.0% to 35.0%                 -",
        "    learned model                              50.0%      40.0% to 60.0%  33% (20% to 45%)",
        "  trained on 45 labelled images of the target",
        "    these alone                                90.0%      85.0% to 95.0%                 -",
    ]
    scores |= {"networks": 3, "deviations": {"prior": {"ap": 0.02}, "learned": {"ap": 0.01}}}
    scores["fine_tuned"]["deviations"] = {"target": {"ap": 0.03}, "prior": {"ap": 0.04}, "learned": {"ap": 0.05}}
    for stage, first, then in zip(scores["stages"], (0.06, 0.01), (0.07, 0.05), strict=True):
        stage |= {"scores_deviations": {"ap": first}, "fine_tuned_deviations": {"ap": then}}
    assert _table(scores).splitlines()[:10] == [
        "detection, tested on 500 unseen target images; mean ± standard deviation of 3 networks",
        "  trained on 400 images of the                        ap",
        "    prior                                   30.0% ± 2.0%",
        "    cars                                    45.0% ± 6.0%",
        "    + camera                                50.0% ± 1.0%",
        "  and on 100 labelled images of the target",
        "    these alone                             25.0% ± 3.0%",
        "    prior                                   40.0% ± 4.0%",
        "    cars                                    55.0% ± 7.0%",
        "    + camera                                60.0% ± 5.0%",
    ]
