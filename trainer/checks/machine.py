"""What is there for the main job, an experiment trained on this machine, and what to do about what is not.

What may crash when it is imported (PyTorch, Blender, gRPC) is imported in processes of its own, all at once. None of
them is imported here, so that the answer comes even where they are broken.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psutil

from trainer.checks.gpu_driver import DriverReport, driver_report, pytorch_advice
from trainer.environment import Settings
from trainer.errors import InputError, PoolUnreachable

#: Seconds after which a package counts as one that cannot be imported; a cold disk takes half a minute for PyTorch.
PATIENCE_S = 180.0
#: What a run and its workers need at least.
DISK_BYTES, MEMORY_BYTES = 1 << 30, 2 << 30

#: Versions of Python with the trainer's packages, and those with Blender's.
_PYTHONS, _BLENDER_PYTHONS = ((3, 11), (3, 12), (3, 13)), ((3, 11), (3, 13))
#: How far a product of 256 x 256 matrices may be off: 1e-4 of its largest value.
_PRODUCT_OFF = 1e-2
#: Packages of the extra `trainer` by the names they are imported by; PyTorch is asked for by itself.
_TRAINER = (
    *("contourpy", "docker", "matplotlib", "pydantic", "yaml", "rich", "safetensors", "sklearn", "scipy"),
    *("tensorboard", "torch_geometric", "trimesh"),
)
#: Programs that print what they find as JSON, an object a line.
_PROGRAMS = {
    "torch": """
import json, torch
gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "gpus": gpus, "cuda": torch.version.cuda}
print(json.dumps(about), flush=True)
device = "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu"
try:
    a = torch.linspace(-1, 1, 256 * 256, dtype=torch.float64).reshape(256, 256)
    off = float((a.float().to(device) @ a.float().to(device).T).cpu().double().sub(a @ a.T).abs().max())
    print(json.dumps({"product": device, "off": off}), flush=True)
except Exception as error:
    print(json.dumps({"no_product": f"{device}: {error}"}), flush=True)
from trainer.errors import InputError
from trainer.features.inception import find_weights
try:
    print(json.dumps({"weights": str(find_weights(None))}), flush=True)
except InputError as error:
    print(json.dumps({"no_weights": str(error)}), flush=True)
try:
    import torchvision
    print(json.dumps({"torchvision": torchvision.__version__}), flush=True)
except Exception as error:
    print(json.dumps({"no_torchvision": str(error)}), flush=True)
""",
    "bpy": """
import json, runpy, sys, bpy
print()
print(json.dumps({"bpy": bpy.app.version_string}), flush=True)
sys.argv = ["device", "auto"]
try:
    runpy.run_module("render_server.engines.blender.device", run_name="__main__")
except Exception as error:
    print(json.dumps({"problem": f"{type(error).__name__}: {error}"}), flush=True)
