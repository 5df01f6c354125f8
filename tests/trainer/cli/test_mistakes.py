"""Mistakes: each gives one line that says what is wrong and what would be right, and exit status 2."""

import errno
import gzip
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import shared_data
from support.digits import write_digits
from support.grammars import SPRITES, write_sprites
from support.moving_run import moving_run

from trainer.cli import main
from trainer.environment import shipped_files

RUN_EXAMPLE = "`metasim train mnist-rot`"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("trian mnist-rot", "No such command 'trian'. Did you mean 'train'?; see `metasim --help`"),
        (
            "train mnist-rot --rendrer local",
            "No such option: --rendrer (Possible options: --render-device, --renderer); see `metasim train --help`",
        ),
        (
            "train mnist-rot --engine unreal",
            "Invalid value for '--engine': 'unreal' is not one of 'blender', 'raster', 'fake'; "
            "see `metasim train --help`",
        ),
        ("generate mnist-rot --out data", "Missing option '--count'; see `metasim generate --help`"),
        ("train", f"EXPERIMENT is missing; write for example {RUN_EXAMPLE}"),
        ("train --out here", f"EXPERIMENT is missing; write for example {RUN_EXAMPLE}"),
        ("train --resume", "--out is missing; write for example `metasim train --resume --out runs/mnist-rot`"),
        (
            "train mnist-rto",
            "there is no grammar or experiment 'mnist-rto'; did you mean 'mnist-rot'? "
            f"Known: {', '.join(shipped_files())}; a file is named with its suffix, as in my-world.yaml",
        ),
        ("train mine.yaml", "mine.yaml: there is no such file"),
        ("train world.yaml", "world.yaml has no target, so there is nothing to learn from it"),
        ("train mnist-rot fast", "'fast' is not KEY=VALUE; write settings like training.epochs=4"),
        ("train mnist-rot a=", "'a=' is not KEY=VALUE; write settings like training.epochs=4"),
        ("train mnist-rot training.epochs=1 training.epochs=2", "training.epochs is set twice; set it once"),
        (
            "train mnist-rot digit.yaw={normal",
            "digit.yaw={normal: the value is not YAML (expected ',' or '}', but got '<stream end>'); "
            "write for example 'digit.yaw={normal: [90, 10]}'",
        ),
        ("train mnist-rot training.epochs=0", "training.epochs is 0: input should be greater than or equal to 1"),
        (
            "train mnist-rot --renderer localhost:1 --connect-timeout 0.2",
            "cannot reach localhost:1 (tried for 0.2 s): start one with `metasim-render serve --port 1`, "
            "or use --renderer local",
        ),
        (
            "train mnist-rot --renderer localhost",
            "renderer 'localhost' has no host or no port; write HOST:PORT, e.g. 127.0.0.1:50051, "
            "or several of them separated by commas",
        ),
        (
            "train mnist-rot --out taken",
            "taken exists, and runs are never overwritten: "
            "add --resume to continue it, or choose another --out",
        ),
        ("train --resume --out taken", "taken is no run folder (it has no config.json); `metasim train` creates one"),
        ("evaluate runs/none", "runs/none is no run folder (it has no config.json); `metasim train` creates one"),
        ("report taken", "taken is no run folder (it has no config.json); `metasim train` creates one"),
        (
            "generate runs/none --count 1 --out data",
            "runs/none: no run folder or grammar file has this name",
        ),
        (
            "generate world.yaml --count 1 --out data --format coca",
            "format 'coca' is unknown; allowed: bop, coco, coco-rle, idx, idx-gz, imagefolder, imagefolder-masks, "
            "kitti, parquet, parquet-masks, voc, webdataset, webdataset-masks, yolo, yolo-seg",
        ),
        (
            "generate world.yaml --count 1 --out data --format kitti",
            "kitti knows the classes Car, Van, Truck, Pedestrian, Person_sitting, Cyclist, Tram, Misc; "
            "the scenes' are: thing; rename them, or choose coco",
        ),
        (
            "generate world.yaml --count 1 --out data --resume",
            "there is no data.partial to resume; omit --resume to start",
        ),
        (
            "generate world.yaml --count 1 --out world.yaml/data",
            "world.yaml is not a folder; choose another place for data",
        ),
        (
            "generate world.yaml --count 1 --out taken",
            "taken exists, and datasets are never overwritten; choose another folder",
        ),
        (
            "grammar check mnist-rot --mnist taken",
            f"{shipped_files()['mnist-rot']}:6: assets.digits.mnist is 'train'; taken lacks train-images-idx3-ubyte "
            "(plain or .gz); it must hold MNIST's four idx files: `metasim data mnist` fetches them",
        ),
    ],
)  # fmt: skip
def test_one_line(metasim: Callable, tmp_path: Path, arguments: str, line: str) -> None:
    write_sprites(tmp_path)
    (tmp_path / "taken").mkdir()
    done = metasim(arguments)
    assert done.err.splitlines()[-1] == f"metasim: {line}"
    before = done.err.splitlines()[:-1]
    assert [text for text in before if not text.startswith("note: ") and not text.endswith(" ...")] == []
    assert (done.status, done.out) == (2, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shapes", "taken", "world.yaml"]
    assert list((tmp_path / "taken").iterdir()) == []


#: (what replaces what in a world that is right, the command, what is said).
TYPICAL = {
    "a misspelt key": (
        "yaw:",
        "yow:",
        "grammar check w.yaml",
        "w.yaml:12: nodes.thing: unknown key 'yow'; did you mean 'yaw'?",
    ),
    "a unit": (
        "width: 8",
        "width: 8 cm",
        "train w.yaml",
        "w.yaml:10: nodes.thing.width is '8 cm'; a number is needed, without a unit",
    ),
    "another unit": (
        "[0, 10]",
        "[0, 10deg]",
        "train w.yaml",
        "w.yaml:12: nodes.thing.yaw.normal[1] is '10deg'; a number is needed",
    ),
    "a tab": (
        "    class",
        "\tclass",
        "train w.yaml",
        "w.yaml:8: not YAML: a line is indented with a tab; YAML takes spaces alone",
    ),
    "a missing folder of assets": (
        "images: shapes",
        "images: shpaes",
        "train w.yaml",
        "w.yaml:4: assets.shapes.images is 'shpaes'; shpaes is no folder",
    ),
    "an empty folder of assets": (
        "images: shapes",
        "images: empty",
        "train w.yaml",
        "w.yaml:4: assets.shapes.images is 'empty'; empty holds no file that ends in .png",
    ),
    "a damaged image": (
        "images: shapes",
        "images: torn",
        "train w.yaml --target shapes",
        "torn/a.png is damaged and cannot be read as an image; repair or remove it",
    ),
    "no image at all": (
        "images: shapes",
        "images: fake",
        "train w.yaml --target shapes",
        "fake/a.png is not a PNG image, although its name says so",
    ),
    "an unknown set": (
        "sprite: shapes",
        "sprite: shape",
        "train w.yaml",
        "w.yaml:9: nodes.thing.sprite: unknown set of assets 'shape'; did you mean 'shapes'?",
    ),
    "an unknown kind": (
        "camera, thing",
        "camera, thnig",
        "train w.yaml",
        "w.yaml:14: scene[1]: unknown kind of node 'thnig'; did you mean 'thing'?",
    ),
    "no camera": (
        "camera, thing",
        "thing",
        "train w.yaml",
        "w.yaml:14: scene: scenes have 0 cameras; every scene needs exactly one",
    ),
    "weights that are no probabilities": (
        "sprite: shapes",
        "sprite: {set: shapes, weights: {disc: 0.7, star: 0.7}}",
        "train w.yaml",
        "w.yaml:9: nodes.thing.sprite.weights is {'disc': 0.7, 'star': 0.7}; the probabilities sum to 1.4",
    ),
    "no range": (
        ", range: [-10, 10]",
        "",
        "train w.yaml",
        "w.yaml:13: nodes.thing.x: mutable attributes need a finite range; add e.g. range: [-1, 1]",
    ),
    "nothing to learn": (
        ", mutable: true",
        "",
        "train w.yaml --target shapes",
        "w.yaml has no mutable attribute: mark what may be learned with `mutable: true`",
    ),
    "an empty target folder": (
        "",
        "",
        "train w.yaml --target empty",
        "{here}/empty holds no image; looked for names that end in .png",
    ),
    "no target folder": ("", "", "train w.yaml --target phtoos", "{here}/phtoos: there is no such folder"),
    "an unknown experiment": (
        "",
        "",
        "train mnist-rto",
        "there is no grammar or experiment 'mnist-rto'; did you mean 'mnist-rot'?",
    ),
    "a URL as endpoint": (
        "",
        "",
        "train w.yaml --target shapes --renderer http://host:50051",
        "renderer 'http://host:50051' is a URL; write HOST:PORT, e.g. 127.0.0.1:50051",
    ),
    "an endpoint where nobody listens": (
        "",
        "",
        "train w.yaml --target shapes --renderer 127.0.0.1:9 --connect-timeout 0.2",
        "cannot reach 127.0.0.1:9 (tried for 0.2 s): ",
    ),
    "a place that cannot be written": (
        "",
        "",
        "grammar sample w.yaml --count 1 --renderer {endpoint} --out /proc/no.png",
        "/proc/no.png cannot be written: ",
    ),
    "a setting that is no number": (
        "",
        "",
        "train w.yaml --target shapes training.epochs=many",
        "training.epochs is 'many': ",
    ),
    "no run": (
        "",
        "",
        "evaluate mnist-rot",
        "mnist-rot is no run folder (it has no config.json); `metasim train` creates one",
    ),
}


@pytest.mark.parametrize("name", TYPICAL)
def test_typical_mistakes(metasim: Callable, tmp_path: Path, endpoint: str, name: str) -> None:
    good, bad, command, line = TYPICAL[name]
    assert good in SPRITES
    write_sprites(tmp_path, SPRITES.replace(good, bad), "w.yaml")
    for folder, content in (("torn", b"\x89PNG\r\n\x1a\nxx"), ("fake", b"hello"), ("empty", None)):
        (tmp_path / folder).mkdir()
        if content is not None:
            (tmp_path / folder / "a.png").write_bytes(content)
    done = metasim(command.format(endpoint=endpoint))
    said = [text for text in done.err.splitlines() if not text.startswith("note: ")]
    assert len(said) == 1
    assert said[0].startswith("metasim: " + line.replace("{here}", str(tmp_path)))
    assert (done.status, done.out) == (2, "")
    assert not (tmp_path / "runs").exists()


def test_a_full_disk(metasim: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import train

    write_sprites(tmp_path)
    moving_run(tmp_path / "run", str(tmp_path / "world.yaml"), {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run/metrics.jsonl")

    monkeypatch.setattr(train, "train", full)
    done = metasim("train --resume --out run")
    assert done.status == 2
    assert done.err.splitlines()[-1] == (
        "metasim: run/metrics.jsonl: the disk is full; all up to epoch 1 is saved in run. "
        "Continue with: metasim train --resume --out run"
    )


@pytest.mark.parametrize("arguments", ["train mnist-rot training.epoch=3", "train mnist-rot digit.yow=3"])
def test_misspelt_settings_name_the_nearest(metasim: Callable, arguments: str) -> None:
    done = metasim(arguments)
    nearest = {"training.epoch": "'epochs'", "digit.yow": "'yaw'"}[arguments.split()[-1].split("=")[0]]
    assert f"did you mean {nearest}? Known: " in done.err
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        ("[0, 10]", "[0, -10]", "wrong.yaml:12: nodes.thing.yaw.normal[1] is -10; it must be above 0"),
        ("[-4, 4]", "[-4, 40]", "wrong.yaml:13: nodes.thing.x.uniform[1] is 40; it must lie between -10 and 10"),
        (
            "    yaw:",
            "    children: [thing]\n    yaw:",
            "wrong.yaml:12: nodes.thing.children: the kinds thing > thing form a cycle",
        ),
    ],
)
@pytest.mark.parametrize("command", ["grammar check", "train"])
def test_wrong_grammars(metasim: Callable, tmp_path: Path, command: str, good: str, bad: str, line: str) -> None:
    write_sprites(tmp_path, SPRITES.replace(good, bad), "wrong.yaml")
    done = metasim(command, "wrong.yaml")
    assert (done.status, done.out, done.err) == (2, "", f"metasim: {line}\n")


def test_swapped_files(metasim: Callable, tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits")
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    images.rename(tmp_path / "images")
    labels.rename(images)
    (tmp_path / "images").rename(labels)
    done = metasim("train mnist-rot --mnist digits")
    assert done.err == (
        f"metasim: {shipped_files()['mnist-rot']}:6: assets.digits.mnist is 'train'; digits/train-images-idx3-ubyte "
        "holds 1 dimensions (labels) where 3 (images) are needed; were the files of images and labels swapped?\n"
    )
    assert (done.status, done.out) == (2, "")


def test_no_idx_file(metasim: Callable, tmp_path: Path) -> None:
    (write_digits(tmp_path / "digits") / "train-images-idx3-ubyte").write_text("hello")
    done = metasim("train mnist-rot --mnist digits")
    assert done.err == (
        f"metasim: {shipped_files()['mnist-rot']}:6: assets.digits.mnist is 'train'; digits/train-images-idx3-ubyte "
        "is not an idx file: it begins with 68 65 6c 6c, not with 00 00\n"
    )
    assert (done.status, done.out) == (2, "")


def test_truncated_files(metasim: Callable, tmp_path: Path, endpoint: str) -> None:
    path = write_digits(tmp_path / "digits") / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    done = metasim(f"generate mnist-rot --mnist digits --count 1 --out d --renderer {endpoint}")
    assert done.err.splitlines()[-1] == (
        "metasim: digits/train-images-idx3-ubyte is truncated: it has 47035 bytes of data "
        "where its header says 47040 (60 x 28 x 28)"
    )
    assert (done.status, done.out) == (2, "")
    assert not list(tmp_path.glob("d.*"))


def test_a_truncated_copy_of_mnist(metasim: Callable, tmp_path: Path) -> None:
    shutil.copytree(shared_data("mnist"), tmp_path / "digits")
    path = tmp_path / "digits/t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\x27\x10"))
    done = metasim("data mnist --out digits")
    assert done.status == 2
    assert done.err.startswith("metasim: digits/t10k-labels-idx1-ubyte.gz has the MD5 ")
    assert done.err.endswith("; MNIST's is ec29112dd5afa0611ce80d1b7f02629c\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--seed 1", "run was started with seed 0 and cannot continue with 1; "),
        ("--engine fake", "run was started with engine raster and cannot continue with fake; "),
        ("mnist-rot", "run is a run of {world}, not of mnist-rot; choose another --out"),
        (
            "world.yaml training.epochs=9",
            "run was started with settings {{}} and cannot continue with {{'training.epochs': 9}}; ",
        ),
    ],
)
def test_a_run_goes_on_as_it_began(metasim: Callable, tmp_path: Path, arguments: str, line: str) -> None:
    world = write_sprites(tmp_path)
    moving_run(tmp_path / "run", str(world), {})
    done = metasim("train", arguments, "--resume --out run")
    assert done.err.startswith(f"metasim: {line.format(world=world)}")
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


