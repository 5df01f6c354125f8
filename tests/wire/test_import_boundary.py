"""Neither half pulls the other in: each installs and runs alone."""

import subprocess
import sys
from pathlib import Path

import pytest

_IMPORT_ALL = """
import importlib, pkgutil, sys
name, forbidden = sys.argv[1], sys.argv[2].split(",")
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, name + "."):
    if not module.name.startswith(tuple(sys.argv[3].split(","))) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(",".join(sorted({loaded.partition(".")[0] for loaded in sys.modules} & set(forbidden))))
"""


def pulled_in(package: str, forbidden: str, *, skip: str = "-", path: Path | None = None) -> list[str]:
    """Which of the forbidden packages are loaded once all modules of `package` have been imported."""
    command = [sys.executable, "-W", "ignore", "-c", _IMPORT_ALL, package, forbidden, skip]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path, check=False)
    assert done.returncode == 0, done.stderr
    return [name for name in done.stdout.strip().split(",") if name]


def test_trainer_needs_no_blender_and_no_server() -> None:
    assert pulled_in("trainer", "bpy,render_server,OpenEXR") == []


def test_worker_needs_no_torch_and_no_trainer() -> None:
    assert pulled_in("render_server", "torch,trainer", skip="render_server.engines.blender") == []


@pytest.mark.blender
def test_blender_engine_needs_no_torch_and_no_trainer() -> None:
    pytest.importorskip("bpy")
    assert pulled_in("render_server.engines", "torch,trainer") == []


def test_wire_needs_neither() -> None:
    assert pulled_in("metasim", "torch,trainer,render_server,bpy") == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    for name in ("half", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "half/deep.py").write_text("def late():\n    pass\n\nimport other\n")
    assert pulled_in("half", "other,torch", path=tmp_path) == ["other"]
