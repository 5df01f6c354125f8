"""Progress on the terminal: a bar for the running step, or plain lines without a terminal."""

import time
from abc import ABC, abstractmethod
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

from trainer.progress import Schedule, Step, StepHandle, Watched

#: Seconds between two lines within a step without a terminal.
EVERY_S = 10.0
#: Minimum number of seconds over which renders are counted.
RATE_S = 2.0
#: Width of the bar in characters.
BAR = 20
#: Shown on a terminal while torch is imported, which takes seconds.
FIRST_STEP = "get ready"


class _PoolRate:
    """Renders per second and workers of a pool, counted over `RATE_S` at least."""

    def __init__(self, pool: Watched, now_s: float) -> None:
        self._pool = pool
        self._counted = now_s, pool.stats.renders
        self._shown: dict[str, float] = {}

    def figures(self, now_s: float) -> dict[str, float]:
        """Return the figures to be shown; empty while nothing is rendered."""
        since_s, renders = self._counted
        if now_s - since_s >= RATE_S:
            stats = self._pool.stats
            self._counted = now_s, stats.renders
            rate = (stats.renders - renders) / (now_s - since_s)
            self._shown = {"renders_per_s": rate, "workers": stats.processes_up} if rate else {}
        return self._shown


class _Steps(ABC):
    """The running step and its figures. A step that ends with an error is not reported as done."""

    def __init__(self, clock: Callable[[], float], then: Iterable[Step] = ()) -> None:
        self._clock = clock
        self._schedule = Schedule(clock)
        self._then = tuple(then)
        self._name: str | None = None
        self._begun = 0
        self._figures: dict[str, float] = {}
        self._rate: _PoolRate | None = None

    def plan(self, steps: Iterable[Step]) -> None:
        """As `Progress.plan`."""
        self._schedule.plan([*steps, *self._then])

    def step(self, name: str) -> StepHandle:
        """As `Progress.step`."""
        self.stop()
        self._schedule.begin(name)
        self._name, self._figures = name, {}
        self._begun += 1
        self._begin(self._title)
        return StepHandle(partial(self._advance_step, self._begun), partial(self._end_step, self._begun))

    def figures(self, **figures: float) -> None:
        """As `Progress.figures`."""
        self._figures = figures

    def watch(self, pool: Watched) -> None:
        """As `Progress.watch`."""
        self._rate = _PoolRate(pool, self._clock())

    def stop(self) -> None:
        """As `Progress.stop`."""
        if self._name is not None:
            title, self._name = self._title, None
            self._end(title, duration_text(self._schedule.end()))

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

    @property
    def _title(self) -> str:
        number = self._schedule.number
        return f"[{number}] {self._name}" if number else str(self._name)

    @property
    def _figures_text(self) -> str:
        rate = self._rate.figures(self._clock()) if self._rate is not None else {}
        return figures_text({**self._figures, **rate})

    def _left(self) -> tuple[str, str]:
        """Return the remaining time of the running step and of all steps; empty if unknown."""
        step_s, all_s = self._schedule.step_left_s, self._schedule.left_s
        return (
            "" if step_s is None else duration_text(step_s),
            "" if all_s is None else duration_text(all_s),
        )

    def _end_step(self, begun: int) -> None:
        if begun == self._begun:
            self.stop()

    def _advance_step(self, begun: int, done: int, of: int) -> None:
        if self._name is not None and begun == self._begun:
            self._schedule.advance(done, of)
            self._advance(done, of)

    @abstractmethod
    def _begin(self, title: str) -> None:
        """Show that a step begins."""

    @abstractmethod
    def _advance(self, done: int, of: int) -> None:
        """Show the progress of the running step."""

    @abstractmethod
    def _end(self, title: str, duration: str) -> None:
        """Show that the running step has ended."""

    @abstractmethod
    def _abandon(self) -> None:
        """Stop showing the running step without reporting its end."""


