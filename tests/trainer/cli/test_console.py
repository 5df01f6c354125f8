"""Progress on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from trainer.cli.console import BarProgress, LineProgress, console_progress, duration_text, figures_text
from trainer.pool import PoolStats
from trainer.progress import Schedule, Step


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_lines_are_sparse() -> None:
    lines: list[str] = []
    clock = Clock()
    with LineProgress(lines.append, clock) as progress:
        progress.note("digits stand in")
        advance = progress.step("match")
        for step in range(1, 31):
            clock.now_s += 1
            if step == 10:
                progress.figures(mmd=0.25, workers=1)
            advance(step, 30)
        progress.step("write")
        clock.now_s += 90
    assert lines == [
        "note: digits stand in",
        "match ...",
        "match: 10 of 30, about 20 s left, mmd 0.25 · 1 worker",
        "match: 20 of 30, about 10 s left, mmd 0.25 · 1 worker",
        "match: done in 30 s, mmd 0.25 · 1 worker",
        "write ...",
        "write: done in 1 min 30 s",
    ]


def break_in_a_step(progress: BarProgress | LineProgress) -> None:
    with progress:
        progress.step("match")
        raise ValueError("broken")


def test_a_step_that_an_error_ends_is_not_done() -> None:
    lines: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        break_in_a_step(LineProgress(lines.append, Clock()))
    assert lines == ["match ..."]


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=width, color_system=None, legacy_windows=False), screen


def test_bars_leave_a_line_per_step() -> None:
    console, screen = terminal()
    clock = Clock()
    with BarProgress(console, clock) as progress:
        clock.now_s = 2
        advance = progress.step("match the distributions")
        clock.now_s = 44
        advance(15, 30)
        progress.figures(mmd=0.0123, renders_per_s=1432.4, workers=2)
    text = screen.getvalue()
    assert "get ready                                   2.0 s" in text
    assert "✓ match the distributions                      42 s   mmd 0.0123 · 1,432 renders/s · 2 workers" in text
    assert "15/30" in text
    assert "42 s left" in text


def test_bars_of_an_error_disappear() -> None:
    console, screen = terminal()
    with pytest.raises(ValueError, match="broken"):
        break_in_a_step(BarProgress(console, Clock()))
    assert "✓ match" not in screen.getvalue()
    assert "✓ get ready" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # The bar's line is cleared.


def test_notes_are_no_markup_and_wrap_between_words() -> None:
    console, screen = terminal(width=30)
    BarProgress(console, Clock()).note("install metasim[vision] or choose another space")
    assert screen.getvalue().splitlines() == [
        "! install metasim[vision] or  ",
        "  choose another space        ",
    ]


def test_without_a_terminal_there_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with console_progress() as progress:
        progress.note("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "note: hello\n"


class Pool:
    """A pool with one render and one worker more in each second of a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def stats(self) -> PoolStats:
        return PoolStats(0, int(100 * self._clock.now_s), 0, 0, 0.0, workers_up=2, processes_up=2)


def planned(progress: BarProgress | LineProgress, clock: Clock) -> None:
    with progress:
        progress.plan(
            [Step("render the target", 10, "render"), Step("learn", 20, "learn"), Step("match", 40, "render")]
        )
        progress.watch(Pool(clock))
        with progress.step("render the target") as advance:
            for done in range(1, 6):
                clock.now_s += 4
                advance(done, 5)
        advance(5, 5)  # A step that has ended is not reported on.
        with progress.step("learn") as advance:
            for done in range(1, 4):
                clock.now_s += 10
                advance(done, 4)
        progress.step("match")
        progress.step("write the report")


def test_lines_number_the_steps_and_estimate_the_whole() -> None:
    lines: list[str] = []
    clock = Clock()
    planned(LineProgress(lines.append, clock, then=[Step("write the report", 5)]), clock)
    rate = "100 renders/s · 2 workers"
    assert lines == [
        "[1/4] render the target ...",
        # A step took twice its planned time, so all steps to come do: 8 s + 2 * (20 + 40 + 5) s.
        f"[1/4] render the target: 3 of 5, about 8.0 s left (all steps: 2 min 18 s), {rate}",
        f"[1/4] render the target: done in 20 s, {rate}",
        "[2/4] learn ... (all steps: 2 min 10 s)",
        f"[2/4] learn: 1 of 4, about 30 s left (all steps: 2 min 00 s), {rate}",
        f"[2/4] learn: 2 of 4, about 20 s left (all steps: 1 min 50 s), {rate}",
        f"[2/4] learn: 3 of 4, about 10 s left (all steps: 1 min 40 s), {rate}",
        f"[2/4] learn: done in 30 s, {rate}",
        "[3/4] match ... (all steps: 1 min 28 s)",
        f"[3/4] match: done in 0.0 s, {rate}",
        "[4/4] write the report ...",
        f"[4/4] write the report: done in 0.0 s, {rate}",
    ]


def test_bars_say_the_same() -> None:
    console, screen = terminal()
    clock = Clock()
    planned(BarProgress(console, clock, then=[Step("write the report", 5)]), clock)
    text = screen.getvalue()
    assert "✓ [2/4] learn" in text
    assert "3/4" in text
    assert "10 s left (all steps: 1 min 40 s)" in text
    assert "100 renders/s · 2 workers" in text


def test_an_unplanned_step_counts_and_a_skipped_one_does_not() -> None:
    schedule = Schedule(Clock())
    schedule.begin("get ready")
    assert schedule.number == ""
    schedule.plan([Step("a"), Step("b"), Step("c")])
    schedule.begin("b")
    assert schedule.number == "1/2"
    schedule.begin("extra")
    assert schedule.number == "2/3"
    schedule.plan([Step("d"), Step("d")])
    schedule.begin("d")
    assert schedule.number == "3/4"


def test_a_slow_beginning_does_not_inflate_the_estimate() -> None:
    clock = Clock()
    schedule = Schedule(clock)
    schedule.plan([Step("match")])
    schedule.begin("match")
    clock.now_s = 60
    schedule.advance(1, 101)
    clock.now_s = 70
    schedule.advance(11, 101)
    assert schedule.step_left_s == pytest.approx(90)
    clock.now_s = 75
    assert schedule.left_s == pytest.approx(85)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_figures() -> None:
    assert figures_text({"mmd": 0.012345678, "renders_per_s": 1430.2, "workers": 2, "val_score": 1.0}) == (
        "mmd 0.01235 · 1,430 renders/s · 2 workers · val score 1"
    )
