"""Models of translation, from a grammar and a folder of photographs to translated datasets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.datasets import RINGS, write_rings

import trainer.translate
from trainer.cli import main
from trainer.datasets.readers import open_dataset
from trainer.errors import InputError, TranslationRefused
from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions
from trainer.translate import FitOptions, fit
from trainer.translation import METHODS, UNKNOWN, Buffers, open_translator
from trainer.translation.fourier import FourierTranslator

POOL = PoolOptions(workers=1)
SIZE = 96, 72


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grammar of rings and discs whose target is a folder of eight reddish photographs."""
    folder = tmp_path_factory.mktemp("rings")
    path = write_rings(folder)
    path.write_text(f"{RINGS}task: detection\nengine: raster\ntarget: {{images: photos}}\n")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.normal((190, 90, 60), 25, (SIZE[1], SIZE[0], 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def fitted(world: Path) -> tuple[Path, dict[str, Any]]:
    """A model of colours, and what its fit returns."""
    out = world.parent / "models" / "colours.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.translate, "CHECKED", 12)
        return out, fit(FitOptions(str(world), out, renders=12, pool=POOL))


def test_a_fit_writes_a_model_pictures_and_figures(fitted: tuple[Path, dict[str, Any]], world: Path) -> None:
    out, found = fitted
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "colours-labels.jpg", "colours.jpg", "colours.json", "colours.safetensors"
    ]  # fmt: skip
    assert json.loads((out.parent / "colours.json").read_text()) == found
    assert (found["model"], found["method"], found["photographs"], found["renders"]) == (str(out), "color", 8, 12)
    assert found["check"]["problem"] == ""
    assert found["check"]["outlines"]["objects"] > 20
    assert found["check"]["outlines"]["kept"] > 0.9
    assert found["check"]["task"]["task"] == "detection"
    assert found["distances"]["translated"]["mmd"] < found["distances"]["renders"]["mmd"]
    translator = open_translator(out)
    assert translator.classes == ("disc", "ring")
    assert (translator.origin.photographs, translator.origin.count) == (str(world.parent / "photos"), 8)
    with pytest.raises(InputError, match="exists, and models are never overwritten; choose another name"):
        fit(FitOptions(str(world), out))


class Shifting(FourierTranslator):
    """Moves everything six pixels to the right."""

    method = "shifting"

    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        del buffers
        return np.roll(image, 6, 1)


def test_a_model_that_moves_objects_is_refused(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainer.translate, "CHECKED", 12)
    monkeypatch.setattr(trainer.translate, "check_task", lambda *_: None)  # Outlines are enough.
    methods: Mapping[str, Any] = {**METHODS, "fourier": Shifting}
    monkeypatch.setattr(trainer.translate, "method_of", methods.__getitem__)
    out = tmp_path / "shifting.safetensors"
    command = ["translate", "fit", str(world), "--method", "fourier", "--renders", "12", "--workers", "1"]
    assert main([*command, "--out", str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("metasim: labels do not survive this model: the outlines of ")
    assert f"see {tmp_path / 'shifting-labels.jpg'}" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "shifting-labels.jpg", "shifting.jpg", "shifting.json", "shifting.safetensors.refused"
    ]  # fmt: skip
    assert issubclass(TranslationRefused, Exception)


def test_a_dataset_is_generated_with_translated_images(fitted: tuple[Path, dict[str, Any]], world: Path) -> None:
    model, folder = fitted[0], world.parent
    options = GenerateOptions(str(world), 6, folder / "plain", "imagefolder-masks", pool=POOL, audit=3)
    generate(options)
    assert main([
        "generate", str(world), "--count", "6", "--format", "imagefolder-masks", "--audit", "3", "--workers", "1",
        "--translate", str(model), "--out", str(folder / "translated"),
    ]) == 0  # fmt: skip
    translator = open_translator(model)
    plain, translated = open_dataset(folder / "plain"), open_dataset(folder / "translated")
    for before, after in zip(plain, translated, strict=True):
        np.testing.assert_array_equal(after.image, translator.apply(before.image))
    rows = [(folder / name / "metadata.jsonl").read_text() for name in ("plain", "translated")]
    assert rows[0] == rows[1]
    card = (folder / "translated" / "README.md").read_text()
    assert f"* Appearance: translated by color (model {translator.fingerprint}), fitted to the prior of " in card
    assert f"--translate {model}" in card


def test_a_copy_equals_what_is_generated(fitted: tuple[Path, dict[str, Any]], world: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    generate(GenerateOptions(str(world), 3, plain, "coco", pool=POOL))
    assert main(["translate", "apply", str(plain), "--model", str(fitted[0]), "--out", str(tmp_path / "copy")]) == 0
    generate(GenerateOptions(str(world), 3, tmp_path / "direct", "coco", pool=POOL, translate=fitted[0]))
    kept = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "copy", tmp_path / "direct")
    ]
    for each in kept:
        del each[Path("README.md")]
    assert kept[0] == kept[1]


def test_a_source_without_photographs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no photographs as its target; name a folder of them by --target"):
        fit(FitOptions(str(write_rings(tmp_path)), tmp_path / "model"))
