"""The report of a run, read back as a browser would: one complete page, whatever the run has got to."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from support import runs

from trainer.metrics.attributes import summarise
from trainer.runs.folder import Run
from trainer.runs.histories import AttributeHistory
from trainer.runs.outcome import headline
from trainer.runs.report.context import MOST_SHEET_BYTES, MOST_SHEETS, repeat_command
from trainer.runs.report.report import write_report

VERDICT = {
    "outcome": "closer", "text": "closer: MMD² <is> 90 % smaller", "mmd": 0.02, "prior_mmd": 0.2, "floor": 0.001,
}  # fmt: skip
#: Elements that are never closed.
VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """What a page consists of; complains about elements that do not close in their order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(run: Run) -> Page:
    page = Page(write_report(run))
    assert page.open == []
    return page


STATES = {
    "evaluated": lambda folder: runs.finished(folder),
    "finished": lambda folder: runs.finished(folder, evaluated=False),
    "without a known target": lambda folder: runs.finished(folder, evaluated=False, target=False),
    "running": lambda folder: runs.running(folder),
    "after one epoch": lambda folder: runs.running(folder, epochs=1),
    "just started": lambda folder: runs.new_run(folder),
}


@pytest.mark.parametrize("state", STATES)
def test_a_page_needs_nothing_beside_it(state: str, tmp_path: Path) -> None:
    run = STATES[state](tmp_path / "run")
    page = page_of(run)
    for tag, attributes in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert tag == "a" or "href" not in attributes
        assert tag not in ("link", "iframe", "object", "embed", "base")
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert text.count("http") == 1  # the link to the paper
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", text)  # A clip path is part of the page.
    assert "@import" not in text
    assert [attributes["name"] for attributes in page.all("meta") if "name" in attributes] == [
        "viewport",
        "color-scheme",
    ]


def test_stages_and_fine_tuning_have_tables(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False)
    stages = [
        {"name": "cars & vans", "scores": {"accuracy": 0.5}, "fine_tuned": {"accuracy": 0.61}},
        {"name": "camera", "scores": {"accuracy": 0.9934}, "fine_tuned": {"accuracy": 0.995}},
    ]
    ends = {"target": {"accuracy": 0.4}, "prior": {"accuracy": 0.45}, "learned": {"accuracy": 0.995}}
    layout = {"Car lateral": {"prior": 0.4, "learned": 0.1, "unit": "m"}}
    found = {**runs.EVALUATION, "layout": layout, "stages": stages, "fine_tuned": {"images": 100, "scores": ends}}
    run.update_summary({"evaluation": found})
    text = page_of(run).text
    assert "Scores by stage After accuracy the prior 15.1 % cars & vans 50.0 % camera 99.3 %" in text
    assert (
        "Scores after fine-tuning on 100 labelled images of the target Trained before on data from accuracy "
        "nothing 40.0 % the prior 45.0 % cars & vans 61.0 % camera 99.5 %"
    ) in text
    assert "Relative to the camera Prior Learned Smaller by Car lateral 0.4 m 0.1 m 75 %" in text
    del found["stages"]
    run.update_summary({"evaluation": found})
    text = page_of(run).text
    assert "Scores by stage" not in text
    assert "the prior 45.0 % the learned model 99.5 %" in text


def test_scores_of_several_networks_have_deviations(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False)
    found = {
        **runs.EVALUATION,
        "networks": 3,
        "deviations": {"prior": {"accuracy": 0.02}, "learned": {"accuracy": 0.001}},
        "stages": [{"name": "cars", "scores": {"accuracy": 0.5}, "scores_deviations": {"accuracy": 0.03}}],
    }
    run.update_summary({"evaluation": found})
    text = page_of(run).text
    assert "the prior 15.1 % ± 2.0 % the learned model 99.3 % ± 0.1 %" in text
    assert "mean ± standard deviation of 3 networks" in text
    assert "After accuracy the prior 15.1 % ± 2.0 % cars 50.0 % ± 3.0 %" in text


