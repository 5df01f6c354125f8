"""Progress on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from trainer.cli.console import BarProgress, LineProgress, console_progress, duration_text, figures_text


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_lines_are_sparse() -> None:
    lines: list[str] = []
    clock = Clock()
    with LineProgress(lines.append, clock) as progress:
        progress.note("digits stand in")
        advance = progress.stage("match")
        for step in range(1, 31):
            clock.now_s += 1
            if step == 10:
                progress.figures(mmd=0.25, workers=1)
            advance(step, 30)
        progress.stage("write")
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


def break_in_a_stage(progress: BarProgress | LineProgress) -> None:
    with progress:
        progress.stage("match")
        raise ValueError("broken")


def test_a_stage_that_an_error_ends_is_not_done() -> None:
    lines: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        break_in_a_stage(LineProgress(lines.append, Clock()))
    assert lines == ["match ..."]


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=width, color_system=None, legacy_windows=False), screen


def test_bars_leave_a_line_per_stage() -> None:
    console, screen = terminal()
    clock = Clock()
    with BarProgress(console, clock) as progress:
        clock.now_s = 2
        advance = progress.stage("match the distributions")
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
        break_in_a_stage(BarProgress(console, Clock()))
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
