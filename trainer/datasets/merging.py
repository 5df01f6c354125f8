"""Merging of parts from several machines into a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.datasets.destinations import is_url, split_url
from trainer.datasets.parts import parts_folder
from trainer.datasets.stored_parts import card_of, merge_stored
from trainer.datasets.writers import FORMATS, DatasetWriter
from trainer.datasets.writers.journal import JOURNAL, read_journal
from trainer.datasets.writers.split import SplitFolder
from trainer.errors import InputError


def merge_parts(out: Path | str) -> dict[str, Any]:
    """Make a dataset from its parts in `OUT.parts`; the parts are kept.

    The dataset has the same bytes as one made in one piece. In an object store, the files of samples are already in
    place: they are checked, the card is written, and `OUT.parts` is deleted.

    Returns:
        `out`, `format`, `count`, `parts`.

    Raises:
        InputError: a part is missing, unfinished or of another dataset, or the dataset exists.
        AuditError: the files contradict what was rendered.
    """
    if is_url(out):
        return merge_stored(*split_url(str(out)))
    out = Path(out)
    folder = parts_folder(out)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; `metasim generate --out {out} --shard I/N` makes it")
    splits = [path for path in sorted(folder.iterdir()) if path.is_dir() and not (path / JOURNAL).is_file()]
    splits = [path for path in splits if not path.name.endswith(".partial")]
    if not splits:
        writer = _merged(out, _parts(folder))
        return {"out": str(out), "format": _name(writer), "count": writer.count, "parts": len(_parts(folder))}
    counts: dict[str, int] = {}
    found = {path.name: _parts(path) for path in splits}
    ordered = sorted(found, key=lambda name: read_journal(found[name][0])[0]["split_number"])
    with SplitFolder(out, resume=False) as together:
        for name in ordered:
            writer = _merged(together.folder_of(name), found[name])
            counts[name] = writer.count
        together.complete(writer.card, counts, _name(writer))
    total = sum(counts.values())
    return {"out": str(out), "format": _name(writer), "count": total, "parts": len(found[ordered[0]])}


def _parts(folder: Path) -> list[Path]:
    """Return the parts of a folder in order.

    Raises:
        InputError: some are missing or unfinished.
    """
    unfinished = sorted(folder.glob("*.partial"))
    if unfinished:
        raise InputError(f"{unfinished[0]} is not finished; run the same command with --resume")
    found = sorted(path for path in folder.iterdir() if (path / JOURNAL).is_file())
    expected = int(found[0].name.rpartition("-of-")[2]) if found else 0
    missing = [
        name
        for name in (f"{number:05d}-of-{expected:05d}" for number in range(expected))
        if not (folder / name).exists()
    ]
    if not found or missing or len(found) != expected:
        raise InputError(f"{folder} lacks the part {missing[0] if missing else '00000-of-N'}; it holds {len(found)}")
    return found


def _merged(out: Path, parts: Sequence[Path]) -> DatasetWriter:
    journals = [read_journal(part)[0] for part in parts]
    first = journals[0]
    end = 0
    for part, identity in zip(parts, journals, strict=True):
        changed = [name for name in first if name != "part" and identity.get(name) != first[name]]
        if changed or identity["part"][0] != end:
            other = f"its {changed[0]} differs" if changed else f"it begins at image {identity['part'][0]}, not {end}"
            raise InputError(f"{part} does not fit {parts[0]}: {other}; make it again with the same command")
        end = identity["part"][1]
    kind = next(writer for writer in FORMATS.values() if writer.__name__ == first["format"])
    with kind(out, card_of(first)) as merged:
        for part in parts:
            merged.adopt(part)
    return merged


def _name(writer: DatasetWriter) -> str:
    return next(name for name, kind in FORMATS.items() if kind is type(writer))
