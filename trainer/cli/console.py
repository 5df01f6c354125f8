"""Progress on the terminal: a bar for the running stage where there is a terminal, sparse plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from trainer.progress import Advance

#: Between two lines within a stage where there is no terminal.
EVERY_S = 10.0
#: Width of the bar in characters.
BAR = 20
#: Shown on a terminal from the start, while torch is imported: that takes seconds.
FIRST_STAGE = "get ready"


class _Stages:
    """The running stage and its figures. A stage is done when the next begins; one that an error ends is not."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._name: str | None = None
        self._began_s = 0.0
        self._figures = ""

    def stage(self, name: str) -> Advance:
        """As `Progress.stage`."""
        self.stop()
        self._name, self._began_s, self._figures = name, self._clock(), ""
        self._begin(name)
        return self._advance

    def figures(self, **figures: float) -> None:
        """As `Progress.figures`."""
        self._figures = figures_text(figures)

    def stop(self) -> None:
        """As `Progress.stop`."""
        if self._name is not None:
            name, self._name = self._name, None
            self._end(name, duration_text(self._clock() - self._began_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._name = None
            self._abandon()

    def _left(self, done: int, of: int) -> str:
        """How long the stage will go on at its pace so far."""
        return duration_text((self._clock() - self._began_s) * (of - done) / done)

    def _begin(self, name: str) -> None:
        raise NotImplementedError

    def _advance(self, done: int, of: int) -> None:
        raise NotImplementedError

    def _end(self, name: str, duration: str) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        """The running stage did not come to its end."""


class _Bar(Bars):
    """A bar with the figures in a line below it."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """As rich's."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["figures"]:
                yield Text(f"  {task.fields['figures']}", style="cyan", no_wrap=True, overflow="ellipsis")


class BarProgress(_Stages):
    """A bar for the running stage, and a line for each that has ended."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._bars: _Bar | None = None
        self._task = TaskID(0)

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        line = Table.grid(padding=(0, 1))
        line.add_row("[yellow]![/yellow]", escape(text))
        self._console.print(line)

    def figures(self, **figures: float) -> None:
        """As `Progress.figures`."""
        super().figures(**figures)
        if self._bars is not None:
            self._bars.update(self._task, figures=self._figures)

    def __enter__(self) -> Self:
        self.stage(FIRST_STAGE)
        return self

    def _begin(self, name: str) -> None:
        self._bars = _Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=BAR, table_column=Column(min_width=BAR, no_wrap=True)),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bars.add_task(name, total=None, counts="", eta="", figures="")
        self._bars.start()

    def _advance(self, done: int, of: int) -> None:
        if self._bars is not None:
            eta = f"{self._left(done, of)} left" if 0 < done < of else ""
            self._bars.update(self._task, completed=done, total=of, counts=f"{done}/{of}", eta=eta)

    def _end(self, name: str, duration: str) -> None:
        self._abandon()
        self._console.print(
            f"[green]✓[/green] {escape(name):<40} {duration:>8}   [cyan]{escape(self._figures)}[/cyan]",
            highlight=False,
            soft_wrap=True,
        )

    def _abandon(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class LineProgress(_Stages):
    """A line when a stage begins and when it ends, and at most one every `EVERY_S` in between."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._write = write
        self._last_s = 0.0

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        self._write(f"note: {text}")

    def _begin(self, name: str) -> None:
        self._last_s = self._clock()
        self._write(f"{name} ...")

    def _advance(self, done: int, of: int) -> None:
        now_s = self._clock()
        if self._name is None or not 0 < done < of or now_s - self._last_s < EVERY_S:
            return
        self._last_s = now_s
        self._write(f"{self._name}: {done} of {of}, about {self._left(done, of)} left{_after_comma(self._figures)}")

    def _end(self, name: str, duration: str) -> None:
        self._write(f"{name}: done in {duration}{_after_comma(self._figures)}")


def console_progress() -> BarProgress | LineProgress:
    """Progress on standard error, which leaves standard output to results. Use it in a `with` statement."""
    console = Console(stderr=True)
    if console.is_interactive:
        return BarProgress(console)
    return LineProgress(partial(typer.echo, err=True))


def figures_text(figures: dict[str, float]) -> str:
    """`mmd 0.0123 · 1,430 renders/s · 2 workers`"""
    known = {"renders_per_s": "{:,.0f} renders/s", "workers": "{:.0f} workers"}
    if figures.get("workers") == 1:
        known["workers"] = "{:.0f} worker"
    return " · ".join(known.get(name, name.replace("_", " ") + " {:.4g}").format(x) for name, x in figures.items())


def duration_text(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 05 s`, `1 h 02 min`"""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _after_comma(figures: str) -> str:
    return f", {figures}" if figures else ""
