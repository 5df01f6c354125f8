"""The terminal's summary of a training run."""

from pathlib import Path

from support import runs

from trainer.cli.training_outcome import training_outcome

SHARES = {
    "prior": [{"kind": "card", "name": "sprite", "frequencies": {"ace": 1 / 6, "king": 5 / 6, "joker": 0.0}}],
    "learned": [{"kind": "card", "name": "sprite", "frequencies": {"ace": 0.191, "king": 0.809, "joker": 0.0}}],
    "target": [],
}
ATTRIBUTE = {"kind": "card", "name": "z", "unit": "m"}


def summary_of(tmp_path: Path) -> str:
    run = runs.finished(tmp_path / "run", evaluated=False)
    run.update_summary(
        {
            "attributes": {
                "prior": [{**ATTRIBUTE, "mean": 1.0, "std": 0.2}],
                "learned": [{**ATTRIBUTE, "mean": 0.5, "std": 0.1}],
                "target": [],
            },
            "counts": {"prior": [], "learned": [{"kind": "card", "mean": 1.9, "std": 0.8}], "target": []},
            "choices": SHARES,
            "notes": ["card.z piles up."],
            "verdict": {"outcome": "matches", "text": "matches: p = 0.4", "mmd": 0.01, "prior_mmd": 0.2, "floor": 0.02},
        }
    )
    return training_outcome(run, run.folder / "report.html")


def test_the_verdict_and_the_distance_come_first(tmp_path: Path) -> None:
    lines = summary_of(tmp_path).splitlines()
    assert lines[1:3] == ["Matches: p = 0.4.", "MMD² to the target: 0.01 (prior 0.2 · floor 0.02)"]


def test_the_prior_stands_beside_what_was_learned(tmp_path: Path) -> None:
    text = summary_of(tmp_path)
    words = [line.split() for line in text.splitlines()]
    assert ["mean", "±", "spread", "prior", "learned"] in words
    assert ["card.z", "(m)", "1.00", "±", "0.20", "0.500", "±", "0.100"] in words
    assert ["card,", "number", "in", "a", "scene", "1.90", "±", "0.80"] in words
    assert ["card.sprite", "prior", "learned"] in words
    assert ["ace", "16.7%", "19.1%"] in words
    assert "joker" not in text
    assert "Note: card.z piles up." in text


def test_paths_and_the_next_commands_follow(tmp_path: Path) -> None:
    text = summary_of(tmp_path)
    for part in ("picture", "report", "checkpoint", "metasim evaluate", "metasim generate"):
        assert part in text
