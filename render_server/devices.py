"""The kinds of devices that a worker can render on, and the choice among them."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from render_server.errors import EngineUnavailable

#: Kinds of devices in the order in which "auto" tries them. They are Cycles' own.
DEVICES = ("optix", "cuda", "hip", "oneapi", "metal", "cpu")
AUTO = "auto"

#: Device files of drivers for NVIDIA's, AMD's and Intel's GPUs. Without any of them, a Linux machine has no usable GPU.
_DRIVER_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri", "/dev/dxg")
_PROBE = "render_server.engines.blender.device"
#: How long a process may take to render its first image on a GPU, whose kernels may have to be compiled.
GPU_START_S = 600.0


@dataclass(frozen=True)
class Device:
    """A device that renders.

    Attributes:
        kind: one of `DEVICES`. Results may differ between kinds, never between devices of one kind and engine version.
        name: as its driver calls it; empty if unknown.
        remark: why better kinds were not taken; empty if there are none.
    """

    kind: str
    name: str = ""
    remark: str = ""

    @property
    def label(self) -> str:
        """Return name and kind for people, e.g. "NVIDIA H200, OPTIX"."""
        return f"{self.name}, {self.kind.upper()}" if self.name else self.kind.upper()


def find_device(
    engine: str, wanted: str, probe: Callable[[str], Device] | None = None, drivers: Callable[[], bool] | None = None
) -> Device:
    """Return the device that an engine is to render on.

    Args:
        engine: name of the engine.
        wanted: one of `DEVICES`, or "auto": the best kind that renders a first image.
        probe: tries kinds; default: Blender, in a process of its own.
        drivers: returns whether this machine has a driver for a GPU.

    Raises:
        EngineUnavailable: the engine or this machine has no such device, or the device renders nothing.
    """
    if engine != "blender":
        if wanted not in (AUTO, "cpu"):
            raise EngineUnavailable(f"--device {wanted}: engine {engine!r} renders on the CPU only; use --device cpu")
        return Device("cpu")
    if wanted == "cpu" or (wanted == AUTO and not (drivers or has_gpu_driver)()):
        return Device("cpu")
    return (probe or _probe)(wanted)


def choose_device(wanted: str, names: Callable[[str], list[str]], works: Callable[[str], str]) -> Device:
    """Return the wanted device, or the best that works.

    Args:
        wanted: one of `DEVICES`, or "auto".
        names: returns the names of the devices of a kind.
        works: renders on the first device of a kind and returns why that failed; empty if it did not.

    Raises:
        EngineUnavailable: there is no such device, or it renders nothing.
    """
    failures: list[str] = []
    for kind in DEVICES if wanted == AUTO else (wanted,):
        found = names(kind)
        if not found:
            if kind == wanted:
                there = [each for each in DEVICES if names(each)]
                raise EngineUnavailable(
                    f"--device {wanted}: Blender finds no such device; found here: {', '.join(there) or 'none'}; "
                    "`metasim doctor` says what is missing"
                )
            continue
        problem = works(kind)
        if not problem:
            return Device(kind, found[0], "; ".join(failures))
        failures.append(f"{kind} ({found[0]}) renders nothing: {problem}")
    raise EngineUnavailable(f"--device {wanted}: {'; '.join(failures)}; update the driver, or use --device cpu")


def has_gpu_driver() -> bool:
    """Return whether this machine seems to have a driver for a GPU. Other systems than Linux always do."""
    return sys.platform != "linux" or any(Path(name).exists() for name in _DRIVER_FILES)


def _probe(wanted: str) -> Device:
    command = [sys.executable, "-m", _PROBE, wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=GPU_START_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(f"--device {wanted}: no image within {GPU_START_S:.0f} s; use --device cpu") from error
    return probed(wanted, done.returncode, done.stdout, done.stderr)


def probed(wanted: str, status: int, output: str, errors: str) -> Device:
    """Return the device that a probe has printed.

    Raises:
        EngineUnavailable: the probe has printed an error, or crashed.
    """
    for line in output.splitlines():
        if line.startswith('{"device":'):
            return Device(**json.loads(line)["device"])
        if line.startswith('{"problem":'):
            raise EngineUnavailable(json.loads(line)["problem"])
    if wanted == AUTO:  # A broken driver must not keep a machine from rendering.
        return Device("cpu", remark=f"the search for GPUs ended with status {status}{_last_line(errors)}")
    raise EngineUnavailable(f"--device {wanted}: the first image ended with status {status}{_last_line(errors)}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f" ({lines[-1].strip()[:160]})" if lines else ""
