"""Where real data lies for tests, if it does."""

import os
from pathlib import Path

import pytest


def shared_data(folder: str) -> Path:
    """A folder of the shared test data; skips the test, saying so, where it is absent."""
    root = os.environ.get("METASIM_DATA")
    base = Path(root) if root else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (base / folder).is_dir():
        pytest.skip(f"there is no {base / folder}; METASIM_DATA names the folder of test data")
    return base / folder
