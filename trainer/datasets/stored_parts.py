"""Merging of parts in an object store into a dataset. No file of samples is read or copied."""

import dataclasses
from typing import Any

from trainer.datasets.destinations import StoredSplits
from trainer.datasets.writers import FORMATS, DatasetCard
from trainer.datasets.writers.object_store import ObjectStore
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.datasets.writers.store_writer import CARD, COMPLETE, EXPORT, StoredCounts, stored_counts, write_card
from trainer.errors import InputError


@dataclasses.dataclass(frozen=True)
class _Part:
    """A part, described by its state."""

    state: str
    identity: dict[str, Any]
    rendered_by: str


def merge_stored(url: str, name: str, store: ObjectStore | None = None) -> dict[str, Any]:
    """Complete the dataset `name` at a URL from its parts.

    Returns:
        `out`, `format`, `count`, `parts`.

    Raises:
        InputError: a part is missing, unfinished or of another dataset, or the dataset exists.
    """
    store = store or ObjectStore(url)
    out = f"{store.url}/{name}"
    if store.read(f"{name}/{CARD}") is not None:
        raise InputError(f"{out} exists, and datasets are never overwritten; choose another name")
    names = store.names(f"{name}.parts")
    states = sorted(path.removesuffix(f"/{EXPORT}") for path in names if path.endswith(f"/{EXPORT}"))
    if not states:
        raise InputError(f"{out}.parts holds no part; `metasim generate --out {out} --shard I/N` makes it")
    groups: dict[str, list[str]] = {}
    for state in states:
        split, _, _ = state.removeprefix(f"{name}.parts/").rpartition("/")
        groups.setdefault(split, []).append(state)
    found = {split: _parts(store, group) for split, group in groups.items()}
    ordered = sorted(found, key=lambda split: found[split][0].identity["split_number"])
    totals = {split: _checked(store, "/".join(filter(None, (name, split))), found[split]) for split in ordered}
    for split in ordered:  # All parts are complete.
        first = found[split][0].identity
        renderers = "; ".join(dict.fromkeys(part.rendered_by for part in found[split] if part.rendered_by))
        data = "/".join(filter(None, (name, split)))
        write_card(store, data, _kind(first), card_of(first), totals[split].counts, renderers)
    identity = found[ordered[0]][0].identity
    if ordered != [""]:
        counts = {split: totals[split].samples for split in ordered}
        StoredSplits(store, name).complete(card_of(identity), counts, _format(identity))
    store.delete(names)
    count = sum(total.samples for total in totals.values())
    return {"out": out, "format": _format(identity), "count": count, "parts": len(found[ordered[0]])}


def card_of(identity: dict[str, Any]) -> DatasetCard:
    """Return the card in an export's identity."""
    names = {field.name for field in dataclasses.fields(DatasetCard)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in identity.items()
    }
    return DatasetCard(**{name: value for name, value in values.items() if name in names})


def _parts(store: ObjectStore, states: list[str]) -> list[_Part]:
    """Return the parts in order.

    Raises:
        InputError: one is missing, unfinished or of another dataset.
    """
    expected = int(states[0].rpartition("-of-")[2])
    above = states[0].rpartition("/")[0]
    for number in range(expected):
        state = f"{above}/{number:05d}-of-{expected:05d}"
        if state not in states:
            raise InputError(f"{store.url}/{above} lacks the part {number:05d}-of-{expected:05d}")
    if len(states) != expected:
        raise InputError(f"{store.url}/{above} holds parts of different exports, such as {states[-1]}; remove some")
    found = []
    for state in states:
        complete = store.read_json(f"{state}/{COMPLETE}")
        if complete is None:
            raise InputError(f"{store.url}/{state} is not finished; run the same command with --resume")
        found.append(_Part(state, store.read_json(f"{state}/{EXPORT}"), complete["rendered_by"]))
    first = found[0].identity
    for part in found:
        changed = [key for key in first if key not in ("part", "client") and part.identity.get(key) != first[key]]
        if changed:
            raise InputError(
                f"{store.url}/{part.state} does not fit {found[0].state}: its {changed[0]} differs; make it again with "
                "the same command"
            )
    return found


def _checked(store: ObjectStore, data: str, parts: list[_Part]) -> StoredCounts:
    """Return the counts of all parts, after checking that their files exist and are contiguous."""
    total, end = StoredCounts(), 0
    kind, card = _kind(parts[0].identity), card_of(parts[0].identity)
    for part in parts:
        first, stop = part.identity["part"]
        stored = stored_counts(store, data, part.state, kind, card, first)
        if first != end or stored.samples != stop - first:
            raise InputError(
                f"{store.url}/{part.state} does not fit: files of the images {first} to {stop - 1} are stated, and "
                f"{stored.samples} of these images are in {data}; make it again with the same command"
            )
        total.add(stored.counts, stored.samples)
        end = stop
    return total


def _kind(identity: dict[str, Any]) -> type[ShardedWriter]:
    kind = FORMATS[_format(identity)]
    if not issubclass(kind, ShardedWriter):
        raise InputError(f"format {_format(identity)} is not one of files of many samples")
    return kind


def _format(identity: dict[str, Any]) -> str:
    return next(name for name, kind in FORMATS.items() if kind.__name__ == identity["format"])
