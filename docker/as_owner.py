"""Becomes the user whom the runs belong to, then the program that the arguments name.

Compose cannot say who typed `docker compose up`, so it starts the trainer as root with three capabilities and names a
file of that user's in METASIM_OWNER: compose.yaml. Where the image is started as any other user, this does nothing.
"""

import os
import sys
from pathlib import Path

_RUNS, _CACHE = Path("/metasim/runs"), Path("/metasim/cache")


def become(owner: os.stat_result) -> None:
    """Turns root into another user, who gets the folders that Docker has made."""
    if _RUNS.is_dir() and _RUNS.stat().st_uid == 0:
        os.chown(_RUNS, owner.st_uid, owner.st_gid)
    if _CACHE.is_dir():
        os.chown(_CACHE, owner.st_uid, owner.st_gid)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


if __name__ == "__main__":
    witness = Path(os.environ.get("METASIM_OWNER", _RUNS))
    if os.getuid() == 0 and witness.exists():
        become(witness.stat())
    os.execvp(sys.argv[1], sys.argv[1:])
