"""Datasets in object stores: resumed, merged without copying, and whole after faults of a real S3 server."""

import io
import itertools
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.object_store import Faults, no_fault, s3_server
from support.samples import CARD, car_sample

from trainer.datasets.destinations import Piece, StoreDestination, destination, is_url, pieces_of
from trainer.datasets.merging import merge_parts
from trainer.datasets.parts import Shard
from trainer.datasets.stored_parts import merge_stored
from trainer.datasets.writers import FORMATS, open_writer
from trainer.datasets.writers.object_store import ObjectStore
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.errors import InputError

SHARDED = sorted(name for name, kind in FORMATS.items() if issubclass(kind, ShardedWriter))
_numbers = itertools.count()


@pytest.fixture
def url() -> str:
    return f"memory://bucket-{next(_numbers)}/sets"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Faults]]:
    with s3_server() as serving:
        yield serving


@pytest.fixture
def s3(server: tuple[str, Faults], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Faults]]:
    """The URL of a new bucket, and the faults of its server."""
    address, faults = server
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_numbers)}"
    ObjectStore(f"s3://{name}")._files.mkdir(name)
    yield f"s3://{name}/sets", faults
    faults.fault = no_fault


def stored(store: ObjectStore, name: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{name}/"): store.read(path) or b"" for path in store.names(name)}


def target(url: str, format_name: str, pauses: list[float] | None = None) -> StoreDestination:
    store = ObjectStore(url, sleep=([] if pauses is None else pauses).append)
    return StoreDestination(f"{url}/set", format_name, CARD.per_file, store)


def write(
    to: StoreDestination, numbers: range, *, resume: bool = False, piece: Piece | None = None, stop: int | None = None
) -> None:
    """Write samples; `stop`: fail before that one."""
    piece = piece or Piece(numbers, None, CARD)
    with to.open(piece, resume=resume, meshes=None) as writer:
        for number in numbers[writer.count :]:
            if number == stop:
                raise KeyboardInterrupt
            writer.add(car_sample(number), audited=number % 4 == 0)


def local(tmp_path: Path, format_name: str, count: int = 10) -> dict[str, bytes]:
    folder = tmp_path / "local"
    with open_writer(format_name, folder, CARD) as writer:
        for number in range(count):
            writer.add(car_sample(number), audited=number % 4 == 0)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format_name", SHARDED)
def test_a_store_gets_the_bytes_of_a_folder(format_name: str, url: str, tmp_path: Path) -> None:
    to = target(url, format_name)
    write(to, range(10))
    assert stored(to.store, "set") == local(tmp_path, format_name)
    assert not to.store.names("set.partial")


@pytest.mark.parametrize("stop", [0, 1, 4, 5, 9])
@pytest.mark.parametrize("format_name", ["webdataset", "parquet"])
def test_an_export_that_stops_goes_on_after_its_last_file(
    format_name: str, stop: int, url: str, tmp_path: Path
) -> None:
    to = target(url, format_name)
    with pytest.raises(KeyboardInterrupt):
        write(to, range(10), stop=stop)
    files = [name for name in to.store.names("set") if not name.endswith("README.md")]
    assert len(files) <= stop // CARD.per_file, "an upload that has not begun is dropped"
    piece = Piece(range(10), None, CARD)
    assert bool(to.left(piece)) == bool(files)
    if files:
        with pytest.raises(InputError, match=r"set\.partial is an unfinished export; add --resume"):
            to.open(piece, resume=False, meshes=None)
        with to.open(piece, resume=True, meshes=None) as writer:
            assert writer.count in range(0, CARD.per_file * len(files) + 1, CARD.per_file)
            for number in range(writer.count, 10):
                writer.add(car_sample(number), audited=number % 4 == 0)
    else:
        write(to, range(10))
    assert stored(to.store, "set") == local(tmp_path, format_name)


def test_a_file_that_is_damaged_in_the_store_is_made_again(url: str, tmp_path: Path) -> None:
    to = target(url, "webdataset")
    with pytest.raises(KeyboardInterrupt):
        write(to, range(10), stop=9)
    to.store.write("set/shard-000001.tar", b"short")
    with to.open(Piece(range(10), None, CARD), resume=True, meshes=None) as writer:
        assert writer.count == CARD.per_file
        for number in range(writer.count, 10):
            writer.add(car_sample(number), audited=number % 4 == 0)
    assert stored(to.store, "set") == local(tmp_path, "webdataset")


@pytest.mark.parametrize("format_name", SHARDED)
def test_parts_are_merged_without_copying(format_name: str, url: str, tmp_path: Path) -> None:
    to = target(url, format_name)
    for index in (2, 0, 1):
        [piece] = pieces_of([(None, range(10))], Shard(index, 3), CARD, to.step())
        write(to, piece.scenes, piece=piece)
        assert to.finished(piece)
    before = set(to.store.names("set"))
    assert merge_stored(url, "set", to.store) == {
        "out": f"{url}/set", "format": format_name, "count": 10, "parts": 3
    }  # fmt: skip
    found = stored(to.store, "set")
    assert found == local(tmp_path, format_name)
    assert {f"set/{name}" for name in found} - before <= {"set/README.md", "set/classes.json"}
    assert not to.store.names("set.parts")
    with pytest.raises(InputError, match=r"/set exists, and datasets are never overwritten; choose another name$"):
        merge_parts(f"{url}/set")


def test_splits_of_parts_are_merged(url: str) -> None:
    to = target(url, "webdataset")
    splits = [("train", range(8)), ("val", range(8, 16))]
    for index in range(2):
        for piece in pieces_of(list(splits), Shard(index, 2), CARD, to.step()):
            write(to, piece.scenes, piece=piece)
    assert merge_stored(url, "set", to.store)["count"] == 16
    names = set(stored(to.store, "set"))
    files = {"README.md", "shard-000000.tar", "shard-000001.tar"}
    assert names == {"README.md"} | {f"{split}/{name}" for split in ("train", "val") for name in files}
    assert "| train | 8 |\n| val | 8 |" in (to.store.read("set/README.md") or b"").decode()


def test_parts_that_are_not_there_are_named(url: str) -> None:
    to = target(url, "webdataset")
    with pytest.raises(
        InputError, match=r"set\.parts holds no part; `metasim generate --out .*/set --shard I/N` makes"
    ):
        merge_stored(url, "set", to.store)
    pieces = [pieces_of([(None, range(12))], Shard(index, 3), CARD, to.step())[0] for index in range(3)]
    write(to, pieces[0].scenes, piece=pieces[0])
    with pytest.raises(InputError, match=r"set\.parts lacks the part 00001-of-00003$"):
        merge_stored(url, "set", to.store)
    write(to, pieces[1].scenes, piece=replace(pieces[1], card=replace(CARD, seed=9)))
    with to.open(pieces[2], resume=False, meshes=None) as writer:
        for number in pieces[2].scenes:
            writer.add(car_sample(number))
        to.store.read("set")
    with pytest.raises(InputError, match=r"00001-of-00003 does not fit set\.parts/00000-of-00003: its seed differs"):
        merge_stored(url, "set", to.store)
    to.store.delete(["set.parts/00002-of-00003/complete.json"])
    with pytest.raises(InputError, match="00002-of-00003 is not finished; run the same command with --resume"):
        merge_stored(url, "set", to.store)


def test_datasets_are_never_overwritten(url: str) -> None:
    to = target(url, "webdataset")
    to.store.write("set/mine.txt", b"mine")
    with pytest.raises(InputError, match=r"/set exists, and datasets are never overwritten; choose another name$"):
        write(to, range(3))
    assert stored(to.store, "set") == {"mine.txt": b"mine"}
    assert not to.store.names("set.partial")


def test_of_two_clients_that_begin_at_once_one_is_refused(url: str) -> None:
    to = target(url, "webdataset")
    piece = Piece(range(3), None, CARD)
    with to.open(piece, resume=False, meshes=None) as writer:
        writer.add(car_sample(0))
        with pytest.raises(InputError, match=r"set\.partial is an unfinished export"):
            to.open(piece, resume=False, meshes=None)


def test_another_export_is_not_gone_on_with(url: str) -> None:
    to = target(url, "webdataset")
    with pytest.raises(KeyboardInterrupt):
        write(to, range(10), stop=7)
    other = Piece(range(10), None, replace(CARD, seed=5))
    with pytest.raises(
        InputError, match=r"set\.partial is of another export: its seed differs; use its original command"
    ):
        to.open(other, resume=True, meshes=None)


@pytest.mark.parametrize(
    ("out", "format_name", "message"),
    [
        ("s3://bucket", "webdataset", r"^s3://bucket names no dataset in a bucket; such as s3://bucket/NAME$"),
        ("s3://bucket/set", "coco", r"^format coco has one file per image, too many for an object store; use web"),
        ("what://bucket/set", "webdataset", r"^what://bucket: Protocol not known: what; such as s3://BUCKET/NAME"),
        ("gs://bucket/set", "parquet", r"^gs://bucket needs the package gcsfs \(.*\); pip install fsspec gcsfs$"),
    ],
)
def test_destinations_that_are_none(out: str, format_name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        destination(out, format_name, 1000)


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/set")
    assert not is_url("folder/set")
    assert not is_url(Path("s3://bucket/set"))


def test_shards_of_a_store_begin_with_a_file() -> None:
    parts = [Shard(index, 3).of(range(10), 4) for index in range(3)]
    assert [(part.start, part.stop) for part in parts] == [(0, 4), (4, 8), (8, 10)]
    with pytest.raises(InputError, match=r"^shard 0/4 of 10 images, 4 in a file, is empty; use fewer shards$"):
        pieces_of([(None, range(10))], Shard(0, 4), CARD, 4)


def every(number: int, fault: str, method: str = "PUT") -> Callable[[str, str], str | None]:
    """Every n-th write of a file of samples, or of its record, fails so."""
    count = itertools.count(1)

    def found(verb: str, path: str) -> str | None:
        return fault if verb == method and "set" in path and next(count) % number == 0 else None

    return found


def samples_in(store: ObjectStore) -> list[str]:
    """The names of all samples of a dataset of tar files."""
    names = []
    for path in sorted(store.names("set")):
        if path.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(store.read(path) or b"")) as file:
                names += [name for name in file.getnames() if name.endswith(".json")]
    return names


@pytest.mark.parametrize(("number", "fault"), [(2, "drop"), (3, "drop"), (2, "lose"), (3, "lose")])
def test_lost_connections_lose_and_double_no_sample(
    number: int, fault: str, s3: tuple[str, Faults], tmp_path: Path
) -> None:
    url, faults = s3
    to = target(url, "webdataset")
    faults.fault = every(number, fault)
    write(to, range(10))
    faults.fault = no_fault
    assert stored(to.store, "set") == local(tmp_path, "webdataset")
    assert samples_in(to.store) == [f"{index:07d}.json" for index in range(10)]


def test_a_store_that_stays_away_ends_the_export_which_goes_on_later(s3: tuple[str, Faults], tmp_path: Path) -> None:
    url, faults = s3
    pauses: list[float] = []
    to = target(url, "parquet", pauses)
    faults.fault = lambda method, path: "drop" if "00001" in path and method == "PUT" else None
    with pytest.raises(InputError, match=r"^cannot write s3://.*/set/data/train-00001-of-00003\.parquet: "):
        write(to, range(10))
    assert pauses == [1.0, 4.0, 15.0]
    faults.fault = no_fault
    write(to, range(10), resume=True)
    assert stored(to.store, "set") == local(tmp_path, "parquet")


def test_a_full_bucket_is_one_line_and_keeps_what_is_there(s3: tuple[str, Faults], tmp_path: Path) -> None:
    url, faults = s3
    pauses: list[float] = []
    to = target(url, "webdataset", pauses)
    faults.fault = lambda _, path: "full" if path.endswith("shard-000002.tar") else None
    with pytest.raises(
        InputError, match=r"^cannot write s3://.*/set/shard-000002\.tar: the store is full \("
    ) as raised:
        write(to, range(10))
    assert "\n" not in str(raised.value)
    assert not pauses
    assert {"set/shard-000000.tar", "set/shard-000001.tar"} <= set(to.store.names("set"))
    faults.fault = no_fault
    written = len(faults.writes)
    write(to, range(10), resume=True)
    assert not any("shard-000000" in path for path in faults.writes[written:])
    assert stored(to.store, "set") == local(tmp_path, "webdataset")


def test_a_bucket_that_does_not_exist_is_one_line(s3: tuple[str, Faults]) -> None:
    del s3
    with pytest.raises(InputError, match=r"^cannot write s3://no-such-bucket/set\.partial/export\.json: .*bucket"):
        write(target("s3://no-such-bucket", "webdataset"), range(3))


def test_missing_credentials_are_one_line_at_once(
    s3: tuple[str, Faults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"^cannot read s3://.*: Unable to locate credentials$"):
        ObjectStore(f"{s3[0]}/set").read("README.md")
    assert not caplog.records


def test_uploads_that_are_slow_hold_up_whoever_writes(url: str) -> None:
    """No more than the files that are uploaded and the one that is written are on this machine."""
    import threading

    to = target(url, "webdataset")
    gate, reached, most = threading.Semaphore(0), threading.Semaphore(0), []
    upload = to.store.upload

    def slow(path: Path, name: str) -> None:
        reached.release()
        gate.acquire()
        upload(path, name)

    to.store.upload = slow  # type: ignore[method-assign]

    def run() -> None:
        with to.open(Piece(range(24), None, CARD), resume=False, meshes=None) as writer:
            for number in range(24):
                writer.add(car_sample(number))
                most.append(len(list(writer._spool.iterdir())))  # type: ignore[attr-defined]

    writing = threading.Thread(target=run)
    writing.start()
    for _ in range(6):
        reached.acquire()
        assert len(most) < 24 or max(most) <= 4
        gate.release()
    writing.join()
    assert max(most) <= 4
    assert len([name for name in to.store.names("set") if name.endswith(".tar")]) == 6


def test_rows_are_what_hugging_face_expects(tmp_path: Path) -> None:
    """The types of the columns are in the schema, and images are structs of bytes and a path."""
    import json

    from pyarrow import parquet

    local(tmp_path, "parquet-masks")
    path = tmp_path / "local" / "data" / "train-00001-of-00003.parquet"
    table: Any = parquet.read_table(path)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == features["class_mask"] == {"_type": "Image"}
    assert features["label"] == {"names": ["Bus", "Car"], "_type": "ClassLabel"}
    rows = table.to_pylist()
    assert [row["image"]["path"] for row in rows] == [f"{index:07d}.png" for index in range(4, 8)]
    assert rows[0]["objects"]["categories"] == [1]
    assert np.array(rows[0]["objects"]["bbox"]).shape == (1, 4)
