"""How fast a machine renders an experiment's scenes: the figures of `metasim bench render`.

Frames per second depend on the machine. The speedup of N workers over one depends on it less, and comes from the same
run. The time covers everything between the request for images and their arrival.
"""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.experiments import load_experiment
from trainer.grammar import SceneGraph
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent, Step
from trainer.randomness import Purpose, generator
from trainer.rendering import Renderer

#: Time that the measurements of a benchmark take at most, about. Slow scenes are rendered fewer times.
BUDGET_S = 75.0

#: The first step: the experiment is read and its scenes are drawn.
PREPARE = "draw the scenes"


def bench_render(
    experiment: str,
    *,
    engine: str | None = None,
    workers: int | None = None,
    scenes: int = 64,
    repeats: int = 3,
    overrides: Mapping[str, object] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    budget_s: float = BUDGET_S,
) -> dict[str, Any]:
    """Render scenes of an experiment's grammar with one local worker and with several.

    Args:
        experiment: name or path, as for training.
        engine: engine of the workers; default: the experiment's.
        workers: number of processes; default: one per CPU that this process may use, on a GPU one.
        scenes: scenes of each repeat, always the same. Fewer if they would exceed the budget.
        repeats: repeats of each number of workers; the median counts.
        overrides: settings that replace those of the experiment.
        device: kind of device that renders.
        progress: shown while it runs.
        budget_s: time that the measurements take at most, about.

    Returns:
        The kind of work, and for each number of workers `frames_per_s`, `samples_per_s` and `speedup` over one worker.

    Raises:
        InputError: there is no such experiment, or the engine cannot run here.
    """
    progress = progress or Silent()
    counts = sorted({1, workers or (len(os.sched_getaffinity(0)) if device == "cpu" else 1)})
    steps = [(PREPARE, 3.0), *(step for count in counts for step in _steps(count))]
    progress.plan([Step(name, seconds) for name, seconds in steps])
    progress.step(PREPARE)
    opened = load_experiment(experiment, overrides or {})
    engine = engine or opened.engine
    rng = generator(0, Purpose.GENERATION)
    batch = [opened.grammar.sample(rng) for _ in range(scenes)]
    render = opened.grammar.render
    samples = render.width_px * render.height_px * render.samples
    runs: list[dict[str, Any]] = []
    for count in counts:
        (start, _), (measure, _) = _steps(count)
        progress.step(start)
        with open_pool(
            PoolOptions(engine=engine, workers=count, render_device=device), assets=opened.asset_source
        ) as pool:
            progress.watch(pool)
            renderer = Renderer(pool, opened.grammar)
            renderer.images(batch[:count], 0)  # The workers load assets that many scenes share.
            seconds = _timed(renderer, batch[:count])
            if len(batch) > count:  # All numbers of workers render the same scenes.
                fitting = int(budget_s / (len(counts) * repeats) / seconds * count)
                batch = batch[: max(count, counts[-1], min(len(batch), fitting))]
            with progress.step(measure) as advance:
                timed = []
                for repeat in range(repeats):
                    timed.append(_timed(renderer, batch))
                    advance(repeat + 1, repeats)
                    if sum(timed) > budget_s / len(counts):
                        break
        rate = len(batch) / statistics.median(timed)
        runs.append({"workers": count, "scenes": len(batch), "frames_per_s": rate, "samples_per_s": rate * samples})
    progress.stop()
    for run in runs:
        run["speedup"] = run["frames_per_s"] / runs[0]["frames_per_s"]
    return {
        "experiment": opened.name,
        "engine": engine,
        "width_px": render.width_px,
        "height_px": render.height_px,
        "samples": render.samples,
        "scenes": runs[-1]["scenes"],
        "runs": runs,
    }


def _steps(count: int) -> tuple[tuple[str, float], tuple[str, float]]:
    """Return the steps for a number of workers, each with its expected duration."""
    workers = "1 worker" if count == 1 else f"{count} workers"
    return (f"start {workers}", 8.0), (f"render with {workers}", 30.0)


def _timed(renderer: Renderer, batch: Sequence[SceneGraph]) -> float:
    began_s = time.perf_counter()
    renderer.images(batch, 0)
    return time.perf_counter() - began_s