class _Bar(Bars):
    """A bar with the figures in a line below it."""

    def __init__(self, figures: Callable[[], str], console: Console) -> None:
        self._figures = figures
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=BAR, table_column=Column(min_width=BAR, no_wrap=True)),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """As rich's."""
        yield self.make_tasks_table(self.tasks)
        if self.tasks and (figures := self._figures()):
            yield Text(f"  {figures}", style="cyan", no_wrap=True, overflow="ellipsis")


class BarProgress(_Steps):
    """Shows a bar for the running step, and a line for each step that has ended."""

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, then: Iterable[Step] = ()
    ) -> None:
        super().__init__(clock, then)
        self._console = console
        self._bars: _Bar | None = None
        self._task = TaskID(0)

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        line = Table.grid(padding=(0, 1))
        line.add_row("[yellow]![/yellow]", escape(text))
        self._console.print(line)

    def __enter__(self) -> Self:
        self.step(FIRST_STEP)
        return self

    def _begin(self, title: str) -> None:
        self._bars = _Bar(lambda: self._figures_text, self._console)
        self._task = self._bars.add_task(title, total=None, counts="", eta="")
        self._bars.start()

    def _advance(self, done: int, of: int) -> None:
        if self._bars is not None:
            step, whole = self._left() if 0 < done < of else ("", "")
            eta = f"{step} left{_all_steps(step, whole)}" if step else ""
            self._bars.update(self._task, completed=done, total=of, counts=f"{done}/{of}", eta=eta)

    def _end(self, title: str, duration: str) -> None:
        self._abandon()
        self._console.print(
            f"[green]✓[/green] {escape(title):<40} {duration:>8}   [cyan]{escape(self._figures_text)}[/cyan]",
            highlight=False,
            soft_wrap=True,
        )

    def _abandon(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class LineProgress(_Steps):
    """Writes a line at the start and end of a step, and at most one every `EVERY_S` seconds in between."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic, then: Iterable[Step] = ()
    ) -> None:
        super().__init__(clock, then)
        self._write = write
        self._last_s = 0.0

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        self._write(f"note: {text}")

    def _begin(self, title: str) -> None:
        self._last_s = self._clock()
        self._write(f"{title} ...{_all_steps(*self._left())}")

    def _advance(self, done: int, of: int) -> None:
        now_s = self._clock()
        if not 0 < done < of or now_s - self._last_s < EVERY_S:
            return
        self._last_s = now_s
        step, whole = self._left()
        left = f"about {step} left{_all_steps(step, whole)}"
        self._write(f"{self._title}: {done} of {of}, {left}{_after_comma(self._figures_text)}")

    def _end(self, title: str, duration: str) -> None:
        self._write(f"{title}: done in {duration}{_after_comma(self._figures_text)}")

    def _abandon(self) -> None:
        """Do nothing: the last line stays."""


def console_progress(then: Iterable[Step] = ()) -> BarProgress | LineProgress:
    """Return a context manager for progress on standard error; results go to standard output.

    Args:
        then: steps after the planned ones.
    """
    console = Console(stderr=True)
    if console.is_interactive:
        return BarProgress(console, then=then)
    return LineProgress(partial(typer.echo, err=True), then=then)


def figures_text(figures: dict[str, float]) -> str:
    """Return figures as text: `mmd 0.0123 · 1,430 renders/s · 2 workers`."""
    known = {"renders_per_s": "{:,.0f} renders/s", "workers": "{:.0f} workers"}
    if figures.get("renders_per_s", 10.0) < 10.0:
        known["renders_per_s"] = "{:.2g} renders/s"
    if figures.get("workers") == 1:
        known["workers"] = "{:.0f} worker"
    return " · ".join(known.get(name, name.replace("_", " ") + " {:.4g}").format(x) for name, x in figures.items())


def duration_text(seconds: float) -> str:
    """Return a duration as text: `0.8 s`, `42 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _all_steps(step: str, whole: str) -> str:
    """Return the remaining time of all steps if it differs from that of the running step."""
    return f" (all steps: {whole})" if whole and whole != step else ""


def _after_comma(figures: str) -> str:
    return f", {figures}" if figures else ""
