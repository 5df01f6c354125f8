"""Exports that are killed at random moments, and parts that processes make, give the bytes of one that was not."""

import os
import subprocess
import sys
from pathlib import Path

from trainer.datasets.writers import FORMATS

ROOT = Path(__file__).resolve().parents[3]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_exports_and_parts_have_the_same_bytes(tmp_path: Path) -> None:
    """Ten kills of each format, at moments that a seed chooses among the events of writing; four parts of each."""
    path = os.pathsep.join(str(ROOT / part) for part in ("", "tests", "proto"))
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/killed_exports.py"), str(tmp_path), *sorted(FORMATS)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    kills = {name: int(number) for name, number in (line.split() for line in run.stdout.splitlines())}
    assert kills.keys() == FORMATS.keys()
    assert set(kills.values()) == {10}
    for name in FORMATS:
        whole = tree(tmp_path / name / "whole")
        assert tree(tmp_path / name / "killed") == whole, name
        assert tree(tmp_path / name / "merged") == whole, name
