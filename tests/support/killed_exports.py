"""A program that writes datasets in child processes: some are killed at random moments, some make a part each.

`python killed_exports.py FOLDER FORMAT ...` writes per format `whole`, `killed` and `merged`, which must be equal. It
has no threads, so that it can fork.
"""

import itertools
import os
import random
import sys
from pathlib import Path
from typing import Any

from support.samples import CARD, car_sample

from trainer.datasets.merging import merge_parts
from trainer.datasets.parts import Shard, parts_folder
from trainer.datasets.writers import FORMATS, journal, open_writer

COUNT, KILLS, SHARDS = 100, 10, 4
#: Events of a child at most; batches of the journal are small, so that some come about.
_EVENTS, _BATCH = 24, 8
#: Exit status of a child that ends at its moment.
_KILLED = 9


def write(name: str, folder: Path, *, resume: bool = False, part: range | None = None) -> None:
    """Write all samples, or those of a part."""
    numbers = range(COUNT) if part is None else part
    with open_writer(name, folder, CARD, resume=resume, part=part) as writer:
        for number in numbers[writer.count :]:
            writer.add(car_sample(number))


def end_at(name: str, moment: int) -> None:
    """End this process at an event, without closing a file: before or after a sample or a batch is written."""
    events = itertools.count()

    def patched(owner: Any, method: str) -> None:
        original = getattr(owner, method)

        def counted(*arguments: Any, **named: Any) -> Any:
            if next(events) == moment:
                os._exit(_KILLED)
            found = original(*arguments, **named)
            if next(events) == moment:
                os._exit(_KILLED)
            return found

        setattr(owner, method, counted)

    journal._BATCH = _BATCH
    patched(FORMATS[name], "_write")
    patched(journal.Journal, "flush")


def in_child(work: Any) -> int:
    """Return the exit status of a child that does some work."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(name: str, folder: Path, rng: random.Random) -> int:
    """Write a dataset in children that end at random moments; return how many did."""
    ended = 0
    partial = folder.with_name(f"{folder.name}.partial")
    for _ in range(KILLS):
        moment = rng.randrange(_EVENTS)

        def work(moment: int = moment) -> None:
            end_at(name, moment)
            write(name, folder, resume=partial.exists())

        ended += in_child(work) == _KILLED
    assert in_child(lambda: write(name, folder, resume=True)) == 0
    return ended


def main(folder: Path, names: list[str]) -> None:
    """Write everything."""
    for name in names:
        assert in_child(lambda name=name: write(name, folder / name / "whole")) == 0
        print(name, killed(name, folder / name / "killed", random.Random(name)))  # noqa: T201
        merged = folder / name / "merged"
        for index in range(SHARDS):
            shard = Shard(index, SHARDS)
            out, part = parts_folder(merged) / shard.name, shard.of(range(COUNT))
            assert in_child(lambda name=name, out=out, part=part: write(name, out, part=part)) == 0
        merge_parts(merged)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
