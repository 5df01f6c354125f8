"""Progress of long work: numbered steps, an estimate of the time left, figures and notes.

    progress.plan([Step("render the target", 20, "render"), Step("match the distributions", 300, "render")])
    progress.watch(pool)  # Shows renders per second and workers.
    with progress.step("render the target") as advance:
        for done in range(1, count + 1):
            ...
            advance(done, count)

A step that is not closed ends when the next one begins or when `stop` is called. Work that plans nothing has unnumbered
steps.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

#: Called as advance(done, of).
Advance = Callable[[int, int], None]


def ignore(done: int, of: int) -> None:
    """Ignore the progress. An Advance."""


@dataclass(frozen=True)
class Step:
    """A step of the plan.

    Attributes:
        name: what it does, as `Progress.step` takes it.
        seconds: its expected duration on two cores. Only ratios matter once a step has been measured.
        kind: steps of one kind share a speed, such as "render" or "learn".
    """

    name: str
    seconds: float = 1.0
    kind: str = ""


class StepHandle:
    """A step that runs: call it to report progress, use it in a `with` statement to end it."""

    def __init__(self, advance: Advance = ignore, end: Callable[[], None] = lambda: None) -> None:
        self._advance = advance
        self._end = end

    def __call__(self, done: int, of: int) -> None:
        """Report that `done` of `of` parts are done."""
        self._advance(done, of)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is None:
            self._end()


class Watched(Protocol):
    """A render pool, as far as its progress goes."""

    @property
    def stats(self) -> Any:
        """Return counters; `renders` and `processes_up` are shown."""


class Progress(Protocol):
    """Receives the progress of a run. The command line shows it; tests collect it."""

    def note(self, text: str) -> None:
        """Show a line that the user should read."""

    def plan(self, steps: Iterable[Step]) -> None:
        """State the steps to come. Replaces the planned steps that have not begun."""

    def step(self, name: str) -> StepHandle:
        """Begin a step and end the one before."""

    def figures(self, **figures: float) -> None:
        """Show the latest figures of the running step."""

    def watch(self, pool: Watched) -> None:
        """Show the renders per second and the workers of a pool from now on."""

    def stop(self) -> None:
        """End the last step."""


class Silent:
    """A Progress that shows nothing."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def plan(self, steps: Iterable[Step]) -> None:
        """Ignore the plan."""

    def step(self, name: str) -> StepHandle:
        """Return a handle that ignores all calls."""
        del name
        return StepHandle()

    def figures(self, **figures: float) -> None:
        """Ignore the figures."""

    def watch(self, pool: Watched) -> None:
        """Ignore the pool."""

    def stop(self) -> None:
        """Do nothing."""


@dataclass
class _Running:
    step: Step
    number: int
    began_s: float
    #: Time and fraction of the first and of the latest advance. What precedes the first is taken for preparation.
    first: tuple[float, float] | None = None
    latest: tuple[float, float] | None = None

    def left_s(self, now_s: float) -> float | None:
        """Return the seconds left at the pace of this step, or None before there is one."""
        if self.first is None or self.latest is None:
            return None
        (first_s, begun), (latest_s, done) = self.first, self.latest
        if done <= begun or latest_s <= first_s:
            begun, first_s = 0.0, self.began_s
        pace = (latest_s - first_s) / (done - begun) if done > begun else 0.0
        return max(0.0, pace * (1 - done) - (now_s - latest_s))


class Schedule:
    """Numbers steps and estimates the time left, from the plan and from the durations of the steps so far.

    The estimate of a step to come is its planned duration, scaled by how much longer the measured steps of its kind
    took than planned; a kind without a measured step takes the scale of all steps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: list[Step] = []
        self._planned = False
        self._begun = 0
        self._running: _Running | None = None
        self._measured: list[tuple[Step, float]] = []

    def plan(self, steps: Iterable[Step]) -> None:
        """Replace the steps that have not begun."""
        self._pending = list(steps)
        self._planned = True

    def begin(self, name: str) -> None:
        """Begin a step. Planned steps before it count as skipped; an unplanned one is inserted."""
        self.end()
        names = [step.name for step in self._pending]
        step = Step(name, 0.0)
        if name in names:
            step = self._pending[names.index(name)]
            del self._pending[: names.index(name) + 1]
        if self._planned:
            self._begun += 1
        self._running = _Running(step, self._begun, self._clock())

    def advance(self, done: int, of: int) -> None:
        """Record that `done` of `of` parts of the running step are done."""
        if self._running is not None and of > 0:
            self._running.latest = (self._clock(), done / of)
            if self._running.first is None:
                self._running.first = self._running.latest

    def end(self) -> float:
        """End the running step and return its duration in seconds."""
        if self._running is None:
            return 0.0
        duration_s = self._clock() - self._running.began_s
        self._measured.append((self._running.step, duration_s))
        self._running = None
        return duration_s

    @property
    def number(self) -> str:
        """Return the number of the running step, such as "3/9"; empty without a plan."""
        if self._running is None or not self._running.number:
            return ""
        return f"{self._running.number}/{self._running.number + len(self._pending)}"

    @property
    def step_left_s(self) -> float | None:
        """Return the seconds left of the running step, or None if nothing is known."""
        if self._running is None:
            return None
        left_s = self._running.left_s(self._clock())
        scale = self._scale(self._running.step.kind)
        if left_s is None and self._running.step.seconds and scale is not None:
            left_s = max(0.0, scale * self._running.step.seconds - (self._clock() - self._running.began_s))
        return left_s

    @property
    def left_s(self) -> float | None:
        """Return the seconds left of all steps, or None if nothing is known."""
        step_left_s = self.step_left_s
        if step_left_s is None or not self._planned:
            return None
        left_s = step_left_s
        for step in self._pending:
            scale = self._scale(step.kind)
            if scale is None:
                return None
            left_s += scale * step.seconds
        return left_s

    def _scale(self, kind: str) -> float | None:
        """Return how many times its planned duration a step of this kind takes."""
        measured = [(step, seconds) for step, seconds in self._measured if step.seconds]
        running = self._running
        if running is not None and running.step.seconds:
            left_s = running.left_s(self._clock())
            if left_s is not None:
                measured.append((running.step, self._clock() - running.began_s + left_s))
        of_kind = [item for item in measured if item[0].kind == kind] or measured
        planned_s = sum(step.seconds for step, _ in of_kind)
        return sum(seconds for _, seconds in of_kind) / planned_s if planned_s else None
