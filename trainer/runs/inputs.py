"""The inputs of a run: copies of its experiment's files, and hashes of the asset files that they name.

    RUN/inputs/
      manifest.json     the original path of each copied file, and the SHA-256 of each asset file
      my-world.yaml     the experiment, or the grammar alone
      base-world.yaml   the grammar that the experiment names, if it names one

A run reads these copies. It can therefore be moved to another machine, and editing a grammar does not change what a
finished run generates. Relative paths in them start at the original's folder, or at the copy's if the original's does
not exist.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.assets.folder_files import files_below
from trainer.errors import InputError
from trainer.grammar.files import EXPERIMENT_KEYS, Copies, FileCopy, open_file
from trainer.grammar.overrides import apply_overrides
from trainer.runs.folder import Run, write_atomically

FOLDER, MANIFEST = "inputs", "manifest.json"
#: Keys of an asset set that name a file or a folder.
_ASSET_PATHS = ("idx", "labels", "images", "meshes", "bop")


def keep_inputs(run: Run, experiment: str, overrides: Mapping[str, object]) -> None:
    """Copy an experiment's files into the run folder, and record the hashes of its asset files.

    Args:
        experiment: name or path.
        overrides: of the run; they can name other assets.

    Raises:
        InputError: a file cannot be read.
    """
    opened = open_file(experiment)
    folder = run.folder / FOLDER
    folder.mkdir()
    files: dict[str, dict[str, str]] = {}
    for role, document in (("experiment", opened.file), ("world", opened.world)):
        original = document.path.resolve()
        if role == "world" and original == opened.file.path.resolve():
            continue  # The experiment contains its grammar.
        name = original.name if not (folder / original.name).exists() else f"{role}-{original.name}"
        (folder / name).write_bytes(original.read_bytes())
        files[role] = {"copy": name, "original": str(original)}
    changes = {key: value for key, value in overrides.items() if key.split(".")[0] not in EXPERIMENT_KEYS}
    world = apply_overrides(opened.world, changes, Path.cwd())
    sections = world.data.get("assets")
    assets = {
        str(path): _fingerprint(path)
        for section in (sections.values() if isinstance(sections, dict) else ())
        for path in _asset_files(section, world.path.resolve().parent)
    }
    write_atomically(folder / MANIFEST, json.dumps({"files": files, "assets": assets}, indent=2) + "\n")


def kept_copies(run: Run) -> Copies | None:
    """Return the copies that a run keeps; None for runs of older versions, which have no copies.

    Raises:
        InputError: the manifest is damaged, or a copy is missing.
    """
    files = _manifest(run).get("files")
    if files is None:
        return None
    copies = {}
    for role, entry in files.items():
        copy = run.folder / FOLDER / entry["copy"]
        if not copy.is_file():
            raise InputError(f"{copy} is missing: it is the copy of {entry['original']} that the run was made from")
        copies[role] = FileCopy(copy, Path(entry["original"]))
    return Copies(copies["experiment"], copies.get("world"))


def changed_inputs(run: Run) -> list[str]:
    """Return a line for each original or asset file that has changed since the run was made.

    Missing originals do not count as changes, since the run reads its copies.
    """
    manifest, notes = _manifest(run), []
    for entry in (manifest.get("files") or {}).values():
        copy, original = run.folder / FOLDER / entry["copy"], Path(entry["original"])
        if original.is_file() and copy.is_file() and original.read_bytes() != copy.read_bytes():
            notes.append(f"{original} has changed since {run.folder} was made; the run uses its copy, {copy}")
    changed = [path for path, known in (manifest.get("assets") or {}).items() if _is_another(Path(path), known)]
    if changed:
        others = f" and {len(changed) - 1} other asset files have" if len(changed) > 1 else " has"
        notes.append(
            f"{changed[0]}{others} changed since {run.folder} was made: its renders will differ from those that it "
            "learned from"
        )
    return notes


def _asset_files(section: object, folder: Path) -> list[Path]:
    if not isinstance(section, dict):
        return []
    paths = [folder / str(section[key]) for key in _ASSET_PATHS if isinstance(section.get(key), str)]
    found: list[Path] = []
    for path in paths:
        found += files_below(path) if path.is_dir() else [path] if path.is_file() else []
    return found


def _fingerprint(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"sha256": _hash(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_another(path: Path, known: Mapping[str, Any]) -> bool:
    """Return whether a file exists and its content has changed. A file of equal size and time counts as unchanged."""
    if not path.is_file():
        return False
    status = path.stat()
    if (status.st_size, status.st_mtime_ns) == (known["size"], known["mtime_ns"]):
        return False
    return _hash(path) != known["sha256"]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(run: Run) -> dict[str, Any]:
    path = run.folder / FOLDER / MANIFEST
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    return content
