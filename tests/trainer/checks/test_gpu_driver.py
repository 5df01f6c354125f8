"""Reports on NVIDIA's driver in five situations, with a stub of nvidia-smi."""

import subprocess
from collections.abc import Callable

import pytest

from trainer.checks.gpu_driver import DriverReport, driver_report, pytorch_advice


def report(output: str, status: int = 0) -> DriverReport:
    def run(command: tuple[str, ...], **_: object) -> "subprocess.CompletedProcess[str]":
        assert command[0] == "nvidia-smi"
        return subprocess.CompletedProcess(command, status, output, "")

    return driver_report(lambda name: f"/usr/bin/{name}", run)


def test_no_driver() -> None:
    assert driver_report(lambda _: None) == DriverReport(
        False,
        "no driver of NVIDIA",
        "without a GPU, everything runs on the CPU; with one, install NVIDIA's driver 535 or later (in a container: "
        "the NVIDIA Container Toolkit and `--gpus all`)",
    )


@pytest.mark.parametrize(("output", "status"), [("No devices were found\n", 6), ("", 9)])
def test_a_driver_without_a_device(output: str, status: int) -> None:
    found = report(output, status)
    said = "No devices were found" if output else "status 9"
    assert (found.ok, found.detail) == (False, f"a driver without a device (nvidia-smi: {said})")
    assert "--gpus all" in found.advice


def test_a_driver_that_is_too_old() -> None:
    found = report("Tesla V100, 470.82.01, 16160, 3, 0\n")
    assert found == DriverReport(
        False, "Tesla V100, driver 470.82.01", "the driver is too old: install 535 or later", 470
    )


@pytest.mark.parametrize("state", ["141000, 140500, 3", "141000, 900, 99"])
def test_a_gpu_that_is_busy(state: str) -> None:
    found = report(f"NVIDIA H200, 570.12, {state}\n")
    total, used, load = state.split(", ")
    assert (found.ok, found.detail) == (False, f"NVIDIA H200, {used} of {total} MiB used, {load} % busy")
    assert found.advice.startswith("every GPU is busy: wait")


def test_a_gpu_that_is_fine() -> None:
    assert report("NVIDIA H200, 570.12, 141000, 0, 0\n") == DriverReport(
        True, "driver 570.12; NVIDIA H200, 0 of 141000 MiB used, 0 % busy", version=570
    )
    one_of_two = report("NVIDIA H200, 570.12, 141000, 0, [N/A]\nNVIDIA H200, 570.12, 141000, 140000, 99\n")
    assert one_of_two.ok
    assert one_of_two.detail.endswith("; 1 of 2 GPUs are busy")


def _fails(error: Exception) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*_: object, **__: object) -> "subprocess.CompletedProcess[str]":
        raise error

    return run


def test_a_driver_that_hangs() -> None:
    found = driver_report(lambda name: name, _fails(subprocess.TimeoutExpired("nvidia-smi", 20)))
    assert not found.ok
    assert found.detail.startswith("nvidia-smi does not answer (")


@pytest.mark.parametrize(
    ("version", "cuda", "advice"),
    [
        (0, None, "networks train on the CPU; only task detection-mask-rcnn needs a GPU"),
        (570, None, "this PyTorch is built for the CPU alone: install PyPI's, which brings CUDA (several gigabytes)"),
        (570, "13.0", "PyTorch with CUDA 13.0 needs driver 580 or later; until then networks train on the CPU"),
        (580, "13.0", "see that CUDA_VISIBLE_DEVICES does not hide the GPU; until then networks train on the CPU"),
        (535, "12.8", "see that CUDA_VISIBLE_DEVICES does not hide the GPU; until then networks train on the CPU"),
    ],
)
def test_advice_where_pytorch_finds_no_gpu(version: float, cuda: str | None, advice: str) -> None:
    assert pytorch_advice(DriverReport(version >= 535, "", version=version), cuda) == advice
