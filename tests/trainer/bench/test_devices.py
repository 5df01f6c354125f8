"""Benchmarks on several devices in one run, on a machine without a GPU."""

from pathlib import Path
from typing import Any

import pytest
from support.grammars import write_sprites
from typer.testing import CliRunner

from trainer.bench.devices import on_each_device
from trainer.cli import app
from trainer.errors import InputError


def measure(device: str) -> dict[str, Any]:
    """Return a figure of devices but the gpu, which is missing."""
    if device == "gpu":
        raise InputError("there is no gpu")
    return {"rate": len(device)}


def test_devices_are_measured_in_their_order_and_missing_ones_are_told() -> None:
    found = on_each_device("gpu, cpu,cpu", measure)
    assert found.results == {"cpu": {"rate": 3}}
    assert found.missing == {"gpu": "there is no gpu"}
    assert found.to_json() == {"devices": {"cpu": {"rate": 3}}, "missing": {"gpu": "there is no gpu"}}


def test_one_device_gives_its_own_figures() -> None:
    assert on_each_device("cpu", measure).to_json() == {"rate": 3}


@pytest.mark.parametrize(("devices", "message"), [("gpu", "there is no gpu"), (" ,", "--device names no device")])
def test_nothing_to_measure_is_an_error(devices: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        on_each_device(devices, measure)


def test_a_missing_gpu_is_one_line_beside_the_cpus_figures(tmp_path: Path) -> None:
    world = str(write_sprites(tmp_path))
    arguments = ["bench", "render", world, "--engine", "raster", "--workers", "1", "--scenes", "4", "--repeats", "1"]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu,cuda"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["device", "workers", "scenes", "frames/s", "samples/s", "speedup"]
    assert lines[2].split()[:3] == ["cpu", "1", "4"]
    (missing,) = [line for line in lines if line.startswith("cuda: not measured: ")]
    assert "renders on the CPU only" in missing
