"""The report as a browser shows it: the slider moves pictures and distributions, and a phone has room for all."""

from pathlib import Path
from typing import Any

import pytest
from support import runs
from support.browser import ask

from trainer.runs.report.report import write_report

PHONE_PX = 375
MOVES = """
const slider = document.querySelector("#epoch"), button = document.querySelector(".epochs button");
const state = () => ({
  epoch: document.querySelector(".epochs output").textContent,
  pictures: [...document.querySelectorAll(".sheet img")].filter(img => !img.hidden).map(img => img.dataset.epoch),
  outlines: [...document.querySelectorAll("path[data-frames]")].map(path =>
    path.dataset.frames.split("|").indexOf(path.getAttribute("d"))),
});
found.bar = getComputedStyle(document.querySelector(".epochs")).display;
found.opened = state();
slider.value = 2;
slider.dispatchEvent(new window.Event("input"));
found.moved = state();
slider.value = slider.max;
button.click();
await wait(100);
found.playing = [button.textContent, state()];
await wait(10000);
found.played = [button.textContent, state()];
found.loaded = [...document.images].every(img => img.complete && img.naturalWidth > 0);
"""
SIZES = """
found.page = document.documentElement.scrollWidth;
found.beyond = [...document.querySelectorAll("main > *, .card, .chart, pre, .scroll, .epochs, .sheet")]
  .filter(item => item.getBoundingClientRect().right > window.innerWidth + 0.5)
  .map(item => item.className || item.tagName);
found.text = Math.min(...[...document.querySelectorAll("p, td, th, li, figcaption, output, pre")]
  .map(item => parseFloat(getComputedStyle(item).fontSize)));
found.chart = Math.min(...[...document.querySelectorAll(".chart text")]
  .map(item => item.getBoundingClientRect().height));
"""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("browser")
    return ask(write_report(runs.finished(folder / "run")), MOVES, folder)


def state(epoch: int) -> dict[str, Any]:
    """What is to be seen of an epoch: its picture, and both attributes as they were."""
    return {"epoch": f"Epoch {epoch}", "pictures": [str(epoch)], "outlines": [epoch - 1, epoch - 1]}


def test_the_slider_shows_an_epoch(moved: dict[str, Any]) -> None:
    assert moved["errors"] == []
    assert moved["bar"] == "flex"
    assert moved["loaded"]
    assert moved["opened"] == state(8)
    assert moved["moved"] == state(3)


def test_the_animation_goes_from_the_first_epoch_to_the_last(moved: dict[str, Any]) -> None:
    assert moved["playing"] == ["Pause", state(1)]
    assert moved["played"] == ["Play", state(8)]


def test_a_phone_shows_all_without_moving_the_page_sideways(tmp_path: Path) -> None:
    found = ask(write_report(runs.finished(tmp_path / "run")), SIZES, tmp_path, width_px=PHONE_PX)
    assert (found["errors"], found["beyond"]) == ([], [])
    assert found["page"] <= PHONE_PX
    assert found["text"] >= 13
    assert found["chart"] >= 11


def test_a_run_that_just_started_has_no_slider(tmp_path: Path) -> None:
    script = "found.bars = document.querySelectorAll('.epochs').length;"
    assert ask(write_report(runs.new_run(tmp_path / "run")), script, tmp_path) == {"bars": 0, "errors": []}
