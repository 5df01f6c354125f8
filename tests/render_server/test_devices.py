"""The choice of a device, with made-up lists of devices, and Cycles' own on whatever is here."""

import json
import re
import subprocess
import sys

import pytest
from metasim.v1 import render_pb2 as pb

from render_server.devices import AUTO, DEVICES, Device, choose_device, find_device, probed
from render_server.errors import DeviceLost, DeviceMemoryFull, EngineUnavailable, RenderFailed

H200 = {"optix": ["NVIDIA H200"], "cuda": ["NVIDIA H200"], "cpu": ["Xeon"]}


def choose(wanted: str, there: dict[str, list[str]], broken: dict[str, str] | None = None) -> Device:
    return choose_device(wanted, lambda kind: there.get(kind, []), lambda kind: (broken or {}).get(kind, ""))


def test_auto_takes_the_best_kind_that_works() -> None:
    assert choose(AUTO, H200) == Device("optix", "NVIDIA H200")
    assert choose(AUTO, H200).label == "NVIDIA H200, OPTIX"
    assert choose(AUTO, {"hip": ["Radeon"], "cpu": ["Ryzen"]}).kind == "hip"
    assert choose(AUTO, {"cpu": ["Xeon"]}) == Device("cpu", "Xeon")


def test_auto_falls_back_to_what_renders_and_says_why() -> None:
    found = choose(AUTO, H200, {"optix": "OptiX 7.4 is too old"})
    assert (found.kind, found.remark) == ("cuda", "optix (NVIDIA H200) renders nothing: OptiX 7.4 is too old")
    found = choose(AUTO, H200, {"optix": "too old", "cuda": "no kernel"})
    assert found.kind == "cpu"
    assert found.remark.endswith("cuda (NVIDIA H200) renders nothing: no kernel")


def test_a_kind_that_is_not_here_is_refused() -> None:
    with pytest.raises(EngineUnavailable) as raised:
        choose("optix", {"hip": ["Radeon"], "cpu": ["Xeon"]})
    assert str(raised.value) == (
        "--device optix: Blender finds no such device; found here: hip, cpu; `metasim doctor` says what is missing"
    )


def test_a_kind_that_renders_nothing_is_refused() -> None:
    with pytest.raises(EngineUnavailable) as raised:
        choose("cuda", H200, {"cuda": "Failed to load CUDA kernel"})
    assert str(raised.value) == (
        "--device cuda: cuda (NVIDIA H200) renders nothing: Failed to load CUDA kernel; update the driver, or use "
        "--device cpu"
    )


def test_engines_without_gpus_render_on_the_cpu() -> None:
    assert find_device("raster", AUTO).kind == "cpu"
    with pytest.raises(EngineUnavailable, match=r"^--device metal: engine 'fake' renders on the CPU only"):
        find_device("fake", "metal")


def test_machines_without_a_driver_are_not_probed() -> None:
    def probe(wanted: str) -> Device:
        return Device("optix", wanted)

    assert find_device("blender", AUTO, probe, lambda: False) == Device("cpu")
    assert find_device("blender", AUTO, probe, lambda: True) == Device("optix", AUTO)
    assert find_device("blender", "cuda", probe, lambda: False) == Device("optix", "cuda")
    assert find_device("blender", "cpu", probe, lambda: True) == Device("cpu")


def test_what_a_probe_prints() -> None:
    printed = "noise\n" + json.dumps({"device": {"kind": "hip", "name": "Radeon", "remark": ""}}) + "\n"
    assert probed("hip", 0, printed, "") == Device("hip", "Radeon")
    with pytest.raises(EngineUnavailable, match=r"^no such$"):
        probed("hip", 0, '{"problem": "no such"}', "")
    with pytest.raises(EngineUnavailable, match=r"^--device hip: the first image ended with status -11 \(libamd\)$"):
        probed("hip", -11, "", "x\nlibamd\n")
    assert probed(AUTO, -11, "", "libamd") == Device("cpu", "", "the search for GPUs ended with status -11 (libamd)")


@pytest.mark.blender
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("System is out of GPU memory", DeviceMemoryFull),
        ("Out of memory in cuMemAlloc(&device_pointer, size)", DeviceMemoryFull),
        ("Illegal address in CUDA queue copy_from_device", DeviceLost),
        ("CUDA error: Launch failed in cuCtxSynchronize()", DeviceLost),
        ("Failed to create CUDA context (Unknown error)", DeviceLost),
        ("OptiX error OPTIX_ERROR_LAUNCH_FAILURE", DeviceLost),
        ("no camera found in scene", RenderFailed),
    ],
)
def test_cycles_reasons_become_errors(reason: str, kind: type[Exception]) -> None:
    pytest.importorskip("bpy", reason="bpy is not installed")
    from render_server.engines.blender.session import render_error

    error = render_error(reason)
    assert type(error) is kind
    assert str(error).startswith(f"Blender failed to render: {reason}")


def probe_here(wanted: str) -> dict[str, dict[str, str]]:
    pytest.importorskip("bpy", reason="bpy is not installed")
    command = [sys.executable, "-m", "render_server.engines.blender.device", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    answer: dict[str, dict[str, str]] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


@pytest.mark.blender
def test_cycles_renders_a_first_image_on_the_device_that_it_chooses() -> None:
    found = probe_here(AUTO)["device"]
    assert found["kind"] in DEVICES
    assert found["name"]
    assert probe_here("cpu")["device"]["kind"] == "cpu"


@pytest.mark.blender
def test_blender_lists_the_devices_that_it_finds() -> None:
    pytest.importorskip("bpy", reason="bpy is not installed")
    from render_server.engines.blender.device import device_names, select_device

    assert device_names("cpu")
    missing = [kind for kind in DEVICES if not device_names(kind)]
    assert missing, "no machine has all kinds"
    with pytest.raises(EngineUnavailable, match=re.escape(f"--device {missing[0]}: Blender finds no such device")):
        select_device(missing[0])


def test_a_full_device_is_answered_and_a_lost_one_ends_the_process() -> None:
    from pathlib import Path

    from render_server.processes.messages import Message, MessageKind
    from render_server.processes.process import answer_task

    class Broken:
        name, version, device, device_name = "blender", "0", "optix", "NVIDIA H200"

        def __init__(self, error: Exception) -> None:
            self._error = error

        def render(self, *_: object) -> pb.RenderResult:
            raise self._error

    message = Message(MessageKind.TASK, pb.RenderTask(id="a").SerializeToString())
    full = answer_task(Broken(DeviceMemoryFull("no room")), message, Path(), 1 << 20)
    assert (full.kind, full.text()) == (MessageKind.TOO_LARGE, "no room")
    with pytest.raises(DeviceLost, match="gone"):
        answer_task(Broken(DeviceLost("gone")), message, Path(), 1 << 20)