#: What is wrong with a run folder or its experiment, and what is said.
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another version": (
        lambda here: edited(here / "run" / "config.json", '"seed"', '"sead"'),
        "run/config.json is of another version of metasim (unknown): sead is unknown, seed is missing; use that "
        "version, or train again",
    ),
    "half a configuration": (
        lambda here: (here / "run" / "config.json").write_text('{"experiment": '),
        "run/config.json is damaged: Expecting value at line 1",
    ),
    "half a checkpoint": (
        lambda here: (here / "run" / "checkpoint" / "state.json").write_text("{"),
        "run/checkpoint/state.json is damaged: Expecting property name enclosed in double quotes at line 1",
    ),
    "torn weights": (
        lambda here: (here / "run" / "checkpoint" / "average.safetensors").write_bytes(b"\xff" * 40),
        "run/checkpoint/average.safetensors is damaged: ",
    ),
    "an experiment that has changed": (
        lambda here: edited(here / "world.yaml", "    yaw: {normal: [0, 10], mutable: true}\n", ""),
        "run does not fit {here}/world.yaml: its nodes or mutable attributes have changed since the ",
    ),
    "an experiment that is gone": (
        lambda here: (here / "world.yaml").unlink(),
        "{here}/world.yaml: there is no such file",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_runs(metasim: Callable, tmp_path: Path, name: str) -> None:
    damage, line = DAMAGED[name]
    moving_run(tmp_path / "run", str(write_sprites(tmp_path)), {})
    damage(tmp_path)
    done = metasim("generate run --count 1 --out data")
    assert done.err.startswith(f"metasim: {line.format(here=tmp_path)}")
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_damaged_records(metasim: Callable, tmp_path: Path) -> None:
    run = moving_run(tmp_path / "run", str(write_sprites(tmp_path)), {})
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2, "mm')
    done = metasim("report run")
    assert done.err.startswith("metasim: run/metrics.jsonl is damaged: Unterminated string starting at")
    assert done.err.endswith(" at line 2\n")
    assert (done.status, done.out) == (2, "")


def test_a_run_that_goes_on_elsewhere(metasim: Callable, tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(np.full((32, 32, 3), 50 * number, np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    world = write_sprites(tmp_path, SPRITES + "target: {images: photos}\n")
    run = moving_run(tmp_path / "run", str(world), {})
    with run.claimed():
        done = metasim(f"train --resume --out run --renderer {endpoint}")
    assert done.err.splitlines()[-1] == (
        "metasim: run is being trained by another process; wait for it, stop it, or choose another --out"
    )
    assert (done.status, done.out) == (2, "")


MESHES = """\
render: {width: 8, height: 8, samples: 1}
assets: {things: {meshes: things}}
nodes:
  camera: {camera: perspective, fov: 40, y: -1, z: 1, roll: 45}
  sun: {light: sun, intensity: 3}
  thing: {mesh: things, yaw: {uniform: [-90, 90], mutable: true}}
scene: [camera, sun, thing]
"""


@pytest.mark.parametrize("command", ["check", "show", "sample"])
def test_a_truncated_model(metasim: Callable, tmp_path: Path, command: str) -> None:
    main(["data", "assets", "household", "box", "--out", "things"])
    model = tmp_path / "things" / "box" / "box.glb"
    model.write_bytes(model.read_bytes()[:-100])
    (tmp_path / "w.yaml").write_text(MESHES)
    done = metasim("grammar", command, "w.yaml", "--engine raster --workers 1" if command == "sample" else "")
    if command == "show":
        assert done.status == 0, "it opens no model"
        return
    line = "things/box/box.glb is not a whole glTF 2.0 binary file, although its name says so"
    assert (done.status, done.out, done.err) == (2, "", f"metasim: {line}\n")


@pytest.mark.blender
@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="Blender's package bpy is not installed")
def test_a_model_that_the_worker_cannot_read_is_called_by_its_file(metasim: Callable, tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "flat.obj").write_text("v 1 2\n")
    (tmp_path / "w.yaml").write_text(MESHES)
    done = metasim("grammar sample w.yaml --count 1 --workers 1")
    assert ".mesh.asset.hash is things/flat.obj, which cannot be loaded (it holds no faces); " in done.err
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_other_failures_have_status_1(metasim: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import generate
    from trainer.errors import RenderError

    def lost(options: object, progress: object) -> None:  # noqa: ARG001
        raise RenderError("7/3", "no worker is left")

    write_sprites(tmp_path)
    monkeypatch.setattr(generate, "generate", lost)
    done = metasim("generate world.yaml --count 1 --out d")
    assert (done.status, done.out, done.err) == (1, "", "metasim: task '7/3': no worker is left\n")


def test_main_reads_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["metasim", "version"])
    assert main() == 0
    assert capsys.readouterr().out == "metasim 0.1.0\n"


def test_nesting_without_end_is_one_line(metasim: Callable, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("nodes: " + "[" * 3000 + "]" * 3000)
    done = metasim("grammar check deep.yaml")
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "nested too deep" in done.err


def test_a_run_whose_config_is_no_object_is_one_line(metasim: Callable, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("[]")
    done = metasim("report run")
    assert (done.status, done.out) == (2, "")
    assert done.err == "metasim: run/config.json is damaged: it must hold an object\n"


def test_a_home_that_does_not_exist_is_one_line(metasim: Callable) -> None:
    done = metasim("grammar check ~nobody-has-this-name/world.yaml")
    assert (done.status, done.err) == (2, "metasim: ~nobody-has-this-name/world.yaml: there is no such file\n")
