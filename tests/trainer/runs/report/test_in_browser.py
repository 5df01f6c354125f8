"""The report in a browser: the slider shows pictures, and the page fits on a phone."""

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
    """Return what the page shows of an epoch."""
    return {"epoch": f"Epoch {epoch}", "pictures": [str(epoch)]}


def test_the_slider_shows_the_picture_of_an_epoch(moved: dict[str, Any]) -> None:
    assert moved["errors"] == []
    assert moved["bar"] == "flex"
    assert moved["loaded"]
    assert moved["opened"] == state(8)
    assert moved["moved"] == state(3)


def test_the_animation_goes_from_the_first_epoch_to_the_last(moved: dict[str, Any]) -> None:
    assert moved["playing"] == ["Pause", state(1)]
    assert moved["played"] == ["Play", state(8)]


def test_the_page_fits_on_a_phone(tmp_path: Path) -> None:
    found = ask(write_report(runs.finished(tmp_path / "run")), SIZES, tmp_path, width_px=PHONE_PX)
    assert (found["errors"], found["beyond"]) == ([], [])
    assert found["page"] <= PHONE_PX
    assert found["text"] >= 13
    assert found["chart"] >= 11


def test_charts_are_readable_in_dark_mode(tmp_path: Path) -> None:
    script = """
    const dark = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules])
      .filter(rule => rule.media && rule.media.mediaText.includes("dark"))
      .flatMap(rule => [...rule.cssRules]);
    const light = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules])
      .filter(rule => rule.selectorText === ":root");
    const names = rules => rules.flatMap(rule => [...rule.style]).sort();
    found.same = names(dark).join() === names(light).join();
    found.used = [...new Set(document.body.innerHTML.match(/var\\(--[a-z0-9-]+\\)/g))].map(use => use.slice(4, -1));
    found.defined = names(dark);
    """
    found = ask(write_report(runs.finished(tmp_path / "run")), script, tmp_path)
    assert found["errors"] == []
    assert found["same"], "both schemes define the same colours"
    assert set(found["used"]) <= set(found["defined"])


def test_a_run_that_just_started_has_no_slider(tmp_path: Path) -> None:
    script = "found.bars = document.querySelectorAll('.epochs').length;"
    assert ask(write_report(runs.new_run(tmp_path / "run")), script, tmp_path) == {"bars": 0, "errors": []}
