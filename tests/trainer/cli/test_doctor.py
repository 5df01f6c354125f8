"""What is there is said to be there, what is not comes with what to do about it."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.digits import write_digits

from trainer.checks import machine as doctor
from trainer.checks.gpu_driver import DriverReport
from trainer.checks.machine import Finding, can_run, examine
from trainer.environment import Settings
from trainer.errors import InputError

GOOD_TORCH = '{"torch": "2.1", "threads": 3, "gpus": ["H1"], "product": "cuda", "off": 1e-5, '
GOOD_BPY = '{"bpy": "4.5", "device": {"kind": "optix", "name": "H1"}}'
GOOD = {
    "torch": f"""print('{GOOD_TORCH} "weights": "w.pth", "torchvision": "0.1"}}')""",
    "bpy": f"print('Read prefs'); print('{GOOD_BPY}')",
    "grpc": 'print(\'{"grpc": "1.8"}\')',
}


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """What is found where importing the packages does what the programs do."""

    def look(renderer: str = "local", settings: Settings | None = None, **programs: str) -> dict[str, Finding]:
        monkeypatch.setattr(doctor, "_PROGRAMS", {**GOOD, **programs})
        monkeypatch.setattr(doctor, "driver_report", lambda: DriverReport(True, "driver 570; H1"))
        settings = settings or Settings(mnist=write_digits(tmp_path / "digits"), data=None)
        return {finding.name: finding for finding in examine(renderer, tmp_path, settings)}

    return look


def test_all_is_well(look: Callable) -> None:
    found = look()
    assert [name for name, finding in found.items() if not finding.ok and name != "memory"] == []
    assert can_run(list(found.values()))
    assert found["PyTorch"].detail == "2.1, 3 threads"
    assert found["GPU"].detail == "H1"
    assert found["GPU driver"].detail == "driver 570; H1"
    assert found["matrix product"].detail == "on cuda, off by 1e-05"
    assert found["first image"].detail == "on optix (H1)"
    assert found["Blender (bpy)"].detail == "4.5"
    assert [finding.advice for finding in found.values() if finding.ok] == [""] * sum(f.ok for f in found.values())


@pytest.mark.parametrize(
    ("name", "programs", "detail", "advice"),
    [
        (
            "Blender (bpy)",
            {"bpy": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"},
            "it crashes when it is imported (SIGSEGV)",
            "`make setup` in a checkout, else pip install '.[render]'; or use --engine raster for sprites, "
            "or --renderer HOST:PORT",
        ),
        (
            "Blender (bpy)",
            {"bpy": "raise ImportError('libXi.so.6: cannot open shared object file')"},
            "ImportError: libXi.so.6: cannot open shared object file",
            "install the library that it names; Debian's packages: libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 "
            "libxrender1 libgl1; or use --engine raster for sprites, or --renderer HOST:PORT",
        ),
        (
            "PyTorch",
            {"torch": "import sys; sys.exit('torch is broken')"},
            "torch is broken",
            "`make setup` in a checkout, else pip install '.[trainer]'",
        ),
        (
            "grpcio",
            {"grpc": "raise ImportError('no cygrpc')"},
            "ImportError: no cygrpc",
            "it talks to the workers: pip install --force-reinstall grpcio",
        ),
    ],
)
def test_what_is_needed_is_missing(
    look: Callable, name: str, programs: dict[str, str], detail: str, advice: str
) -> None:
    found = look(**programs)
    assert (found[name].ok, found[name].detail, found[name].advice) == (False, detail, advice)
    assert not can_run(list(found.values()))


def test_a_package_that_hangs(look: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.5)
    found = look(grpc="import time; time.sleep(60)")
    assert found["grpcio"].detail.startswith("grpc was not imported within ")


def test_what_is_not_needed_is_missing(look: Callable, tmp_path: Path) -> None:
    (tmp_path / "kitti").mkdir()
    settings = Settings(data=tmp_path, cache=tmp_path / "cache")
    torch = (
        'print(\'{"torch": "2.1", "threads": 3, "gpus": [], "product": "cpu", "off": 0.0, '
        '"no_torchvision": "operator nms", '
        '"no_weights": "InceptionV3 weights: there is no file w.pth; fetch it"}\')'
    )
    found = look(settings=settings, torch=torch)
    assert found["GPU"].detail == "none that PyTorch can use"
    assert found["InceptionV3 weights"].detail == "there is no file w.pth"
    assert found["InceptionV3 weights"].advice.startswith("fetch it; ")
    assert found["torchvision"].detail == "operator nms"
    assert found["KITTI"].detail.startswith(f"{tmp_path / 'kitti'}")
    assert "cvlibs.net" in found["KITTI"].advice
    missing = [finding for finding in found.values() if not finding.ok]
    assert {finding.needed for finding in missing} == {False}
    assert all(finding.advice for finding in missing)


def test_a_folder_without_mnist_that_was_named_is_an_error_in_every_run(look: Callable, tmp_path: Path) -> None:
    found = look(settings=Settings(mnist=tmp_path))
    assert found["MNIST"].needed
    assert found["MNIST"].detail.startswith(f"{tmp_path} lacks train-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("torch", "detail"),
    [
        ('"product": "cuda", "off": 0.5', "on cuda, off by 0.5"),
        ('"no_product": "cuda: no kernel image"', "cuda: no kernel image"),
    ],
)
def test_a_wrong_matrix_product(look: Callable, torch: str, detail: str) -> None:
    found = look(torch=f'print(\'{{"torch": "2.1", "threads": 3, {torch}}}\')')
    assert (found["matrix product"].ok, found["matrix product"].detail) == (False, detail)
    assert not can_run(list(found.values()))


def test_a_first_image_that_fails(look: Callable) -> None:
    found = look(bpy="""print('{"bpy": "4.5", "problem": "--device auto: none"}')""")
    assert (found["first image"].ok, found["first image"].detail) == (False, "--device auto: none")


def test_a_first_image_on_another_device(look: Callable) -> None:
    device = '{"kind": "cpu", "name": "Xeon", "remark": "optix (H1) fails"}'
    found = look(bpy=f"""print('{{"bpy": "4.5", "device": {device}}}')""")
    assert found["first image"].detail == "on cpu (Xeon); optix (H1) fails"


def test_workers_elsewhere_need_no_blender_here(look: Callable) -> None:
    found = look("127.0.0.1:9", bpy="raise ImportError('none')")
    assert not found["Blender (bpy)"].needed
    assert found["workers"].detail.startswith("none answers at 127.0.0.1:9: UNAVAILABLE: ")
    assert "metasim-render serve" in found["workers"].advice
    assert not can_run(list(found.values()))


def test_a_malformed_endpoint_is_a_mistake(look: Callable) -> None:
    with pytest.raises(InputError, match="has no host or no port"):
        look("localhost")


def test_memory_is_what_the_container_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=50 * 1024)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert doctor._free_memory(tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert doctor._free_memory(tmp_path) == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor._free_memory(tmp_path) == 50 * 1024


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(dir: Path) -> None:  # noqa: A002
        raise PermissionError(13, "Permission denied", dir)

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    found = doctor._writable(tmp_path)
    assert (found.ok, found.needed) == (False, True)
    assert found.detail == f"{tmp_path} cannot be written: Permission denied"


@pytest.mark.parametrize(
    ("script", "state", "line"),
    [
        (
            None,
            "missing",
            "no driver of NVIDIA; without a GPU, everything runs on the CPU; with one, install NVIDIA's driver 535 or "
            "later (in a container: the NVIDIA Container Toolkit and `--gpus all`)",
        ),
        (
            "echo No devices were found; exit 6",
            "missing",
            "a driver without a device (nvidia-smi: No devices were found); see that the GPU is seated and that the "
            "kernel module is loaded (`sudo modprobe nvidia`); in a container, start it with `--gpus all`",
        ),
        (
            "echo Tesla V100, 470.82.01, 16160, 3, 0",
            "missing",
            "Tesla V100, driver 470.82.01; the driver is too old: install 535 or later",
        ),
        (
            "echo NVIDIA H200, 570.12, 141000, 140500, 3",
            "missing",
            "NVIDIA H200, 140500 of 141000 MiB used, 3 % busy; every GPU is busy: wait, end other programs "
            "(`nvidia-smi` lists them), or use --device cpu",
        ),
        ("echo NVIDIA H200, 570.12, 141000, 0, 0", "ok", "driver 570.12; NVIDIA H200, 0 of 141000 MiB used, 0 % busy"),
    ],
    ids=["no driver", "no device", "too old", "busy", "fine"],
)
def test_the_command_tells_the_state_of_the_gpu(
    metasim: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, state: str, line: str
) -> None:
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_PROGRAMS", GOOD)
    (found,) = [row for row in metasim("doctor").out.splitlines() if " GPU driver " in row]
    assert [part.strip() for part in found.split("GPU driver")] == [state, line]


@pytest.mark.parametrize(("good", "last"), [(True, "Ready: metasim train mnist-rot"), (False, "Cannot train yet")])
def test_the_command(metasim: Callable, monkeypatch: pytest.MonkeyPatch, good: bool, last: str) -> None:
    findings = [Finding("Python", True, "3.11.7"), Finding("Blender (bpy)", good, "4.5", "" if good else "install it")]
    monkeypatch.setattr(doctor, "examine", lambda _: findings)
    done = metasim("doctor")
    assert done.status == (0 if good else 1)
    assert done.out.splitlines()[0].split() == ["ok", "Python", "3.11.7"]
    assert done.out.splitlines()[-1].startswith(last)
    answer = json.loads(metasim("doctor --json").out)
    assert answer["can_run"] is good
    assert answer["findings"][0] == {"name": "Python", "ok": True, "detail": "3.11.7", "advice": "", "needed": True}
