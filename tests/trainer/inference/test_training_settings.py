"""docs/training.md lists every setting with its default."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from trainer.inference.training_settings import InferenceSettings, Stage, TrainingSettings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "after"),
    [
        (TrainingSettings, "## All settings"),
        (InferenceSettings, "Rounds of inference, `inference`:"),
        (Stage, "A stage:"),
    ],
    ids=["training", "inference", "stage"],
)
def test_every_setting_is_documented_with_its_default(model: type[BaseModel], after: str) -> None:
    table = DOCUMENT.split(f"\n{after}\n")[1].strip().split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", table, re.MULTILINE))
    assert list(rows) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if isinstance(field.default, int | float | str) and field.default != "":
            assert rows[name] == str(field.default), name
