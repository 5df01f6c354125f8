"""Run folders made by hand: as a training run leaves them, with numbers chosen by the test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.metrics.attributes import AttributeStatistics, summarise
from trainer.runs.folder import Run, RunConfig
from trainer.runs.report.contact_sheets import contact_sheet

#: name, unit, is an angle, mean and standard deviation of prior and target
ATTRIBUTES = (("yaw", "deg", True, 0.0, 10.0, 170.0, 10.0), ("x", "px", False, 0.0, 2.0, -16.0, 2.5))
CONFIG = RunConfig(
    experiment="mnist-rot-trans",
    overrides={"training.epochs": 8, "digit.yaw": {"normal": [0, 10]}},
    seed=3,
    engine="raster",
    versions={"metasim": "0.1.0"},
)
EVALUATION = {
    "task": "digit classifier",
    "metric": "accuracy",
    "prior": 0.151,
    "learned": 0.9934,
    "scores": {"prior": {"accuracy": 0.151}, "learned": {"accuracy": 0.9934}},
    "unseen": True,
    "distances": {
        "digit.yaw": {"prior": 170.0, "learned": 1.25, "unit": "deg"},
        "digit.x": {"prior": 16.0, "learned": 0.2, "unit": "px"},
    },
    "image_distances": {
        "features": "estimator",
        "target_images": 1000,
        "prior": {"images": 1000, "mmd": 0.31, "kid": 2.5, "kid_standard_error": 0.1},
        "learned": {"images": 1000, "mmd": 0.0004, "kid": -0.002, "kid_standard_error": 0.003},
    },
    "train_images": 30_000,
    "test_images": 5_000,
    "seconds": 101.5,
}


def statistics(progress: float, seed: int, count: int = 200) -> list[AttributeStatistics]:
    """Values part of the way (0 to 1) from the prior to the target."""
    rng = np.random.default_rng(seed)
    return [
        summarise(
            "digit", name, unit, angle,
            rng.normal((1 - progress) * m + progress * target, (1 - progress) * s + progress * spread, count).tolist(),
        )
        for name, unit, angle, m, s, target, spread in ATTRIBUTES
    ]  # fmt: skip


def attributes(of: str, epoch: int | None, items: Sequence[AttributeStatistics]) -> dict[str, Any]:
    """A record of attributes.jsonl."""
    return {"of": of, "epoch": epoch, "attributes": [item.to_json() for item in items]}


def metrics(epoch: int, mmd: float) -> dict[str, Any]:
    """A record of metrics.jsonl."""
    return {
        "epoch": epoch,
        "mmd": mmd,
        "gradient_norms": {"digit.yaw": 0.01 / epoch, "digit.x": 0.2 / epoch},
        "learning_rate": 0.003,
        "seconds": 10.0,
        "renders_per_s": 1500.0,
        "waiting_share": 0.25,
        "workers": 2,
    }


def new_run(folder: Path, config: RunConfig = CONFIG) -> Run:
    """A run that has just been started."""
    return Run.create(folder, config)


def running(folder: Path, epochs: int = 3, of: int = 8, *, target: bool = True, config: RunConfig = CONFIG) -> Run:
    """A run in the middle of its epochs."""
    run = new_run(folder, config)
    records = [attributes("prior", None, statistics(0, 0))]
    if target:
        records.append(attributes("target", None, statistics(1, 1)))
    share = [1 - 0.5 * (1 - epoch / of) for epoch in range(1, epochs + 1)]
    records += [attributes("learned", i + 1, statistics(part, 2 + i)) for i, part in enumerate(share)]
    run.write_records("attributes.jsonl", records)
    run.write_records("metrics.jsonl", [metrics(i + 1, 0.3 * (1 - part) + 0.002) for i, part in enumerate(share)])
    images = np.random.default_rng(0).integers(0, 60, (4, 32, 32, 3), dtype=np.uint8)
    for epoch in range(epochs + 1):
        rows = [("Prior", images), ("Learned", images + np.uint8(20 * epoch)), ("Target", images + np.uint8(180))]
        contact_sheet(rows[:: 2 if epoch == 0 else 1]).save(run.folder / "samples" / f"epoch-{epoch:03d}.png")
    return run


def finished(folder: Path, epochs: int = 8, *, evaluated: bool = True, target: bool = True) -> Run:
    """A run that went to its end."""
    run = running(folder, epochs, epochs, target=target)
    run.update_summary(
        {
            "reconstruction_error": {"digit.yaw": 0.0021, "digit.x": 0.0034},
            "inference": [{"stage": "mmd", "transport_error": {"digit.yaw": 0.12, "digit.x": 0.045}}],
            "features": "estimator",
            "seconds": {"total": 100.0, "target": 2.0, "pretraining": 8.0, "inference": 10.0, "epochs": 80.0},
            "renders": 123_456,
            "workers": 2,
        }
    )
    if evaluated:
        run.update_summary({"evaluation": EVALUATION})
    return run
