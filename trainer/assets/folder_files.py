"""The files below a folder."""

import os
from pathlib import Path

#: What operating systems and archives leave in folders beside the user's own files.
_FOREIGN_FOLDERS = frozenset({"__MACOSX", "@eaDir"})


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and below it, sorted by their paths from the folder.

    Symbolic links to folders are followed, except those that lead back to a folder above them. Hidden files and folders
    (names with a leading dot) are left out.

    Raises:
        OSError: the folder or one below it cannot be listed.
    """
    found: list[Path] = []
    _collect(folder, (), found)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _collect(folder: Path, above: tuple[str, ...], found: list[Path]) -> None:
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        if entry.name.startswith(".") or entry.name in _FOREIGN_FOLDERS:
            continue
        if entry.is_dir():
            _collect(folder / entry.name, (*above, real), found)
        elif entry.is_file():
            found.append(folder / entry.name)
