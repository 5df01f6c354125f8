"""A folder of images as the target, as a user gives it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.grammars import write_sprites

SHORT = (
    "training.epochs=1 training.steps=1 training.batch=2 training.target_images=6 training.pretraining_steps=2 "
    "training.monitor_scenes=8 'training.inference={rounds: 1, simulations: 64, epochs: [1], transport_passes: 1}'"
)


def write_photos(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")


def test_photos_are_learned_from_and_are_not_needed_afterwards(
    metasim: Callable, tmp_path: Path, endpoint: str
) -> None:
    write_sprites(tmp_path)
    write_photos(tmp_path / "photos")
    done = metasim(f"train world.yaml --target photos --out run --renderer {endpoint} {SHORT}")
    assert done.status == 0, done.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["attributes"]["target"] == []
    assert len(summary["mmd"]) == 1
    assert (tmp_path / "run" / "report.html").is_file()
    header = next(line for line in done.out.splitlines() if line.startswith("mean ± spread"))
    assert header.split()[3:] == ["prior", "learned"], "photographs have no attributes"
    done = metasim(f"evaluate run --test-images 10 --renderer {endpoint}")
    assert done.status == 0, done.err
    assert done.out.startswith(f"classification is not scored: {tmp_path / 'photos'}: 0.jpg has no label, which ")
    assert "of images, in the feature space estimator" in done.out
    shutil.rmtree(tmp_path / "photos")
    done = metasim(f"generate run --count 2 --format coco --out data --renderer {endpoint}")
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: shutil.rmtree(folder), "{folder}: there is no such folder"),
        (
            lambda folder: [path.unlink() for path in folder.iterdir()],
            "{folder} holds no image; looked for names that end in .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .ppm, "
            ".pgm",
        ),
        (
            lambda folder: (folder / "3.jpg").write_bytes(b"\xff\xd8\xff"),
            "{folder}/3.jpg is damaged (no image that can be read); repair or remove it",
        ),
    ],
)
def test_bad_photos_are_one_line_and_leave_nothing(
    metasim: Callable, tmp_path: Path, spoil: Callable[[Path], object], line: str
) -> None:
    write_sprites(tmp_path)
    write_photos(tmp_path / "photos")
    spoil(tmp_path / "photos")
    done = metasim("train world.yaml --target photos --out run")
    assert done.err.splitlines()[-1] == f"metasim: {line.format(folder=tmp_path / 'photos')}"
    assert (done.status, done.out) == (2, "")
    assert not (tmp_path / "run").exists()


def test_photos_without_labels_cannot_be_scored(metasim: Callable, tmp_path: Path) -> None:
    write_sprites(tmp_path)
    write_photos(tmp_path / "photos")
    done = metasim(
        "train world.yaml --target photos --out run "
        "'training.stages=[{losses: [mmd]}, {name: score, losses: [mmd, task]}]'"
    )
    assert done.err.splitlines()[-1] == (
        f"metasim: {tmp_path}/photos: 0.jpg has no label, which classification needs; the stage 'score' learns from "
        "such labels: add them, or state training.stages without it"
    )
    assert (done.status, done.out) == (2, "")
    assert not (tmp_path / "run").exists()


def test_photos_that_are_all_alike_are_one_line(metasim: Callable, tmp_path: Path, endpoint: str) -> None:
    write_sprites(tmp_path)
    write_photos(tmp_path / "photos")
    for number in range(1, 8):
        shutil.copyfile(tmp_path / "photos" / "0.jpg", tmp_path / "photos" / f"{number}.jpg")
    done = metasim(f"train world.yaml --target photos --out run --renderer {endpoint} {SHORT}")
    assert done.err.splitlines()[-1] == (
        "metasim: target: its images are all alike, or there is only one; learning needs images that differ"
    )
    assert done.status == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--fit pad", "--fit and --classes need --target"),
        (
            "--target photos --classes thing",
            "--classes thing: 'thing' is not NAME=VALUE, once each; write for example a=b,c=d",
        ),
    ],
)
def test_options_of_photos(metasim: Callable, tmp_path: Path, options: str, line: str) -> None:
    write_sprites(tmp_path)
    done = metasim(f"train world.yaml --out run {options}")
    assert (done.status, done.err.splitlines()[-1]) == (2, f"metasim: {line}")


def test_classes_of_photos_are_mapped(metasim: Callable, tmp_path: Path) -> None:
    """A name that is not there stops the training before anything is rendered."""
    write_sprites(tmp_path)
    write_photos(tmp_path / "cube")
    (tmp_path / "photos").mkdir()
    (tmp_path / "cube").rename(tmp_path / "photos" / "cube")
    done = metasim("train world.yaml --target photos --fit resize --classes cub=thing --out run")
    assert done.status == 2
    assert done.err.splitlines()[-1] == (
        f"metasim: classes: cub=thing: {tmp_path / 'photos'} has no class 'cub' (near: 'cube'); it has: cube"
    )


def test_a_sample_shows_the_photographs_beside_the_prior(metasim: Callable, tmp_path: Path, endpoint: str) -> None:
    write_sprites(tmp_path)
    write_photos(tmp_path / "photos")
    heights = []
    for options in ("", "--target photos"):
        done = metasim(f"grammar sample world.yaml {options} --count 3 --out look.png --renderer {endpoint}")
        assert (done.status, done.out) == (0, "look.png\n"), done.err
        with Image.open(tmp_path / "look.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0]
