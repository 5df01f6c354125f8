"""Converts Blender's files to GLB, once, and caches the results by content."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from metasim.hashing import content_hash

from trainer.environment import Settings
from trainer.errors import InputError

#: The other half's; it is a program of its own, so that no Blender is loaded here.
_PROGRAM = "render_server.engines.blender.blend_to_glb"
_TIMEOUT_S = 300.0


def blend_as_glb(path: Path) -> bytes:
    """Return the visible meshes of a .blend file as GLB.

    Raises:
        InputError: the file cannot be read, holds no mesh, or Blender's package is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    kept = Settings.from_environment().cache / "blend" / f"{content_hash(content)}.glb"
    if not kept.is_file():
        if importlib.util.find_spec("bpy") is None:
            raise InputError(
                f"{path} needs Blender's package bpy, which is not installed here: `pip install '.[render]'`, or "
                "export the file as GLB"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            converted = Path(folder) / "whole.glb"
            _convert(path, converted)
            converted.replace(kept)  # Whoever else converts it has the same.
    return kept.read_bytes()


def _convert(path: Path, out: Path) -> None:
    command = [sys.executable, "-m", _PROGRAM, str(path.resolve()), str(out)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{path}: Blender took more than {_TIMEOUT_S:.0f} s to convert it; export it as GLB"
        ) from error
    if done.returncode != 0 or not out.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise InputError(f"{path} cannot be used as a mesh: {said}")