""",
    "grpc": "import json, grpc; print(json.dumps({'grpc': grpc.__version__}), flush=True)",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    #: What is there, or what is wrong.
    detail: str
    #: What to do about it, or why nothing needs to be done; empty where all is well.
    advice: str = ""
    #: Whether the main job cannot run without it.
    needed: bool = True


@dataclass(frozen=True)
class _Asked:
    """What a program has printed, and why it ended early; empty: it did not."""

    values: dict[str, object]
    problem: str


def examine(renderer: str | None = None, folder: Path | None = None, settings: Settings | None = None) -> list[Finding]:
    """Looks at everything; takes as long as the import of PyTorch and Blender.

    Args:
        renderer: an endpoint whose workers shall render; None: workers of this machine.
        folder: where runs shall be written; default: the working folder.

    Raises:
        InputError: `renderer` is malformed.
    """
    settings = settings or Settings.from_environment()
    folder = folder or Path.cwd()
    with ThreadPoolExecutor(len(_PROGRAMS)) as threads:
        torch, bpy, grpc = threads.map(_ask, _PROGRAMS)
    local = renderer in (None, "local")
    driver = driver_report()
    return [
        _python(),
        _packages(),
        _torch(torch),
        Finding("GPU driver", driver.ok, driver.detail, driver.advice, needed=False),
        _gpu(torch, driver),
        _product(torch),
        _grpc(grpc),
        _blender(bpy, needed=local),
        *([_first_image(bpy, needed=local)] if "bpy" in bpy.values else []),
        *([] if renderer is None or local else [_endpoint(renderer, grpc)]),
        _weights(torch),
        _torchvision(torch),
        _mnist(settings),
        *([_kitti(settings.data / "kitti")] if settings.data else []),
        _disk(folder),
        _memory(),
        _writable(folder),
    ]


def can_run(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.ok or not finding.needed for finding in findings)


def _python() -> Finding:
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] not in _PYTHONS:
        return Finding("Python", False, found, "Python 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.13")
    if sys.version_info[:2] not in _BLENDER_PYTHONS:
        return Finding("Python", True, f"{found}; Blender's package is built for Python 3.11 and 3.13 only")
    return Finding("Python", True, found)


def _packages() -> Finding:
    missing = [name for name in _TRAINER if find_spec(name) is None]
    if missing:
        advice = "`make setup` in a checkout, else pip install '.[trainer]'"
        return Finding("trainer's packages", False, f"{', '.join(missing)} cannot be found", advice)
    return Finding(
        "trainer's packages", True, f"{len(_TRAINER)} of {len(_TRAINER)}, metasim {metadata.version('metasim')}"
    )


def _torch(asked: _Asked) -> Finding:
    if "torch" in asked.values:
        return Finding("PyTorch", True, f"{asked.values['torch']}, {asked.values['threads']} threads")
    return Finding("PyTorch", False, asked.problem, "`make setup` in a checkout, else pip install '.[trainer]'")


def _gpu(asked: _Asked, driver: DriverReport) -> Finding:
    """Return whether PyTorch finds a GPU."""
    gpus = asked.values.get("gpus")
    if isinstance(gpus, list) and gpus:
        return Finding("GPU", True, ", ".join(gpus), needed=False)
    cuda = asked.values.get("cuda")
    advice = pytorch_advice(driver, cuda if isinstance(cuda, str) else None)
    return Finding("GPU", False, "none that PyTorch can use", advice, needed=False)


def _product(asked: _Asked) -> Finding:
    """Return whether PyTorch multiplies matrices right on the best device."""
    device, off = asked.values.get("product"), asked.values.get("off")
    problem = str(asked.values.get("no_product", asked.problem or "not tried"))
    if isinstance(device, str) and isinstance(off, float):
        if off <= _PRODUCT_OFF:
            return Finding("matrix product", True, f"on {device}, off by {off:.1g}")
        problem = f"on {device}, off by {off}"
    return Finding("matrix product", False, _line(problem), "update the GPU's driver, or use --device cpu")


def _first_image(asked: _Asked, *, needed: bool) -> Finding:
    """Return on which device Blender renders a first image."""
    device = asked.values.get("device")
    if isinstance(device, dict):
        remark = f"; {device['remark']}" if device.get("remark") else ""
        return Finding("first image", True, f"on {device['kind']} ({device['name']}){remark}", needed=needed)
    problem = str(asked.values.get("problem", asked.problem or "none was rendered"))
    return Finding("first image", False, _line(problem), "workers elsewhere can render: --renderer HOST:PORT", needed)


def _grpc(asked: _Asked) -> Finding:
    if "grpc" in asked.values:
        return Finding("grpcio", True, str(asked.values["grpc"]))
    return Finding("grpcio", False, asked.problem, "it talks to the workers: pip install --force-reinstall grpcio")


def _blender(asked: _Asked, *, needed: bool) -> Finding:
    if "bpy" in asked.values:
        return Finding("Blender (bpy)", True, str(asked.values["bpy"]), needed=needed)
    if ".so" in asked.problem:
        libraries = "libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1 libgl1"
        advice = f"install the library that it names; Debian's packages: {libraries}"
    else:
        advice = "`make setup` in a checkout, else pip install '.[render]'"
    otherwise = (
        "; or use --engine raster for sprites, or --renderer HOST:PORT" if needed else "; workers elsewhere render"
    )
    return Finding("Blender (bpy)", False, asked.problem, advice + otherwise, needed=needed)


def _endpoint(renderer: str, grpc: _Asked) -> Finding:
    if "grpc" not in grpc.values:
        return Finding("workers", False, f"{renderer} cannot be asked", "gRPC comes first")
    from trainer.pool.status import pool_status

    advice = "start workers there with `metasim-render serve`; docs/pool.md tells about networks, TLS and tokens"
    try:
        workers = pool_status(renderer, watch_s=0)
    except PoolUnreachable as error:
        return Finding("workers", False, str(error), advice)
    good = [worker for worker in workers if not worker.problem]
    if not good:
        reason = workers[0].problem if workers else "it stands for no address"
        return Finding("workers", False, f"none answers at {renderer}: {reason}", advice)
    engines = ", ".join(sorted({f"{worker.engine} on {worker.device}" for worker in good}))
    silent = "".join(f"; {worker.address} does not answer: {worker.problem}" for worker in workers if worker.problem)
    return Finding("workers", True, f"{len(good)} at {renderer} ({engines}){silent}")


def _weights(asked: _Asked) -> Finding:
    if "weights" in asked.values:
        return Finding("InceptionV3 weights", True, str(asked.values["weights"]), needed=False)
    found = str(asked.values.get("no_weights", "not looked for, as PyTorch is missing")).removeprefix(
        "InceptionV3 weights: "
    )
    what, _, advice = found.partition("; ")
    instead = "without them, training.features=inception is refused; other features need no weights"
    return Finding("InceptionV3 weights", False, what, f"{advice}; {instead}" if advice else instead, needed=False)


def _torchvision(asked: _Asked) -> Finding:
    if "torchvision" in asked.values:
        return Finding("torchvision", True, str(asked.values["torchvision"]), needed=False)
    advice = "only InceptionV3 and task detection-mask-rcnn want it: pip install '.[vision]', with the PyTorch of PyPI"
    problem = str(asked.values.get("no_torchvision", asked.problem or "not looked for, as PyTorch is missing"))
    return Finding("torchvision", False, _line(problem), advice, needed=False)


def _mnist(settings: Settings) -> Finding:
    from trainer.assets.mnist import find_mnist, mnist_folders

    try:
        found = find_mnist(None, settings)
    except InputError as error:  # METASIM_MNIST names a folder without it, which is an error in every run.
        what, _, advice = str(error).partition("; ")
        return Finding("MNIST", False, what, advice)
    if found is not None:
        return Finding("MNIST", True, str(found), needed=False)
    looked = ", ".join(str(path) for path in mnist_folders(None, settings))
    advice = "`metasim data mnist` fetches it; until then the digits of scikit-learn stand in"
    return Finding("MNIST", False, f"not in {looked}", advice, needed=False)


def _kitti(folder: Path) -> Finding:
    from trainer.datasets.readers import open_dataset

    try:
        dataset = open_dataset(folder, "kitti")
        return Finding("KITTI", True, f"{folder}, {len(dataset)} images", needed=False)
    except InputError as error:
        advice = "only --target and bench on KITTI want it: image_2, label_2 and calib from cvlibs.net/datasets/kitti"
        return Finding("KITTI", False, str(error), advice, needed=False)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    advice = "" if free >= DISK_BYTES else "free some, or work in a folder elsewhere"
    return Finding("disk", free >= DISK_BYTES, f"{_gib(free)} free in {folder}", advice)


def _memory() -> Finding:
    free = _free_memory(Path("/sys/fs/cgroup"))
    cpus = len(os.sched_getaffinity(0))
    found = f"{_gib(free)} free; {cpus} CPU{'s' if cpus > 1 else ''}, so as many local workers"
    advice = "" if free >= MEMORY_BYTES else "end other programs, or use --workers 1"
    return Finding("memory", free >= MEMORY_BYTES, found, advice, needed=False)


def _free_memory(cgroup: Path) -> int:
    """Return the free bytes of this machine, or what the container's limit leaves if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        left = int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # Another system, or no limit: "max".
        return free
    return min(free, max(0, left))


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("working folder", True, f"{folder} can be written")
    except OSError as error:
        advice = "go to a folder of yours, or give --out one"
        return Finding("working folder", False, f"{folder} cannot be written: {error.strerror or error}", advice)


def _ask(package: str) -> _Asked:
    """Imports a package in a process of its own."""
    if find_spec(package) is None:
        return _Asked({}, f"{package} is not installed")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAMS[package]], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _Asked({}, f"{package} was not imported within {PATIENCE_S:.0f} s")
    values: dict[str, object] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            values.update(json.loads(line))
    if done.returncode == 0:
        return _Asked(values, "")
    if done.returncode < 0:
        return _Asked(values, f"it crashes when it is imported ({signal.Signals(-done.returncode).name})")
    return _Asked(values, _line((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]))


def _line(text: str) -> str:
    return " ".join(text.split())[:160]


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
