"""Datasets in object stores: files of many samples, uploaded one by one.

OUT/shard-000000.tar ...       the files; README.md comes last and says that the dataset is complete
OUT.partial/export.json        what the export is of
OUT.partial/file-000000.json   of a file that has arrived: its size and its counts; `--resume` goes on after these
OUT.parts/I-of-N/...           the same of a part; `merge_parts` needs no file of samples
"""

import dataclasses
import json
import shutil
import tempfile
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from trainer.datasets.writers.audit import check_files
from trainer.datasets.writers.card import Counts, DatasetCard
from trainer.datasets.writers.close_or_abort import CloseOrAbort
from trainer.datasets.writers.object_store import ObjectStore
from trainer.datasets.writers.sample import Sample
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.errors import InputError

#: Names of the export's identity, of a finished part's marker, and of a finished dataset's card.
EXPORT, COMPLETE, CARD = "export.json", "complete.json", "README.md"
#: Files that are uploaded while the next one is written; a faster writer waits.
_UPLOADS = 2


class StoreWriter(CloseOrAbort):
    """Writes the samples of a dataset, or of a part of one, into an object store.

    A file is made in a temporary folder, read back if it has audited samples, and uploaded. This machine thus holds at
    most three files, regardless of the dataset's size.

    Args:
        kind: the format.
        store: holds the dataset and its state.
        data, state: names of their folders in it.
        resume: resume an unfinished export.
        part: for a part, the numbers of its samples; it starts and ends at file boundaries.

    Raises:
        InputError: the dataset or another unfinished export exists, or the store refuses.
    """

    def __init__(
        self,
        kind: type[ShardedWriter],
        store: ObjectStore,
        data: str,
        state: str,
        card: DatasetCard,
        *,
        resume: bool = False,
        part: range | None = None,
    ) -> None:
        kind.check(card)
        self.card, self.part = card, part
        #: Engine, version and device that render, for the card; empty: unknown.
        self.rendered_by = ""
        self._kind, self._store, self._data, self._state = kind, store, data, state
        self._first = part.start if part else 0
        self._total = StoredCounts()
        self._written: ShardedWriter | None = None
        self._identity = identity_of(kind, card, part)
        if resume:
            self._resume()
        else:
            self._start()
        self._spool = Path(tempfile.mkdtemp(prefix="metasim-"))
        self._executor = ThreadPoolExecutor(_UPLOADS, "upload")
        self._uploads: deque[Future[None]] = deque()

    @property
    def count(self) -> int:
        """Return the number of samples."""
        return self._total.samples + (self._written.count if self._written else 0)

    def counts(self) -> Counts:
        """Return the counts of labels and objects so far."""
        found = StoredCounts()
        found.add(self._total.counts, self._total.samples)
        if self._written is not None:
            found.add(self._written.counts(), self._written.count)
        return found.counts

    def add(self, sample: Sample, *, drawn: int = 1, audited: bool = False) -> None:
        """Append a sample; see `DatasetWriter.add`."""
        index = self._first + self.count
        if self._written is None:
            end = index - index % self.card.per_file + self.card.per_file
            self._written = self._kind(self._spool / f"file-{index}", self.card, part=range(index, end))
        self._written.add(sample, drawn=drawn, audited=audited)
        if (index + 1) % self.card.per_file == 0:
            self._seal()

    def close(self) -> None:
        """Complete the dataset or the part, once all files have arrived."""
        try:
            if not self.count:
                raise InputError(f"{self._url}: the dataset has no samples; at least 1 is needed")
            self._seal()
            while self._uploads:
                self._uploads.popleft().result()
            renderers = "; ".join(dict.fromkeys(filter(None, (*self._total.renderers, self.rendered_by))))
            if self.part is not None:
                self._store.write(f"{self._state}/{COMPLETE}", json.dumps({"rendered_by": renderers}).encode())
            else:
                write_card(self._store, self._data, self._kind, self.card, self._total.counts, renderers)
                self._store.delete(self._store.names(self._state))
        finally:
            self._release()

    def abort(self) -> None:
        """End without a dataset. Uploaded files are kept for `--resume`; without any, nothing is kept."""
        try:
            for upload in self._uploads:
                upload.cancel()
            self._executor.shutdown(wait=True)
            if not any("/file-" in name for name in self._store.names(self._state)):
                self._store.delete([f"{self._state}/{EXPORT}"])
        finally:
            self._release()

    @property
    def _url(self) -> str:
        return f"{self._store.url}/{self._data}"

    def _start(self) -> None:
        exists = self._store.names(self._data) if self.part is None else self._store.read(f"{self._data}/{CARD}")
        if exists and not self._store.read(f"{self._state}/{EXPORT}"):
            raise InputError(f"{self._url} exists, and datasets are never overwritten; choose another name")
        values = {
            **self._identity,
            "client": uuid.uuid4().hex,
        }  # Of two clients that start at the same time, one succeeds.
        if not self._store.create(f"{self._state}/{EXPORT}", json.dumps(values).encode()):
            raise InputError(
                f"{self._store.url}/{self._state} is an unfinished export; "
                "add --resume to continue it, remove it, or choose another name"
            )

    def _resume(self) -> None:
        kept = self._store.read_json(f"{self._state}/{EXPORT}")
        if not isinstance(kept, dict):
            raise InputError(f"there is no {self._store.url}/{self._state} to resume; omit --resume to start")
        differing = [name for name, value in self._identity.items() if kept.get(name) != value]
        if differing:
            raise InputError(
                f"{self._store.url}/{self._state} is of another export: its {differing[0]} differs; use its original "
                "command, or remove it"
            )
        self._total = stored_counts(self._store, self._data, self._state, self._kind, self.card, self._first)

    def _seal(self) -> None:
        """Complete the file, and upload it while the next one is written."""
        written, self._written = self._written, None
        if written is None:
            return
        written.rendered_by = self.rendered_by
        written.close()
        first = written.first
        audited = {index - first: found for index, found in written.audited.items()}
        check_files(written.folder, written.reader, audited)
        self._total.add(written.counts(), written.count)
        number = first // self.card.per_file
        name = self._kind.file_name(number, self.card)
        record = file_record(written.counts(), written.count, (written.folder / name).stat().st_size, self.rendered_by)
        while len(self._uploads) >= _UPLOADS:
            self._uploads.popleft().result()
        self._uploads.append(self._executor.submit(self._upload, written.folder, name, number, record))

    def _upload(self, folder: Path, name: str, number: int, record: Mapping[str, Any]) -> None:
        self._store.upload(folder / name, f"{self._data}/{name}")
        self._store.write(f"{self._state}/file-{number:06d}.json", json.dumps(record).encode())
        shutil.rmtree(folder, ignore_errors=True)

    def _release(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._written is not None:
            self._written.abort()
            self._written = None
        shutil.rmtree(self._spool, ignore_errors=True)


@dataclasses.dataclass
class StoredCounts:
    """Statistics of uploaded files."""

    samples: int = 0
    counts: Counts = dataclasses.field(default_factory=Counts)
    renderers: list[str] = dataclasses.field(default_factory=list)

    def add(self, counts: Counts, samples: int) -> None:
        """Add a file's counts."""
        self.samples += samples
        self.counts.labels.update(counts.labels)
        self.counts.objects.update(counts.objects)
        self.counts.drawn += counts.drawn
        self.counts.audited += counts.audited
        self.counts.audited_objects += counts.audited_objects


def identity_of(kind: type[ShardedWriter], card: DatasetCard, part: range | None) -> dict[str, Any]:
    """Return the values that are equal for equal exports, as JSON returns them."""
    values: dict[str, Any] = {"format": kind.__name__, **dataclasses.asdict(card)}
    if part is not None:
        values["part"] = [part.start, part.stop]
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


def file_record(counts: Counts, samples: int, size: int, rendered_by: str) -> dict[str, Any]:
    """Return a file's entry in the state."""
    return {
        "samples": samples,
        "bytes": size,
        "rendered_by": rendered_by,
        "labels": list(counts.labels.items()),
        "objects": dict(counts.objects),
        "drawn": counts.drawn,
        "audited": [counts.audited, counts.audited_objects],
    }


def stored_counts(
    store: ObjectStore, data: str, state: str, kind: type[ShardedWriter], card: DatasetCard, first: int
) -> StoredCounts:
    """Return the counts of uploaded files, from sample number `first` up to the first gap."""
    total = StoredCounts()
    records, sizes = store.names(state), store.names(data)
    number = first // card.per_file
    while (name := f"{state}/file-{number:06d}.json") in records:
        record = store.read_json(name)
        if not isinstance(record, dict) or sizes.get(f"{data}/{kind.file_name(number, card)}") != record["bytes"]:
            break
        labels = Counter(dict(map(tuple, record["labels"])))
        counts = Counts(labels, Counter(record["objects"]), record["drawn"], *record["audited"])
        total.add(counts, record["samples"])
        total.renderers.append(record["rendered_by"])
        number += 1
        if record["samples"] < card.per_file:
            break
    return total


def write_card(
    store: ObjectStore, data: str, kind: type[ShardedWriter], card: DatasetCard, counts: Counts, renderers: str
) -> None:
    """Write the files of the whole dataset, the card last."""
    for name, content in kind.whole_files(card).items():
        store.write(f"{data}/{name}", content)
    shown = dataclasses.replace(card, rendering="; ".join(filter(None, (card.rendering, renderers))))
    store.write(f"{data}/{CARD}", shown.markdown(counts, kind.layout, kind.needs).encode())
