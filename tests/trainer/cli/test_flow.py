"""From an experiment to a dataset, as a user goes through it, with a training that is as short as can be."""

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.digits import write_digits
from support.servers import PATIENCE_S

from trainer.assets.idx import read_idx
from trainer.cli import main

SHORT = [
    "training.steps=1",
    "training.batch=2",
    "training.target_images=8",
    "training.pretraining_steps=2",
    "training.inference={rounds: 1, simulations: 64, epochs: [1], transport_passes: 1}",
    "training.monitor_scenes=8",
]


@dataclass(frozen=True)
class Trained:
    digits: Path
    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Trained:
    """A finished run."""
    root = tmp_path_factory.mktemp("flow")
    digits, folder = write_digits(root / "digits"), root / "run"
    out, err = io.StringIO(), io.StringIO()
    arguments = ["--out", str(folder), "--mnist", str(digits), "--renderer", endpoint, "--seed", "5", "--json"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["train", "mnist-rot", *SHORT, "training.epochs=2", *arguments])
    assert status == 0, err.getvalue()
    return Trained(digits, folder, out.getvalue(), err.getvalue())


def test_train_leaves_a_run_and_says_so_in_json(trained: Trained) -> None:
    said = json.loads(trained.out)
    assert said["run"] == str(trained.folder)
    assert said["report"] == str(trained.folder / "report.html")
    assert len(said["mmd"]) == 2
    assert [item["name"] for item in said["attributes"]["learned"]] == ["yaw"]
    assert {path.name for path in trained.folder.iterdir()} >= {"checkpoint", "samples", "report.html", "summary.json"}
    config = json.loads((trained.folder / "config.json").read_text())
    assert config["seed"] == 5
    assert config["overrides"]["training.epochs"] == 2


STEP = re.compile(r"\[(?P<number>\d+)/(?P<of>\d+)\] (?P<name>[^:]+?)(?P<rest> \.\.\.|: .*)")


def ended_steps(lines: list[str]) -> list[str]:
    """Return the names of the steps that have ended; they are numbered from 1, and the last number is the total."""
    steps = [found for line in lines if (found := STEP.match(line))]
    done = [step for step in steps if step["rest"].startswith(": done in ")]
    assert [int(step["number"]) for step in done] == list(range(1, len(done) + 1))
    assert done[-1]["of"] == done[-1]["number"]
    return [step["name"] for step in done]


def test_lines_of_progress(trained: Trained) -> None:
    lines = trained.err.splitlines()
    [population] = [line for line in lines if not STEP.match(line)]
    assert population.startswith("note: digit.yaw: ")
    names = ended_steps(lines)
    assert names[:2] == ["render the target", "learn the identity"]
    assert names[-2:] == ["match the distributions", "write the report"]
    assert "mmd " in next(line for line in lines if "match the distributions: done" in line)


def test_evaluate(trained: Trained, metasim: Callable, endpoint: str) -> None:
    command = f"evaluate {trained.folder} --train-images 100 --test-images 20 --renderer {endpoint}"
    done = metasim(command, "--json")
    assert done.status == 0, done.err
    scores = json.loads(done.out)
    assert scores["metric"] == "accuracy"
    assert (scores["train_images"], scores["test_images"]) == (100, 20)
    assert 0 <= scores["prior"] <= 1
    assert json.loads((trained.folder / "summary.json").read_text())["evaluation"]["learned"] == scores["learned"]
    plain = metasim(command)
    names = ended_steps(plain.err.splitlines())
    assert (names[0], *names[-2:]) == ("read the test images", "compare with the target", "write the report")
    assert plain.out.splitlines()[0] == f"{scores['task']}, tested on 20 unseen target images"
    assert plain.out.splitlines()[2].split()[:2] == ["prior", f"{100 * scores['prior']:.1f}%"]
    assert plain.out.splitlines()[3].split()[:3] == ["learned", "model", f"{100 * scores['learned']:.1f}%"]


