"""Prints what pyproject.toml asks for, so that an image can install it before the project itself is copied.

Usage: requirements.py EXTRA...
"""

import sys
import tomllib
from pathlib import Path


def requirements(document: str, extras: list[str]) -> list[str]:
    """The dependencies of a pyproject.toml, with those of its extras."""
    project = tomllib.loads(document)["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml").read_text(), sys.argv[1:])) + "\n")
