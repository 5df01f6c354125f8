"""Datasets from grammars and runs."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from metasim.image_files import encoder_name
from metasim.v1 import render_pb2
from PIL import Image
from support.grammars import SPRITES, write_sprites
from support.moving_run import moving_run
from support.servers import server

import trainer.datasets.writers.rendered
import trainer.generate
from trainer.assets.idx import read_idx
from trainer.datasets.merging import merge_parts
from trainer.datasets.readers import open_dataset
from trainer.datasets.writers.coco import CocoWriter
from trainer.datasets.writers.journal import JOURNAL
from trainer.errors import InputError, RenderError
from trainer.generate import GenerateOptions, generate, plan
from trainer.grammar import load_grammar
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Silent, StepHandle
from trainer.randomness import Purpose, generator, integer


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server("--engine", "raster", "--workers", "1") as running:
        yield running.address


def solid_sprites(folder: Path, text: str = SPRITES) -> Path:
    """A grammar of white rectangles; boxes are drawn around what is opaque."""
    path = write_sprites(folder, text)
    for image in (folder / "shapes").iterdir():
        Image.new("RGBA", (4, 4), "white").save(image)
    return path


def metadata(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }


def test_a_dataset_of_a_grammar(tmp_path: Path, endpoint: str) -> None:
    world = solid_sprites(tmp_path)
    options = GenerateOptions(str(world), 5, tmp_path / "data", seed=3, pool=PoolOptions(endpoint))
    summary = generate(options)
    assert summary == {
        "out": str(tmp_path / "data"),
        "format": "imagefolder",
        "count": 5,
        "of": "the prior of world",
        "seed": 3,
        "rendered_by": f"the workers at {endpoint}",
        "labels": {"thing": 5},
        "resumed_at": 0,
        "seconds": summary["seconds"],
    }
    entries = metadata(tmp_path / "data")
    assert [entry["label"] for entry in entries] == ["thing"] * 5
    grammar = load_grammar(world)
    for index, entry in enumerate(entries):
        scene = grammar.sample(generator(3, Purpose.GENERATION, index))
        thing = scene.nodes[1]
        assert entry["attributes"] == [
            {"node": "thing-1", "attribute": "x", "value": pytest.approx(thing.values["x"], abs=1e-4)},
            {"node": "thing-1", "attribute": "yaw", "value": pytest.approx(thing.values["yaw"], abs=1e-4)},
        ]
        left, top, width, height = entry["objects"]["bbox"][0]
        assert entry["objects"]["categories"] == ["thing"]
        assert left + width / 2 == pytest.approx(16 + thing.values["x"], abs=1.0)
        assert top + height / 2 == pytest.approx(16, abs=1.0)
        lit = np.argwhere(np.asarray(Image.open(tmp_path / "data" / entry["file_name"])).max(axis=2) > 0)
        assert lit.mean(axis=0) == pytest.approx([15.5, 15.5 + thing.values["x"]], abs=0.6)


def test_images_are_those_of_the_scenes(tmp_path: Path, endpoint: str) -> None:
    world = solid_sprites(tmp_path)
    generate(GenerateOptions(str(world), 2, tmp_path / "data", seed=1, pool=PoolOptions(endpoint)))
    grammar = load_grammar(world)
    task = render_pb2.RenderTask(
        id="again",
        scene=grammar.sample(generator(1, Purpose.GENERATION, 1)).to_wire(grammar.assets.hash_of),
        settings=grammar.render_settings(),
        seed=integer(1, Purpose.GENERATION) + 1,
        outputs=[render_pb2.OUTPUT_IMAGE_U8],
    )
    with open_pool(PoolOptions(endpoint), assets=grammar.assets) as pool:
        [result] = pool.render([task])
    pixels = Image.open(tmp_path / "data" / "images" / "0000001.png").tobytes()
    assert pixels == result.layers[0].tensor.data


def test_a_function_of_the_seed_alone(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = str(solid_sprites(tmp_path))
    generate(GenerateOptions(world, 5, tmp_path / "first", pool=PoolOptions(endpoint)))
    monkeypatch.setattr(trainer.generate, "CHUNK", 2)
    generate(GenerateOptions(world, 5, tmp_path / "again", pool=PoolOptions(endpoint)))
    generate(GenerateOptions(world, 3, tmp_path / "fewer", pool=PoolOptions(endpoint)))
    generate(GenerateOptions(world, 5, tmp_path / "other", seed=1, pool=PoolOptions(endpoint)))
    first = files(tmp_path / "first")
    assert files(tmp_path / "again") == first
    fewer = files(tmp_path / "fewer")
    images = [name for name in fewer if name.endswith(".png")]
    assert len(images) == 3
    assert all(fewer[name] == first[name] for name in images)
    assert not set(files(tmp_path / "other").values()) & set(first.values())


def test_a_dataset_of_a_run_has_what_was_learned(tmp_path: Path, endpoint: str) -> None:
    world = str(solid_sprites(tmp_path))
    run = moving_run(tmp_path / "run", world, {"thing.yaw": 45.0, "thing.x": 5.0})
    generate(GenerateOptions(world, 6, tmp_path / "prior", seed=2, pool=PoolOptions(endpoint)))
    summary = generate(GenerateOptions(str(run.folder), 6, tmp_path / "learned", seed=2, pool=PoolOptions(endpoint)))
    assert summary["of"] == f"the learned model of {tmp_path / 'run'}"
    for before, after in zip(metadata(tmp_path / "prior"), metadata(tmp_path / "learned"), strict=True):
        moved = [a["value"] - b["value"] for a, b in zip(after["attributes"], before["attributes"], strict=True)]
        assert moved == pytest.approx([5.0, 45.0], abs=1e-3)
        assert after["label"] == before["label"]


def test_digits_are_numbers(tmp_path: Path, endpoint: str) -> None:
    text = SPRITES.replace("class: thing", 'class: "7"')
    world = str(solid_sprites(tmp_path, text))
    summary = generate(GenerateOptions(world, 4, tmp_path / "data", "idx", pool=PoolOptions(endpoint)))
    assert summary["labels"] == {"7": 4}
    assert read_idx(tmp_path / "data" / "train-labels-idx1-ubyte", 1).tolist() == [7] * 4
    assert read_idx(tmp_path / "data" / "train-images-idx3-ubyte", 3).shape == (4, 32, 32)


def test_several_objects_have_boxes_and_no_label(tmp_path: Path, endpoint: str) -> None:
    text = SPRITES.replace("scene: [camera, thing]", "scene: [camera, {kind: thing, count: 2}]")
    world = str(solid_sprites(tmp_path, text))
    summary = generate(GenerateOptions(world, 2, tmp_path / "data", pool=PoolOptions(endpoint)))
    assert summary["labels"] == {"none": 2}
    for entry in metadata(tmp_path / "data"):
        assert "label" not in entry
        assert entry["objects"]["categories"] == ["thing", "thing"]
    with pytest.raises(InputError, match="sample 0: label None does not fit idx"):
        generate(GenerateOptions(world, 2, tmp_path / "idx", "idx", pool=PoolOptions(endpoint)))
    assert not list(tmp_path.glob("idx*"))


def test_the_card_says_where_it_comes_from(tmp_path: Path, endpoint: str) -> None:
    world = solid_sprites(tmp_path)
    out = tmp_path / "my data"
    generate(GenerateOptions(str(world), 2, out, seed=9, pool=PoolOptions(endpoint)))
    card = (out / "README.md").read_text()
    assert "* Source: the prior of world, grammar world.yaml\n* Seed: 9\n" in card
    rendering = f"* Rendering: the workers at {endpoint}, 32 x 32 pixels, samples per pixel: 1; raster 2 on CPU"
    assert f"{rendering}, {encoder_name()}\n" in card
    command = f"metasim generate {world} --count 2 --format imagefolder --seed 9 --out '{out}' --renderer {endpoint}"
    assert f"    {command}\n" in card
    assert "| thing | 2 |" in card
    assert "* shapes: 3 items; the licence of whoever made them" in card


def test_nothing_is_left_where_no_worker_is_found(tmp_path: Path) -> None:
    from trainer.pool import PoolSettings

    world = str(solid_sprites(tmp_path))
    settings = PoolSettings(connect_timeout_s=0.2)
    with pytest.raises(InputError, match="cannot reach localhost:1"):
        generate(GenerateOptions(world, 1, tmp_path / "data", pool=PoolOptions("localhost:1", settings=settings)))
    assert not list(tmp_path.glob("data*"))


def test_what_was_written_stays_when_rendering_fails(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = str(solid_sprites(tmp_path))
    monkeypatch.setattr(trainer.generate, "CHUNK", 1)
    render = trainer.datasets.writers.rendered.Renderer.render_wires

    def failing(renderer: Any, wires: Any, seed: int, *arguments: Any) -> Any:
        if seed == integer(0, Purpose.GENERATION) + 2:
            raise RenderError("third", "no worker is left")
        return render(renderer, wires, seed, *arguments)

    monkeypatch.setattr(trainer.datasets.writers.rendered.Renderer, "render_wires", failing)
    with pytest.raises(RenderError, match="no worker is left"):
        generate(GenerateOptions(world, 4, tmp_path / "data", pool=PoolOptions(endpoint)))
    assert not (tmp_path / "data").exists()
    assert len(list((tmp_path / "data.partial" / "images").iterdir())) == 2


def test_a_killed_export_that_is_resumed_has_the_same_bytes(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
        solid_sprites(tmp_path / folder)
    options = GenerateOptions("world.yaml", 600, Path("data"), "coco", pool=PoolOptions(endpoint))
    monkeypatch.chdir(tmp_path / "whole")
    generate(options)
    monkeypatch.chdir(tmp_path / "killed")
    arguments = f"generate world.yaml --count 600 --format coco --out data --renderer {endpoint}".split()
    command = [sys.executable, "-c", "import sys; from trainer.cli import main; sys.exit(main(sys.argv[1:]))"]
    running = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = Path("data.partial", JOURNAL)
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 20:
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.kill()
    running.communicate()
    written = journal.read_bytes().count(b"\n") - 1
    assert 19 <= written < 600
    assert not Path("data").exists()
    assert generate(replace(options, resume=True))["resumed_at"] == written
    whole, resumed = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "whole" / "data", tmp_path / "killed" / "data")
    )
    assert whole == resumed


def test_another_world_is_not_gone_on_with(tmp_path: Path, endpoint: str) -> None:
    world = solid_sprites(tmp_path)
    options = GenerateOptions(str(world), 3, tmp_path / "data", "coco", pool=PoolOptions(endpoint))
    (tmp_path / "data.partial").mkdir()
    with pytest.raises(InputError, match=r"there is no .*data\.partial to resume"):
        generate(replace(options, resume=True))
    (tmp_path / "data.partial").rmdir()

    class Stopping(Silent):
        def step(self, name: str) -> StepHandle:  # noqa: ARG002
            def advance(done: int, of: int) -> None:
                raise KeyboardInterrupt(f"{done} of {of}")

            return StepHandle(advance)

    with pytest.raises(KeyboardInterrupt):
        generate(options, Stopping())
    world.write_text(world.read_text().replace("[0, 10]", "[0, 11]"))
    with pytest.raises(InputError, match=r"data\.partial is of another export: its fingerprint is "):
        generate(replace(options, resume=True))


def two_kinds(folder: Path) -> str:
    """A thing that is sometimes out of the image, and a wall that is always seen."""
    text = SPRITES.replace("x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}", "x: {uniform: [-40, 40]}")
    return str(solid_sprites(folder, text))


def test_shards_of_several_clients_make_the_dataset(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = str(solid_sprites(tmp_path))
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    options = GenerateOptions(world, 10, Path("data"), "webdataset", pool=PoolOptions(endpoint))
    monkeypatch.chdir(tmp_path / "one")
    generate(options)
    monkeypatch.chdir(tmp_path / "many")
    for index in (2, 0, 3, 1):
        assert generate(replace(options, shard=f"{index}/4"))["count"] in (2, 3)
    assert merge_parts(Path("data"))["parts"] == 4
    whole, merged = (
        {path.name: path.read_bytes() for path in (tmp_path / folder / "data").iterdir()} for folder in ("one", "many")
    )
    assert whole == merged
    with pytest.raises(InputError, match=r"data exists, and datasets are never overwritten"):
        generate(replace(options, shard="0/4"))


@pytest.mark.parametrize("name", ["yolo", "imagefolder"])
def test_splits_are_datasets_of_their_own(name: str, tmp_path: Path, endpoint: str) -> None:
    world = str(solid_sprites(tmp_path))
    options = GenerateOptions(world, 10, tmp_path / "data", name, pool=PoolOptions(endpoint), split="train=0.7,val=0.3")
    assert generate(options)["labels"] == {"thing": 10}
    generate(replace(options, out=tmp_path / "whole", split=None))
    dataset, whole = open_dataset(tmp_path / "data"), open_dataset(tmp_path / "whole")
    assert [example.name.split("/")[0] for example in dataset] == ["train"] * 7 + ["val"] * 3
    for one, other in zip(dataset, whole, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.objects == other.objects
    card = (tmp_path / "data" / "README.md").read_text()
    assert "--split train=0.7,val=0.3" in card
    assert "| train | 7 |\n| val | 3 |\n" in card
    if name == "yolo":
        data = yaml.safe_load((tmp_path / "data" / "data.yaml").read_text())
        assert data == {"train": "train/images/train", "val": "val/images/train", "names": {0: "thing"}}


def test_splits_of_shards(tmp_path: Path, endpoint: str) -> None:
    world = str(solid_sprites(tmp_path))
    options = GenerateOptions(world, 10, tmp_path / "a", "coco", pool=PoolOptions(endpoint), split="test=0.4,train=0.6")
    generate(options)
    for index in range(2):
        generate(replace(options, out=tmp_path / "b", shard=f"{index}/2"))
    merge_parts(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_interrupted_split_goes_on(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = str(solid_sprites(tmp_path))
    options = GenerateOptions(world, 9, tmp_path / "a", "coco", pool=PoolOptions(endpoint), split="train=0.6,test=0.4")
    generate(replace(options, out=tmp_path / "whole"))
    add = CocoWriter.add
    added = 0

    def interrupted(*arguments: Any, **named: Any) -> None:
        nonlocal added
        if added == 7:
            raise KeyboardInterrupt
        added += 1
        add(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(CocoWriter, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(options)
    with pytest.raises(InputError, match=r"a\.partial is an unfinished export; add --resume"):
        generate(options)
    assert generate(replace(options, resume=True))["resumed_at"] == 7
    assert files(tmp_path / "a") == files(tmp_path / "whole")


def test_scenes_are_drawn_until_they_meet_the_condition(tmp_path: Path, endpoint: str) -> None:
    world = two_kinds(tmp_path)
    options = GenerateOptions(world, 12, tmp_path / "all", "imagefolder", pool=PoolOptions(endpoint))
    generate(options)
    seen = ["objects" in row for row in metadata(tmp_path / "all")]
    assert 2 < sum(seen) < 12
    kept = replace(options, out=tmp_path / "kept", keep="visible(thing) >= 1")
    share = generate(kept)["kept"]
    rows = metadata(tmp_path / "kept")
    assert all("objects" in row for row in rows)
    # Scenes that met the condition stay as they are.
    for row, before, there in zip(rows, metadata(tmp_path / "all"), seen, strict=True):
        assert (row == before) is there
    assert 12 / share == pytest.approx(round(12 / share))
    assert (
        f"* Kept: scenes with `visible(thing) >= 1`, {share:.1%} of {round(12 / share)} drawn\n"
        in (tmp_path / "kept" / "README.md").read_text()
    )
    for index in range(3):
        generate(replace(kept, out=tmp_path / "parts", shard=f"{index}/3"))
    merge_parts(tmp_path / "parts")
    assert files(tmp_path / "parts") == files(tmp_path / "kept")
    with pytest.raises(InputError, match=r"^--keep 'visible\(thing\) > 1': image 0: none of 1000 scenes meets"):
        generate(replace(options, out=tmp_path / "none", count=1, keep="visible(thing) > 1"))


def test_a_plan_measures_and_writes_nothing(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.generate, "PLAN_IMAGES", 30)
    world = str(solid_sprites(tmp_path))
    before = sorted(tmp_path.iterdir())
    found = plan(GenerateOptions(world, 3600, tmp_path / "data", "coco", pool=PoolOptions(endpoint)))
    assert sorted(tmp_path.iterdir()) == before
    assert found["measured"] == 30
    assert found["hours"] == pytest.approx(1 / found["images_per_s"])
    assert found["core_hours"] >= found["hours"] * found["processes"]
    assert 100 < found["bytes_per_image"] < 10_000


def test_samples_and_denoising_are_those_of_the_options(tmp_path: Path, endpoint: str) -> None:
    path = write_sprites(tmp_path)
    options = GenerateOptions(
        source=str(path), count=1, out=tmp_path / "out", samples=3, pool=PoolOptions(renderer=endpoint), audit=0
    )
    generate(options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "samples per pixel: 3" in card
    assert "--samples 3" in card
    with pytest.raises(RenderError, match="the engine raster has no denoising"):
        generate(replace(options, out=tmp_path / "clean", denoise=True))
