"""Sizes of assets that render workers take by default (`metasim-render serve --help`)."""

from pathlib import Path

from trainer.errors import InputError

MAX_PIXELS = 4096 * 4096
MAX_ASSET_BYTES = 64 << 20


def check_asset_bytes(data: bytes, path: Path) -> None:
    """
    Raises:
        InputError: a file is larger than workers take.
    """
    if len(data) > MAX_ASSET_BYTES:
        raise InputError(
            f"{path} has {len(data) / (1 << 20):.0f} MiB as an asset; workers take {MAX_ASSET_BYTES >> 20} MiB: "
            "reduce its meshes or its textures"
        )
