"""Trains experiments with several seeds and compares each learned component with the target's."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.device import open_device
from trainer.experiments import Experiment, load_experiment
from trainer.grammar.distributions import Distribution
from trainer.metrics.attributes import components
from trainer.model.encoding import Encoding
from trainer.pool import PoolOptions
from trainer.progress import Progress, Silent
from trainer.runs.folder import Run
from trainer.train import TrainOptions, train

#: Tolerances: of means as a fraction of the range (3 of 360 degrees), of spreads as a fraction of the target's, of
#: weights and frequencies absolutely.
MEAN, SPREAD, WEIGHT, FREQUENCY = 3 / 360, 0.3, 0.1, 0.05
#: Largest tolerance of the mean of an angle with a full range.
MEAN_DEG = 5.0


@dataclass(frozen=True)
class Figure:
    """A number to be learned."""

    name: str
    wanted: float
    found: float
    tolerance: float

    @property
    def reached(self) -> bool:
        """Return whether it lies within the tolerance."""
        return abs(self.found - self.wanted) <= self.tolerance


def bench_training(
    experiment: str,
    seeds: Sequence[int],
    *,
    pool: PoolOptions | None = None,
    overrides: Mapping[str, object],
    near: float | None = None,
    keep: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    train_run: Callable[[TrainOptions, Progress], Run] = train,
) -> dict[str, Any]:
    """Train once per seed and compare each run with the target.

    Args:
        near: tolerance of means, as a fraction of the range; default: `MEAN`.
        keep: folder that keeps the run folders; default: they are deleted.
        device: that networks run on.
        train_run: the training function; the ablation passes another.

    Returns:
        `runs`: for each seed the figures, whether all were reached, the MMD and the seconds. `reached`: number of runs.
    """
    progress = progress or Silent()
    open_device(device)
    loaded = load_experiment(experiment, overrides)
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            progress.note(f"{experiment}, seed {seed}")
            out = (keep or Path(temporary)) / f"{Path(experiment).stem}-{seed}"
            options = TrainOptions(
                experiment, out, seed=seed, device=device, overrides=overrides, pool=pool or PoolOptions()
            )
            run = train_run(options, progress)
            found = figures(loaded, run, MEAN if near is None else near)
            runs.append(
                {
                    "seed": seed,
                    "reached": all(figure.reached for figure in found),
                    "figures": [{**asdict(figure), "reached": figure.reached} for figure in found],
                    "mmd": [*run.summary["mmd_prior"], *run.summary["mmd"][-1:]],
                    "scores": [record["score"] for record in run.records("metrics.jsonl") if "score" in record],
                    "seconds": run.summary["seconds"]["total"],
                    "renders": run.summary["renders"],
                }
            )
    return {"experiment": experiment, "runs": runs, "reached": sum(run["reached"] for run in runs)}


def figures(experiment: Experiment, run: Run, near: float = MEAN) -> list[Figure]:
    """Return what the run has learned beside the values of a synthetic target."""
    if experiment.target is None or experiment.target.grammar is None:
        return []
    learned = [record for record in run.records("attributes.jsonl") if record["of"] == "learned"][-1]
    values = {(item["kind"], item["name"]): item["values"] for item in learned["attributes"]}
    wanted = {(kind, spec.name): spec.distribution for kind, spec in experiment.target.grammar.specs}
    found: list[Figure] = []
    for kind, spec in Encoding(experiment.grammar).mutable:
        reach = near * (spec.high - spec.low)
        if spec.wraps:
            reach = min(reach, MEAN_DEG)
        if (kind, spec.name) in values:
            label = f"{kind}.{spec.name}"
            found += _of_number(label, values[kind, spec.name], wanted[kind, spec.name], spec.is_angle, reach)
    target = {(item["kind"], item["name"]): item for item in run.summary["choices"]["target"]}
    for item in run.summary["choices"]["learned"]:
        frequencies = target.get((item["kind"], item["name"]), {}).get("frequencies", {})
        for category, frequency in frequencies.items():
            label = f"{item['kind']}.{item['name']} {category}"
            found.append(Figure(label, frequency, item["frequencies"].get(category, 0.0), FREQUENCY))
    return found


def _of_number(
    label: str, values: Sequence[float], distribution: Distribution, is_angle: bool, reach: float
) -> list[Figure]:
    parts = components(values, distribution, is_angle)
    found = []
    for index, (wanted, part) in enumerate(parts):
        name = label if len(parts) == 1 else f"{label} ({index + 1})"
        found.append(Figure(f"{name} mean", wanted.mean, part.mean, reach))
        found.append(Figure(f"{name} spread", wanted.std, part.std, SPREAD * wanted.std))
        if len(parts) > 1:
            found.append(Figure(f"{name} weight", wanted.weight, part.weight, WEIGHT))
    return [Figure(**{**asdict(figure), "found": _or_far(figure.found)}) for figure in found]


def _or_far(number: float) -> float:
    """Return infinity for a component without values."""
    return float(number) if np.isfinite(number) else float("inf")


def table(result: dict[str, Any]) -> list[list[str]]:
    """Return a row per run with every figure; those out of tolerance are in brackets."""
    names = [figure["name"] for figure in result["runs"][0]["figures"]]
    rows = [["seed", *names, "MMD² prior, learned", "s", "reached"]]
    for run in result["runs"]:
        cells = [f"{f['found']:.3g}" if f["reached"] else f"({f['found']:.3g})" for f in run["figures"]]
        mmd = f"{run['mmd'][0]:.4f}, {run['mmd'][-1]:.4f}" if run["mmd"] else "–"
        rows.append([str(run["seed"]), *cells, mmd, f"{run['seconds']:.0f}", "yes" if run["reached"] else "no"])
    wanted = [f"{figure['wanted']:.3g}" for figure in result["runs"][0]["figures"]]
    return [*rows, ["target", *wanted, "", "", f"{result['reached']} of {len(result['runs'])}"]]