def test_generate(trained: Trained, metasim: Callable, endpoint: str) -> None:
    command = f"generate {trained.folder} --count 12 --format idx --seed 1 --renderer {endpoint}"
    done = metasim(command, "--out a --json")
    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert (said["out"], said["count"], said["format"]) == ("a", 12, "idx")
    assert sum(said["labels"].values()) == 12
    assert read_idx(Path("a/train-images-idx3-ubyte"), 3).shape == (12, 32, 32)
    plain = metasim(command, "--out b")
    assert plain.out.startswith(f"b: 12 images (idx) of the learned model of {trained.folder} in ")
    assert plain.out.endswith("; b/README.md says what they are\n")
    assert Path("a/train-images-idx3-ubyte").read_bytes() == Path("b/train-images-idx3-ubyte").read_bytes()


def test_report(trained: Trained, metasim: Callable) -> None:
    page = trained.folder / "report.html"
    page.unlink()
    done = metasim(f"report {trained.folder}")
    assert (done.status, done.out) == (0, f"{page}\n")
    assert page.read_text().lower().startswith("<!doctype html>")


#: A training that gets the signal of Ctrl-C as it records its second epoch.
INTERRUPTED = """
import os, signal, sys
from trainer.cli import main
from trainer.runs.folder import Run

write_records = Run.write_records

def interrupted(self, name, records):
    write_records(self, name, records)
    if name == "metrics.jsonl" and len(records) == 2:
        os.kill(os.getpid(), signal.SIGINT)

Run.write_records = interrupted
sys.exit(main())
"""


def test_ctrl_c_keeps_what_was_learned(tmp_path: Path, metasim: Callable, endpoint: str) -> None:
    write_digits(tmp_path / "digits")
    arguments = ["train", "mnist-rot", *SHORT, "training.epochs=3", "--mnist", "digits", "--renderer", endpoint]
    arguments += ["--patience", "60"]
    command = [sys.executable, "-c", INTERRUPTED, *arguments]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    out, err = process.stdout, process.stderr
    assert (process.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    assert last.startswith("metasim: interrupted; ")
    assert "saved in runs/mnist-rot. Continue with: " in last
    assert "Traceback" not in err
    resume = last.partition("Continue with: ")[2]
    assert resume == f"metasim train --resume --out runs/mnist-rot --renderer {endpoint} --patience 60.0"

    finished = metasim(resume.removeprefix("metasim "))
    assert finished.status == 0, finished.err
    assert "note: runs/mnist-rot: continuing after epoch 1" in finished.err
    metrics = (tmp_path / "runs/mnist-rot/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in metrics] == [1, 2, 3]
    lines = finished.out.splitlines()
    assert lines[0].startswith("runs/mnist-rot is done in ")
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        "digit.yaw", "picture", "report", "checkpoint", "metasim", "metasim"
    ]  # fmt: skip
    assert "  picture     runs/mnist-rot/samples/epoch-003.png" in lines
    assert "  metasim generate runs/mnist-rot --count 10000 --format imagefolder --out datasets/mnist-rot" in lines


def test_sampling_a_grammar_draws_a_picture(tmp_path: Path, metasim: Callable) -> None:
    write_digits(tmp_path / "digits")
    done = metasim("grammar sample mnist-rot --count 16 --mnist digits --workers 1")
    assert (done.status, done.out) == (0, "mnist-rot-samples.png\n")
    with Image.open(tmp_path / "mnist-rot-samples.png") as picture:
        assert picture.width > 16 * 64
        assert picture.height > 2 * 64


def test_showing_a_grammar(tmp_path: Path, metasim: Callable) -> None:
    write_digits(tmp_path / "digits")
    assert "; with a target" in metasim("grammar check mnist-rot --mnist digits").out
    shown = metasim("grammar show mnist-rot --mnist digits").out
    assert "└─ digit x 1: sprite of digits, class {label}" in shown


def test_bench(metasim: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"overhead": {"fake-10ms-64px": 0.0312, "raster-160px": 0.2}, "max_overhead": 0.2, "runs": []}

    def measured(**options: Any) -> dict[str, object]:
        assert options == {"workers": 3, "tasks": 4, "repeats": 5}
        return result

    monkeypatch.setattr("trainer.bench.pool.bench_pool", measured)
    done = metasim("bench pool --workers 3 --tasks 4 --repeats 5 --only real")
    assert done.out == "load            overhead\nfake-10ms-64px      3.1%\nraster-160px       20.0%\n"
    assert json.loads(metasim("bench pool --workers 3 --tasks 4 --repeats 5 --only real --json").out) == result
