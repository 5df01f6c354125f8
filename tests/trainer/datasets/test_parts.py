"""Splits and shards: which scenes are whose; parts of every format make the whole, byte for byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.samples import CARD, car_sample

from trainer.datasets.merging import merge_parts
from trainer.datasets.parts import Shard, parse_splits, parts_folder
from trainer.datasets.writers import FORMATS, open_writer
from trainer.errors import InputError


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_part(name: str, out: Path, shard: Shard, count: int) -> None:
    part = shard.of(range(count))
    with open_writer(name, parts_folder(out) / shard.name, CARD, part=part) as writer:
        for index in part:
            writer.add(car_sample(index), audited=index % 4 == 0)


@given(st.integers(1, 50), st.integers(1, 400))
def test_shards_are_disjoint_and_complete(shards: int, count: int) -> None:
    found = [list(Shard(index, shards).of(range(count))) for index in range(shards)]
    assert [number for part in found for number in part] == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "a/b", "0/0", "1/4/2", "½/2"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"^shard '.*' must be I/N with I from 0 to N - 1, such as 0/4"):
        Shard.parse(text)


def test_splits_are_contiguous() -> None:
    assert parse_splits("train=0.8, val=0.1,test=0.1", 25) == [
        ("train", range(20)), ("val", range(20, 22)), ("test", range(22, 25))
    ]  # fmt: skip


@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=5), st.integers(100, 10_000))
def test_splits_cover_everything(weights: list[float], count: int) -> None:
    total = sum(weights)
    text = ",".join(f"s{number}={weight / total!r}" for number, weight in enumerate(weights))
    splits = parse_splits(text, count)
    assert [index for _, indices in splits for index in indices] == list(range(count))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=0.8", r"^split train=0\.8: the fractions add up to 0\.8; they must add up to 1$"),
        ("train=0.5,train=0.5", r"^split 'train=0\.5' must be NAME=FRACTION, each name once"),
        ("train", r"^split 'train' must be NAME=FRACTION"),
        ("../up=1", r"^split '\.\./up=1' must be NAME=FRACTION"),
        ("train=0.999,test=0.001", r"^split test is empty: 0\.001 of 10 images; use more images$"),
    ],
)
def test_splits_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_splits(text, 10)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("shards", [1, 3])
def test_parts_make_the_whole(name: str, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.datasets.writers.bop.SCENE", 4)
    with open_writer(name, tmp_path / "whole", CARD) as writer:
        for index in range(10):
            writer.add(car_sample(index), audited=index % 4 == 0)
    for index in reversed(range(shards)):
        write_part(name, tmp_path / "merged", Shard(index, shards), 10)
    summary = merge_parts(tmp_path / "merged")
    assert summary == {"out": str(tmp_path / "merged"), "format": name, "count": 10, "parts": shards}
    assert tree(tmp_path / "merged") == tree(tmp_path / "whole")


def test_parts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    out = tmp_path / "set"
    with pytest.raises(
        InputError, match=r"/set\.parts: there is no such folder; `metasim generate --out .*/set --shard"
    ):
        merge_parts(out)
    write_part("coco", out, Shard(0, 3), 9)
    write_part("coco", out, Shard(2, 3), 9)
    with pytest.raises(InputError, match=r"/set\.parts lacks the part 00001-of-00003; it holds 2$"):
        merge_parts(out)
    write_part("coco", out, Shard(1, 3), 12)
    with pytest.raises(InputError, match=r"00001-of-00003 does not fit .*00000-of-00003: it begins at image 4, not 3"):
        merge_parts(out)
    assert not out.exists()


def test_unfinished_parts_are_named(tmp_path: Path) -> None:
    write_part("coco", tmp_path / "set", Shard(0, 2), 4)
    part = range(2, 4)
    writer = open_writer("coco", parts_folder(tmp_path / "set") / Shard(1, 2).name, CARD, part=part)
    writer.add(car_sample(2))
    writer.abort()
    with pytest.raises(InputError, match=r"00001-of-00002\.partial is not finished; run the same command with"):
        merge_parts(tmp_path / "set")


def test_parts_of_other_datasets_are_refused(tmp_path: Path) -> None:
    write_part("coco", tmp_path / "set", Shard(0, 2), 4)
    with open_writer("yolo", parts_folder(tmp_path / "set") / "00001-of-00002", CARD, part=range(2, 4)) as writer:
        for index in range(2, 4):
            writer.add(car_sample(index))
    with pytest.raises(InputError, match=r"does not fit .*: its format differs; make it again with the same command$"):
        merge_parts(tmp_path / "set")
