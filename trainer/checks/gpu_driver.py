"""The driver of NVIDIA's GPUs, as `nvidia-smi` reports it."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

#: Oldest driver with the OptiX of Blender 4.5, which is newer than what its CUDA needs.
OLDEST_DRIVER = 535
#: Oldest driver for each major version of CUDA that PyTorch is built with.
_CUDA_DRIVERS = {"12": 525, "13": 580}
#: Memory that a scene and a detector need at least.
LEAST_FREE_MIB = 2048
#: Share of the last second in which a GPU computed, from which on it counts as busy.
BUSY_PERCENT = 90

_QUERY = "name,driver_version,memory.total,memory.used,utilization.gpu"
_COMMAND = ("nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits")
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class DriverReport:
    """The state of the driver and its GPUs.

    Attributes:
        ok: whether a GPU can be used now.
        detail: what is there.
        advice: what to do about it; empty if nothing.
        version: of the driver; 0 if it is not known.
    """

    ok: bool
    detail: str
    advice: str = ""
    version: float = 0.0


def driver_report(
    which: Callable[[str], str | None] = shutil.which,
    run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run,
) -> DriverReport:
    """Return the state of NVIDIA's driver on this machine."""
    if which("nvidia-smi") is None:
        return DriverReport(
            False,
            "no driver of NVIDIA",
            "without a GPU, everything runs on the CPU; with one, install NVIDIA's driver "
            f"{OLDEST_DRIVER} or later (in a container: the NVIDIA Container Toolkit and `--gpus all`)",
        )
    try:
        done = run(_COMMAND, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return DriverReport(
            False, f"nvidia-smi does not answer ({error})", "restart the machine, or install the driver again"
        )
    gpus = [gpu for line in done.stdout.splitlines() if len(gpu := [part.strip() for part in line.split(",")]) == 5]
    if done.returncode != 0 or not gpus:
        said = " ".join((done.stdout.strip() or done.stderr.strip() or f"status {done.returncode}").split())[:160]
        return DriverReport(
            False,
            f"a driver without a device (nvidia-smi: {said})",
            "see that the GPU is seated and that the kernel module is loaded (`sudo modprobe nvidia`); in a container, "
            "start it with `--gpus all`",
        )
    text = gpus[0][1]
    version = _number(text.partition(".")[0]) or 0.0
    if version < OLDEST_DRIVER:
        return DriverReport(
            False, f"{gpus[0][0]}, driver {text}", f"the driver is too old: install {OLDEST_DRIVER} or later", version
        )
    busy = [gpu for gpu in gpus if _is_busy(gpu)]
    if len(busy) == len(gpus):
        return DriverReport(
            False,
            "; ".join(map(_state, busy)),
            "every GPU is busy: wait, end other programs (`nvidia-smi` lists them), or use --device cpu",
            version,
        )
    free = [gpu for gpu in gpus if gpu not in busy]
    more = f"; {len(busy)} of {len(gpus)} GPUs are busy" if busy else ""
    return DriverReport(True, f"driver {text}; " + "; ".join(map(_state, free)) + more, version=version)


def pytorch_advice(report: DriverReport, cuda: str | None) -> str:
    """Return what to do where PyTorch finds no GPU.

    Args:
        cuda: version of CUDA that PyTorch is built with; None: it is built for the CPU alone.
    """
    if not report.version:  # There is no GPU of NVIDIA.
        return "networks train on the CPU; only task detection-mask-rcnn needs a GPU"
    if cuda is None:
        return "this PyTorch is built for the CPU alone: install PyPI's, which brings CUDA (several gigabytes)"
    oldest = _CUDA_DRIVERS.get(cuda.partition(".")[0], 0)
    if report.version < oldest:
        return f"PyTorch with CUDA {cuda} needs driver {oldest} or later; until then networks train on the CPU"
    return "see that CUDA_VISIBLE_DEVICES does not hide the GPU; until then networks train on the CPU"


def _is_busy(gpu: list[str]) -> bool:
    total, used, load = (_number(text) for text in gpu[2:])
    little = total is not None and used is not None and total - used < LEAST_FREE_MIB
    return little or (load is not None and load >= BUSY_PERCENT)


def _state(gpu: list[str]) -> str:
    name, _, total, used, load = gpu
    return f"{name}, {used} of {total} MiB used, {load} % busy"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]" on some GPUs.
        return None
