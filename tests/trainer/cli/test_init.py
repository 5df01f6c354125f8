"""`metasim init`: a starter grammar that passes the check."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.assets.procedural.export import write_family
from trainer.experiments import load_experiment
from trainer.grammar.nodes import Mesh, Sprite


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        pixels = np.full((400, 300, 3), (200, 100, 50), np.uint8)
        pixels[: 20 * number] = 0
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_world_of_pictures_takes_size_and_colour_from_the_photographs(metasim: Callable, tmp_path: Path) -> None:
    write_family("blood-cells", tmp_path / "cells", ["RBC", "WBC"])
    photographs(tmp_path / "photos")
    done = metasim("init worlds/my-world --assets cells --target photos")
    assert (done.status, done.err) == (0, "Look at it: metasim grammar sample worlds/my-world.yaml\n")
    assert done.out.startswith("worlds/my-world.yaml is right: 2 kinds of nodes")
    assert metasim("grammar check worlds/my-world.yaml").status == 0
    experiment = load_experiment("worlds/my-world.yaml")
    render, thing = experiment.grammar.render, experiment.grammar.kinds["thing"]
    assert (render.width_px, render.height_px, experiment.engine) == (180, 240, "raster")
    np.testing.assert_allclose(experiment.grammar.background, np.array([200, 100, 50]) * 0.95 / 255, atol=0.01)
    assert isinstance(thing.content, Sprite)
    assert experiment.grammar.classes == ("RBC", "WBC")
    text = Path("worlds/my-world.yaml").read_text()
    assert 'target: {images: "../photos"}' in text
    assert all("#" in line or len(line) <= 120 for line in text.splitlines())
    again = metasim("init worlds/my-world --assets cells")
    assert (again.status, again.err) == (
        2,
        "metasim: worlds/my-world.yaml exists; choose another name, or remove it\n",
    )


def test_a_world_of_models_is_as_large_as_they_are(metasim: Callable, tmp_path: Path) -> None:
    write_family("household", tmp_path / "models", ["mug"])
    assert metasim("init my-world --assets models").status == 0
    grammar = load_experiment("my-world.yaml").grammar
    assert isinstance(grammar.kinds["thing"].content, Mesh)
    assert grammar.classes == ("mug",)
    away = next(spec for spec in grammar.kinds["camera"].specs if spec.name == "z").distribution.mean
    assert 0.4 < away < 1.2  # a mug is 10 to 15 cm large
    assert grammar.sample(np.random.default_rng(0)).nodes


def test_without_assets_the_world_has_household_things(metasim: Callable) -> None:
    done = metasim("init my-world")
    assert done.status == 0
    assert "5 classes; assets: 5 things" in done.out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--assets none", "none: there is no such folder"),
        ("--assets texts", "texts holds neither PNG images nor meshes (.glb, .obj, .ply, .blend)"),
        ("--target none", "none: there is no such folder"),
    ],
)
def test_mistakes_leave_no_file(metasim: Callable, tmp_path: Path, options: str, line: str) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    done = metasim("init my-world", options)
    assert (done.status, done.err) == (2, f"metasim: {line}\n")
    assert not (tmp_path / "my-world.yaml").exists()
