"""Export of procedural families as files."""

from collections.abc import Sequence
from pathlib import Path

from metasim.v1 import scene_pb2 as pb

from trainer.assets.procedural import FAMILIES
from trainer.errors import InputError

_SUFFIXES = {None: ".png", pb.MESH_FORMAT_GLB: ".glb", pb.MESH_FORMAT_PLY: ".ply", pb.MESH_FORMAT_OBJ: ".obj"}


def write_family(name: str, folder: Path, labels: Sequence[str] = ()) -> list[Path]:
    """Write a family's items as FOLDER/LABEL/NAME.png or .glb, the layout of the asset sets `images` and `meshes`.

    Args:
        labels: those that are wanted; none: all.

    Returns:
        The files.

    Raises:
        InputError: the family or a label is unknown, or the folder exists or cannot be made.
    """
    if name not in FAMILIES:
        raise InputError(f"family {name!r} is unknown; allowed: {', '.join(FAMILIES)}")
    family = FAMILIES[name]()
    known = [] if family.label is None else [family.label(index) for index in range(family.count)]
    for label in labels:
        if label not in known:
            allowed = f"allowed: {', '.join(sorted(set(known)))}" if known else "its items have no labels"
            raise InputError(f"label {label!r} of {name} is unknown; {allowed}")
    if folder.exists():
        raise InputError(f"{folder} exists, and nothing is ever overwritten: choose another --out")
    written = []
    try:
        for index in range(family.count):
            if labels and known[index] not in labels:
                continue
            place = folder / known[index] if known else folder
            place.mkdir(parents=True, exist_ok=True)
            stem = family.item_name(index) if family.item_name is not None else f"{index:04d}"
            path = place / f"{stem}{_SUFFIXES[family.mesh_format]}"
            if path.exists():  # Items of a label that share their name.
                path = place / f"{stem}-{index:04d}{path.suffix}"
            path.write_bytes(family.make(index))
            written.append(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return written