def test_an_evaluated_run_begins_with_its_scores(tmp_path: Path) -> None:
    text = page_of(runs.finished(tmp_path / "run")).text
    sentence = (
        "Trained on data from the learned model, the task network (digit classifier) reaches 99.3 % accuracy on the "
        "target; trained on data from the prior, 15.1 %."
    )
    assert sentence in text
    assert "the prior 15.1 % the learned model 99.3 %" in text
    assert "30,000 training images each; 5,000 test images of the target." in text


def test_distances_from_the_target_stand_below_the_scores(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    text = page_of(run).text
    assert "Attribute Prior Learned Smaller by digit.yaw 170° 1.25° 99 % digit.x 16 px 0.2 px 99 %" in text
    assert "Distance Prior Learned MMD² 0.31 4e−4 KID 2.5 ± 0.1 −0.002 ± 0.003" in text
    assert "Gain (points)" not in text, "there is one score alone"


def test_scores_by_class_are_listed(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False)
    scores = {"prior": {"car": 0.4, "<b>": 0.3}, "learned": {"car": 0.55, "<b>": 0.25}}
    run.update_summary({"evaluation": {**runs.EVALUATION, "scores": scores}})
    assert "Gain (points) car 40.0 % 55.0 % +15.0 <b> 30.0 % 25.0 % −5.0" in page_of(run).text


def test_the_report_says_why_a_task_is_not_scored(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False, target=False)
    kept = {key: runs.EVALUATION[key] for key in ("task", "test_images", "image_distances")}
    run.update_summary({"evaluation": {**kept, "not_scored": "photos: 0.jpg has no label"}})
    text = page_of(run).text
    assert "Trained for 8 epochs" in text
    assert "The task (digit classifier) is not scored: photos: 0.jpg has no label." in text
    assert "MMD² 0.31 4e−4" in text


def test_the_report_names_attributes_without_a_gradient(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    assert "A gradient reaches every attribute in the last epoch." in page_of(run).text
    audit = {"audit": {"cosine": 0.9998, "norm_ratio": 0.997, "columns": 54}, "audit_worst": "digit.x"}
    dead = {"gradient_norms": {"digit.yaw": 0.0, "digit.x": 0.1}, "out_of_sight": {"digit": 0.25}}
    run.write_records("metrics.jsonl", [runs.metrics(1, 0.1) | audit, runs.metrics(2, 0.1) | audit | dead])
    text = page_of(run).text
    assert "In the last epoch no gradient reached digit.yaw: the image did not change with it." in text
    assert "54 columns of epoch 2 were also rendered in full: cosine 1, ratio of norms 0.997" in text
    assert "Fraction of objects that are not visible, by kind" in text


def test_a_finished_run_shows_the_command_that_scores_it(tmp_path: Path) -> None:
    text = page_of(runs.finished(tmp_path / "run", evaluated=False)).text
    assert "Trained for 8 epochs. digit.yaw is" in text
    assert "Not evaluated yet. The evaluation trains the task network on data from the prior" in text
    assert f"metasim evaluate {tmp_path / 'run'}" in text
    assert "--resume" not in text


def test_an_unfinished_run_shows_the_command_that_resumes_it(tmp_path: Path) -> None:
    text = page_of(runs.running(tmp_path / "run")).text
    assert "Not finished: 3 epochs so far." in text
    assert f"metasim train --resume --out {tmp_path / 'run'}" in text
    text = page_of(runs.new_run(tmp_path / "new")).text
    assert "No epoch is finished yet." in text
    assert "There are no pictures yet." in text


def test_attributes_stand_beside_their_targets(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    records = [
        runs.attributes("prior", None, [summarise("digit", "yaw", "deg", True, [-10, 10])]),
        runs.attributes("target", None, [summarise("digit", "yaw", "deg", True, [168, -172])]),
        runs.attributes("learned", 1, [summarise("digit", "yaw", "deg", True, [0, 2])]),
        runs.attributes("learned", 2, [summarise("digit", "yaw", "deg", True, [171, -173])]),
    ]
    run.write_records("attributes.jsonl", records)
    text = page_of(run).text
    assert "digit.yaw 0.0 ± 10.0° 179.0 ± 8.0° 178.0 ± 10.0° 1° −20 %" in text


def test_without_a_target_nothing_is_compared(tmp_path: Path) -> None:
    text = page_of(runs.finished(tmp_path / "run", evaluated=False, target=False)).text
    assert "Attribute Prior Learned digit.yaw" in text, "there is no column without values"
    assert "(target" not in text


def test_cost_and_preparation_are_listed(tmp_path: Path) -> None:
    text = page_of(runs.finished(tmp_path / "run")).text
    assert "digit.yaw 0.21 % 0.12" in text
    assert "digit.x 0.34 % 0.045" in text
    assert "feature space estimator" in text
    assert "Match the distributions 80.0 s" in text
    assert "Total 100.0 s" in text
    assert "Images rendered, probes included 123,456" in text
    assert "Renders per second, epochs 1500" in text
    assert "Time spent waiting for renders, epochs 25 %" in text
    assert "Workers 2" in text


def test_the_last_picture_is_shown_and_the_others_wait_for_the_slider(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    page = page_of(run)
    images = page.all("img")
    assert [image["data-epoch"] for image in images] == [str(epoch) for epoch in range(1, 9)]
    assert [image["data-epoch"] for image in images if "hidden" not in image] == ["8"]
    content = base64.b64decode((images[-1]["src"] or "").removeprefix("data:image/png;base64,"))
    assert content == (run.folder / "samples" / "epoch-008.png").read_bytes()
    assert all(image["alt"] for image in images)
    (slider,) = page.all("input")
    assert (slider["max"], slider["value"]) == ("7", "7")


def test_pictures_of_many_epochs_are_thinned_out(tmp_path: Path) -> None:
    run = runs.running(tmp_path / "run", epochs=1)
    for epoch in range(1, 101):
        Image.new("RGB", (8, 8)).save(run.folder / "samples" / f"epoch-{epoch:03d}.png")
    epochs = [int(image["data-epoch"] or 0) for image in page_of(run).all("img")]
    assert len(epochs) == MOST_SHEETS
    assert (epochs[0], epochs[-1]) == (1, 100)


def test_the_last_picture_is_kept_where_pictures_are_too_large(tmp_path: Path) -> None:
    run = runs.running(tmp_path / "run", epochs=2)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    for path in (run.folder / "samples").glob("*.png"):
        path.write_bytes(buffer.getvalue() + bytes(MOST_SHEET_BYTES))
    assert [image["data-epoch"] for image in page_of(run).all("img")] == ["2"]


def test_names_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    config = dataclasses.replace(runs.CONFIG, experiment="<script>alert(1)</script>.yaml")
    run = runs.running(tmp_path / "a & b", config=config)
    run.write_records(
        "attributes.jsonl", [runs.attributes("learned", 1, [summarise("<b>", "x", "<i>", False, [1, 2])])]
    )
    page = page_of(run)
    assert "run a & b ·" in page.text
    assert len(page.all("script")) == 1
    assert page.all("i") == []
    assert "<b>.x" in page.text


def test_values_that_are_not_finite_are_left_out_of_charts(tmp_path: Path) -> None:
    run = runs.running(tmp_path / "run")
    records = [runs.metrics(1, 0.5), runs.metrics(2, float("nan")), runs.metrics(3, float("inf"))]
    run.write_records("metrics.jsonl", records)
    page = page_of(run)
    assert "MMD² to the target –" in page.text
    assert all("nan" not in (path["d"] or "") for path in page.all("path"))


def test_the_command_repeats_the_run_in_a_new_folder(tmp_path: Path) -> None:
    assert repeat_command(runs.CONFIG, "first") == (
        "metasim train mnist-rot-trans --engine raster --seed 3 --out runs/first-again "
        "training.epochs=8 'digit.yaw={\"normal\": [0, 10]}'"
    )
    config = dataclasses.replace(runs.CONFIG, overrides={}, mnist="/data/my digits")
    assert repeat_command(config, "a").endswith("--mnist '/data/my digits' --out runs/a-again")
    text = page_of(runs.finished(tmp_path / "run")).text
    assert json.dumps({"normal": [0, 10]}) in text


def test_writing_again_replaces_the_page(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False)
    first = write_report(run).read_text(encoding="utf-8")
    assert write_report(run).read_text(encoding="utf-8") == first
    run.update_summary({"evaluation": runs.EVALUATION})
    assert "99.3 %" in page_of(run).text


def test_angles_on_both_sides_of_the_turn_are_drawn_together() -> None:
    history = AttributeHistory(target=summarise("car", "yaw", "deg", True, [170, 175, -175, -170]))
    placed = history.unwrapped([170, 175, -175, -170])
    assert max(placed) - min(placed) == pytest.approx(20)


def test_the_outcome_of_a_run_whose_renders_are_not_monitored_is_a_sentence() -> None:
    assert headline({"seconds": {}}, [{"epoch": 8}], []) == "Trained for 8 epochs."


def test_a_verdict_leads_the_page(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    run.update_summary({"mmd_floor": {"mean": 0.0, "upper": 0.003}})
    assert "MMD² to the target 0.002 floor 0.003" in page_of(run).text
    run.update_summary({"verdict": VERDICT})
    page = page_of(run)
    assert "mnist-rot-trans Closer: MMD² <is> 90 % smaller. Trained on data" in page.text
    assert [item["class"] for item in page.all("p") if "verdict" in (item.get("class") or "")] == ["verdict closer"]
    assert "MMD² to the target 0.02 prior 0.2 · floor 0.001" in page.text


def test_counts_stand_beside_attributes(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    counts = {of: [{"kind": "car", "mean": mean, "std": 1.0}] for of, mean in (("prior", 3.0), ("learned", 3.5))}
    run.update_summary({"counts": counts})
    assert "car, number in a scene 3.00 ± 1.00 3.50 ± 1.00 – – –" in page_of(run).text


def test_frequencies_have_a_column_for_each_known_model(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    shares = {"ace": 1 / 6, "king": 5 / 6, "joker": 0.0}
    choice = {"kind": "card", "name": "sprite", "frequencies": shares}
    run.update_summary({"choices": {"prior": [choice], "learned": [choice], "target": []}})
    text = page_of(run).text
    assert "card.sprite, frequency Prior Learned ace 16.7 % 16.7 % king 83.3 % 83.3 %" in text
    assert "joker" not in text


def test_choices_of_numbers_have_a_row_of_mean_and_spread(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    choice = {"kind": "scene.1", "name": "count", "frequencies": {"1": 0.5, "3": 0.5}, "mean": 2.0, "std": 1.0}
    run.update_summary({"choices": {"prior": [choice], "learned": [choice], "target": []}})
    text = page_of(run).text
    assert "scene.1.count 2.00 ± 1.00 2.00 ± 1.00" in text
    assert "scene.1.count, frequency" not in text


def test_notes_stand_on_the_page(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    assert "Notes" not in page_of(run).text
    run.update_summary({"notes": ["12 photographs were cropped & 3 were turned."]})
    assert "Notes 12 photographs were cropped & 3 were turned." in page_of(run).text


def test_the_ceiling_intervals_and_the_closed_gap_stand_beside_the_scores(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", evaluated=False)
    found = {
        **runs.EVALUATION,
        "scores": {**runs.EVALUATION["scores"], "real": {"accuracy": 0.9951}},
        "real": 0.9951,
        "intervals": {"prior": {"accuracy": [0.14, 0.16]}, "learned": {"accuracy": None}},
        "gap_closed": {"learned": {"share": 0.798, "interval": [0.7, 0.9]}},
    }
    run.update_summary({"evaluation": found})
    text = page_of(run).text
    assert "accuracy 95 % interval Gap closed the prior 15.1 % 14.0 % to 16.0 % –" in text
    assert "the learned model 99.3 % – 80% (70% to 90%) labelled images of the target 99.5 % – –" in text


def test_the_inferred_population_and_the_refinement_are_shown(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run")
    findings = [
        {"stage": "cars", "verdict": {"text": "closer: p = 0.01"}, "descent": {"kept": False}},
        {"stage": "camera", "verdict": None, "descent": {"kept": True, "verdict": {"text": "matches: p = 0.3"}}},
        {"stage": "score", "verdict": None},
    ]
    run.update_summary({"population": ["digit.yaw: 90 ± 10 deg"], "inference": findings})
    text = page_of(run).text
    assert "digit.yaw: 90 ± 10 deg" in text
    assert (
        "Stage cars: closer: p = 0.01. The refinement did not bring images nearer to the target and was dropped."
        in text
    )
    assert "Stage camera: matches: p = 0.3. The refinement brought images nearer" in text
    assert "Stage score." in text
