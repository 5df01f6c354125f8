"""The run folder: the results of a training run, and the state from which it resumes.

runs/NAME/
  inputs/                copies of the experiment and its grammar, hashes of asset files
  config.json            resolved experiment, overrides, seed, engine and versions
  metrics.jsonl          one object per epoch
  attributes.jsonl       values of each mutable attribute per epoch, of the prior and, if known, of the target
  events.out.tfevents.*  the metrics for TensorBoard
  samples/               a picture per epoch: prior, learned, target
  checkpoint/            state.json and tensors (safetensors): the last finished epoch
  stages/                1.safetensors, 2.safetensors ...: the averaged weights at the end of each finished stage
  summary.json           the outcome: distributions, times, and the scores that `metasim evaluate` adds
  report.html
  .lock                  held by the process that trains, so that there is only one
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.errors import InputError


@dataclass(frozen=True)
class RunConfig:
    """The configuration that determines a run's results."""

    experiment: str
    overrides: Mapping[str, object]
    seed: int
    engine: str
    mnist: str | None = None
    inception_weights: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


class Run:
    """A run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, config: RunConfig) -> "Run":
        """Create the folder of a new run.

        Raises:
            InputError: the folder exists, or cannot be created.
        """
        if folder.exists():
            cls.refuse(folder)
        run = cls(folder)
        try:
            (folder / "samples").mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be created: {error.strerror}") from error
        _write_json(folder / "config.json", asdict(config))
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open an existing run.

        Raises:
            InputError: the path is no run folder.
        """
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is no run folder (it has no config.json); `metasim train` creates one")
        return cls(folder)

    @staticmethod
    def refuse(folder: Path) -> NoReturn:
        """Raise the error for an existing folder.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{folder} exists, and runs are never overwritten: add --resume to continue it, or choose another --out"
        )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from training in this folder. The lock ends with the process, even on a crash.

        Raises:
            InputError: another process trains in it.
        """
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.folder} is being trained by another process; wait for it, stop it, or choose another --out"
                ) from None
            yield

    @property
    def config(self) -> RunConfig:
        """
        Raises:
            InputError: config.json is damaged, or another version of metasim wrote it.
        """
        content = self._read("config.json")
        if not isinstance(content, dict):
            raise InputError(f"{self.folder / 'config.json'} is damaged: it must hold an object")
        known = {item.name for item in fields(RunConfig)}
        wrong = [f"{key} is unknown" for key in content if key not in known]
        wrong += [f"{key} is missing" for key in ("experiment", "overrides", "seed", "engine") if key not in content]
        if wrong:
            version = content.get("versions", {}).get("metasim", "unknown")
            raise InputError(
                f"{self.folder / 'config.json'} is of another version of metasim ({version}): {', '.join(wrong)}; "
                "use that version, or train again"
            )
        return RunConfig(**content)

    @property
    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json; empty until the run has finished."""
        return self._read("summary.json") if (self.folder / "summary.json").is_file() else {}

    def update_summary(self, values: dict[str, Any]) -> None:
        """Add entries to summary.json, or replace them."""
        _write_json(self.folder / "summary.json", {**self.summary, **values})

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the objects of metrics.jsonl or attributes.jsonl; none if the file is missing.

        Raises:
            InputError: a line is damaged.
        """
        path = self.folder / name
        lines = path.read_text().splitlines() if path.is_file() else []
        return [_parsed(line, path, number) for number, line in enumerate(lines, 1)]

    def write_records(self, name: str, records: list[dict[str, Any]]) -> None:
        """Replace the whole file, so that a killed run never leaves half a line."""
        write_atomically(self.folder / name, "".join(json.dumps(record) + "\n" for record in records))

    def save_checkpoint(self, state: dict[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Replace the checkpoint atomically: after a crash, either the old or the new one exists, never a mixture.

        Args:
            state: anything that JSON can hold.
            tensors: named groups, e.g. a module's state_dict.
        """
        folder = self.folder / "checkpoint"
        new, old = self.folder / "checkpoint.new", self.folder / "checkpoint.old"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for name, group in tensors.items():
            save_file(_alone(group), new / f"{name}.safetensors")
        _write_json(new / "state.json", state)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
        """Return state and tensors of the last finished checkpoint; None if there is none yet.

        Raises:
            InputError: a file of it is damaged.
        """
        for name in ("checkpoint", "checkpoint.old"):  # Between the two renames only the old one exists.
            folder = self.folder / name
            if (folder / "state.json").is_file():
                tensors = {path.stem: _tensors(path) for path in sorted(folder.glob("*.safetensors"))}
                return self._read(f"{name}/state.json"), tensors
        return None

    def save_stage(self, number: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights at the end of a stage.

        Args:
            number: number of the stage, starting at 1.
        """
        path = self.folder / "stages" / f"{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(_alone(weights), partial)
        partial.replace(path)

    def load_stages(self) -> list[dict[str, Tensor]]:
        """Return the weights at the end of each finished stage, in their order.

        Raises:
            InputError: a file is damaged.
        """
        paths = (self.folder / "stages" / f"{number}.safetensors" for number in count(1))
        return [_tensors(path) for path in takewhile(Path.is_file, paths)]

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        content: dict[str, Any] = _parsed(path.read_text(), path)
        return content


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically: readers see either the old or the complete new content."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _alone(group: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU that share no memory, as safetensors requires."""
    return {key: value.detach().cpu().contiguous().clone() for key, value in group.items()}


def _parsed(text: str, path: Path, line: int = 0) -> Any:
    """Return parsed JSON; `line` is its number in a file of several objects."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: {error.msg} at line {line or error.lineno}") from None
    except RecursionError:
        raise InputError(f"{path} is damaged: its lists are nested too deep") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=2) + "\n")
