"""Commands in processes that are forked from one that has imported the trainer, which takes seconds."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from trainer.cli import main

_FORKED = multiprocessing.get_context("forkserver")
# `torch._dynamo` is what optimisers import in their first step.
_FORKED.set_forkserver_preload(
    ["support.forked", "trainer.train", "trainer.cli.console", "trainer.runs.report.report", "torch._dynamo"]
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        killed: whether the signal ended it.
        status: its exit status.
        cpu_s: CPU time that it took, if it was not killed.
        log: what it printed.
    """

    killed: bool
    status: int | None
    cpu_s: float
    log: str


def metasim(folder: Path, *arguments: str, kill_after_s: float = 0.0) -> Ended:
    """Run a command of `metasim` in a process of its own.

    Args:
        folder: gets the files `log` and `cpu_s`.
        kill_after_s: CPU time after which a signal without handler kills the process; 0: never.
    """
    folder.mkdir(exist_ok=True)
    process = _FORKED.Process(target=_run, args=(folder, arguments, kill_after_s))
    process.start()
    process.join()
    killed = process.exitcode == -signal.SIGPROF
    log = (folder / "log").read_text()
    return Ended(killed, process.exitcode, 0.0 if killed else float((folder / "cpu_s").read_text()), log)


def _run(folder: Path, arguments: tuple[str, ...], kill_after_s: float) -> None:
    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    began_s = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, kill_after_s)
    status = main(arguments)
    signal.setitimer(signal.ITIMER_PROF, 0)
    (folder / "cpu_s").write_text(str(time.process_time() - began_s))
    sys.exit(status)
