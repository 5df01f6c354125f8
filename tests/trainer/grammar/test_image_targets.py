"""Real images as an experiment's target."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image
from support.grammars import SPRITES, write_sprites

from trainer.errors import InputError
from trainer.experiments import Labelling, PhotographTarget, load_experiment
from trainer.experiments.describe import check_text


def _render_nothing(*_: object) -> NoReturn:
    raise AssertionError("photographs are not rendered")


def write_photos(folder: Path, count: int = 5) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((48, 64 + number, 3), 10 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_a_folder_named_in_the_file_is_the_target(tmp_path: Path) -> None:
    world = write_sprites(tmp_path, SPRITES + "target: {images: photos, count: 3}\n")
    write_photos(tmp_path / "photos")
    experiment = load_experiment(world)
    assert isinstance(experiment.target, PhotographTarget)
    images, scenes = experiment.target.images()
    assert images.shape == (3, 32, 32, 3)
    assert images[:, 0, 0, 0].tolist() == [0, 10, 30], "evenly spread"
    assert scenes == []
    assert "with a target" in check_text(experiment)


def test_the_command_line_replaces_the_target_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = write_sprites(tmp_path, SPRITES + "target: {overrides: {thing.yaw: 3}}\n")
    write_photos(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    for images in ("here", str(tmp_path / "here")):
        experiment = load_experiment(world, {"target": {"images": images}, "target.count": 2})
        assert isinstance(experiment.target, PhotographTarget)
        assert experiment.target.folder == tmp_path / "here"
        assert len(experiment.target.images()[0]) == 2


def test_labels_serve_the_task(tmp_path: Path) -> None:
    world = write_sprites(tmp_path, SPRITES + "target: {images: photos, layout: images}\n")
    write_photos(tmp_path / "photos").rename(tmp_path / "thing")
    (tmp_path / "photos").mkdir()
    (tmp_path / "thing").rename(tmp_path / "photos" / "Thing")
    photos = load_experiment(world).target
    assert isinstance(photos, PhotographTarget)
    labelling = Labelling("classification", ("box", "thing"), _render_nothing, label_photo=lambda given: given)
    images, labels = photos.labelled(None, labelling, 2)
    assert images.shape == (2, 32, 32, 3)
    assert labels == [1, 1]


def test_shapes_and_classes_follow_the_stated_rules(tmp_path: Path) -> None:
    section = "target: {images: photos, fit: pad, classes: {Cube: thing}}"
    world = write_sprites(tmp_path, SPRITES + f"{section}\n")
    for name in ("Cube", "Ball"):
        write_photos(tmp_path / name)
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "photos" / name)
    photos = load_experiment(world).target
    assert isinstance(photos, PhotographTarget)
    assert photos.notes(("thing",)) == (
        "10 of 10 target images have another shape than 32 x 32 and are padded with their mean colour",
        "classes of the target that do not match by name: not in the grammar: Ball",
    )
    labelling = Labelling("classification", ("thing",), _render_nothing, label_photo=lambda given: given)
    with pytest.raises(
        InputError,
        match=r"Ball/0\.png has the label 'Ball'; allowed: thing; or map it to one of them in target\.classes",
    ):
        photos.labelled(None, labelling, 10)
    both = load_experiment(world, {"target.classes": {"Cube": "thing", "Ball": "thing"}, "target.fit": "crop"}).target
    assert isinstance(both, PhotographTarget)
    assert both.labelled(None, labelling, 10)[1] == [0] * 10
    assert both.notes(("thing",)) == (
        "10 of 10 target images have another shape than 32 x 32 and are cropped: 27% of their area is lost on average; "
        "target.fit=pad keeps it",
    )
    none = load_experiment(world, {"target.classes": {}}).target
    assert isinstance(none, PhotographTarget)
    with pytest.raises(
        InputError, match=r"photos: none of its classes \(Ball, Cube\) is one of the grammar's \(thing\)"
    ):
        none.labelled(None, labelling, 10)


def test_a_folder_that_is_gone_is_missed_when_it_is_needed(tmp_path: Path) -> None:
    photos = load_experiment(write_sprites(tmp_path, SPRITES + "target: {images: photos}\n")).target
    assert isinstance(photos, PhotographTarget)
    with pytest.raises(InputError, match=r"/photos: there is no such folder$"):
        photos.images()


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("{images: photos, overrides: {thing.x: 3}}", "overrides belongs to a synthetic target, and images are given"),
        ("{layout: coco}", "layout is given without images, which it is of"),
        (
            "{images: photos, layout: via}",
            "it must be 'images', 'coco', 'kitti', 'yolo', 'voc', 'bop', 'masks', 'idx', 'webdataset' or 'parquet'",
        ),
        ("{fit: pad}", "fit is given without images, which it is of"),
        ("{images: photos, fit: stretch}", "it must be 'crop', 'pad' or 'resize'"),
    ],
)
def test_mistakes(tmp_path: Path, target: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        load_experiment(write_sprites(tmp_path, SPRITES + f"target: {target}\n"))


def test_sets_say_whose_they_are(tmp_path: Path) -> None:
    text = SPRITES.replace("{images: shapes}", "{images: shapes, licence: 'CC BY 4.0, by Ann'}")
    sets = load_experiment(write_sprites(tmp_path, text)).grammar.asset_sets
    assert sets["shapes"].licence == "CC BY 4.0, by Ann"
    assert load_experiment("mnist-rot").grammar.asset_sets["digits"].licence is not None
