"""A training that is killed at twenty random moments and resumed ends with the same bits.

The moments are CPU times of the process, so they do not depend on the machine's load.
"""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.forked import Ended, metasim
from support.grammars import FLAT, write_sprites
from support.servers import server

WORLD = (
    FLAT
    + """\
  thing:
    class: "{label}"
    sprite: {set: shapes, weights: {a: 0.5, b: 0.5}, mutable: true}
    width: 16
    height: 6
    x: {normal: [0, 1], mutable: true, range: [-10, 10]}
    y: {normal: [0, 1], mutable: true, range: [-10, 10]}
scene: [camera, thing]
target:
  count: 150
  overrides:
    thing.x: {mixture: [{weight: 0.5, normal: [-6, 1]}, {weight: 0.5, normal: [6, 1]}]}
training:
  stages:
    - {name: across, losses: [mmd], attributes: [thing.x], epochs: 2}
    - {name: both, losses: [mmd, task], epochs: 2}
  features: random
  steps: 2
  batch: 8
  pretraining_steps: 20
  inference: {rounds: 2, simulations: 64, epochs: [1], transport_passes: 1}
  monitor_scenes: 32
  monitor_images: 0
  task_images: 16
  task_pairs: 1
  validation_images: 16
"""
)
KILLS = 20
#: Fields of a record that depend on the machine's speed.
TIMED = ("seconds", "renders_per_s", "waiting_share", "workers")


@pytest.fixture
def world(tmp_path: Path) -> Path:
    path = write_sprites(tmp_path, WORLD)
    for shape, label in (("disc", "a"), ("square", "a"), ("star", "b")):
        (tmp_path / "shapes" / label).mkdir(exist_ok=True)
        (tmp_path / "shapes" / f"{shape}.png").rename(tmp_path / "shapes" / label / f"{shape}.png")
    return path


def outcome(out: Path) -> tuple[list[dict], list[dict], dict[str, torch.Tensor]]:
    """Metrics, attributes and tensors of a finished run."""
    metrics, attributes = (
        [json.loads(line) for line in (out / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "attributes.jsonl")
    )
    tensors = {
        f"{path.stem}/{name}": tensor
        for path in sorted((out / "checkpoint").glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    return [{k: v for k, v in record.items() if k not in TIMED} for record in metrics], attributes, tensors


def test_twenty_kills_change_nothing(world: Path, tmp_path: Path) -> None:
    with server("--engine", "fake", "--workers", "1") as renderer:

        def train(out: Path, kill_after_s: float = 0.0) -> Ended:
            begun = (out / "config.json").is_file()
            arguments = ["--resume"] if begun else [str(world)]
            where = ["--renderer", renderer.address, "--out", str(out)]
            ended = metasim(tmp_path / "command", "train", *arguments, *where, kill_after_s=kill_after_s)
            assert ended.killed or ended.status == 0, ended.log
            return ended

        whole = train(tmp_path / "whole")
        metrics, attributes, tensors = outcome(tmp_path / "whole")
        assert list(dict.fromkeys(record["stage"] for record in metrics)) == ["across", "both"]
        assert "score" in metrics[-1]

        rng = random.Random(0)
        kills = runs = 0
        while kills < KILLS:
            out = tmp_path / f"killed-{runs}"
            runs += 1
            while train(out, rng.uniform(0.02, 0.3) * whole.cpu_s if kills < KILLS else 0.0).killed:
                kills += 1
            resumed = outcome(out)
            assert resumed[0] == metrics
            assert resumed[1] == attributes
            assert resumed[2].keys() == tensors.keys()
            assert all(torch.equal(tensor, tensors[name]) for name, tensor in resumed[2].items())
