"""Each worker has a GPU of its own. There is no GPU where tests run: what the driver says is made up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from render_server.processes.gpu_claim import GpuClaim, claim_gpu, unreserved, visible_gpus

GPUS = ["GPU-aaaa", "GPU-bbbb"]


def claims(folder: Path, count: int) -> list[GpuClaim]:
    return [claim_gpu(folder, GPUS) for _ in range(count)]


def test_workers_get_different_gpus_and_share_evenly(tmp_path: Path) -> None:
    found = claims(tmp_path / "locks", 5)
    assert [(claim.gpu, claim.share) for claim in found] == [
        ("GPU-aaaa", 0),
        ("GPU-bbbb", 0),
        ("GPU-aaaa", 1),
        ("GPU-bbbb", 1),
        ("GPU-aaaa", 2),
    ]
    assert found[1].environment == {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}
    found[1].release()
    found[1].release()
    again = claim_gpu(tmp_path / "locks", GPUS)
    assert (again.gpu, again.share) == ("GPU-bbbb", 0)
    for claim in [*found, again]:
        claim.release()


def test_a_killed_worker_frees_its_gpu(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from render_server.processes.gpu_claim import claim_gpu
claim = claim_gpu(Path({str(tmp_path)!r}), {GPUS!r})
print(claim.gpu, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "GPU-aaaa\n"
        assert claim_gpu(tmp_path, GPUS).gpu == "GPU-bbbb"
        worker.send_signal(signal.SIGKILL)
    assert claim_gpu(tmp_path, GPUS).gpu == "GPU-aaaa"


def test_without_gpus_nothing_is_claimed(tmp_path: Path) -> None:
    claim = claim_gpu(tmp_path / "locks", [])
    assert (claim.gpu, claim.environment) == (None, {})
    assert not (tmp_path / "locks").exists()


def test_without_a_folder_the_hosts_name_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    first, second = claim_gpu(blocked, GPUS), claim_gpu(blocked, GPUS)
    assert first.gpu in GPUS
    assert (first.gpu, first.share) == (second.gpu, None)
    assert "GPUs are chosen by the host's name" in caplog.text


def smi(output: str) -> "type[subprocess.CompletedProcess[str]]":
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 0, stdout=output)

    return run  # type: ignore[return-value]


def test_the_driver_names_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert visible_gpus({}, smi("GPU-aaaa\nGPU-bbbb\n")) == GPUS


@pytest.mark.parametrize(
    ("visible", "found"),
    [("GPU-x, GPU-y", ["GPU-x", "GPU-y"]), ("1,0", ["1", "0"]), ("", []), ("-1", []), ("0,-1,2", ["0"])],
)
def test_what_was_made_visible_is_kept_to(visible: str, found: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": visible}) == found


def test_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == []


@pytest.mark.parametrize(
    ("gpus", "reserved", "left"),
    [
        (["a", "b", "c"], "", ["a", "b", "c"]),
        (["a", "b", "c"], "0", ["b", "c"]),
        (["a", "b", "c"], "b", ["a", "c"]),
        (["a", "b"], "7", ["a", "b"]),
        (["a"], "0", ["a"]),
        ([], "0", []),
    ],
)
def test_the_trainers_gpu_is_left_to_it_where_there_is_another(gpus: list[str], reserved: str, left: list[str]) -> None:
    assert unreserved(gpus, reserved) == left
