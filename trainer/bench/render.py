"""How fast a machine renders an experiment's scenes: the figures of `metasim bench render`.

Frames per second depend on the machine; how much faster N workers are than one does so less, and is given as a ratio
of the same run. The time counts everything between asking for images and having them.
"""

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from trainer.experiments import load_experiment
from trainer.grammar import SceneGraph
from trainer.pool import PoolOptions, open_pool
from trainer.randomness import Purpose, generator
from trainer.rendering import Renderer


def bench_render(
    experiment: str, *, engine: str | None = None, workers: int | None = None, scenes: int = 64, repeats: int = 3
) -> dict[str, Any]:
    """Renders scenes of an experiment's grammar with one local worker and with all.

    Args:
        engine: default: the experiment's.
        workers: processes; default: one per CPU that this process may use.
        scenes: rendered in each repeat, always the same.
        repeats: of each number of workers; the median counts.

    Returns:
        The sort of work, and for each number of workers `frames_per_s`, `samples_per_s` and `speedup` over one worker.

    Raises:
        InputError: there is no such experiment, or the engine cannot run here.
    """
    opened = load_experiment(experiment)
    engine = engine or opened.engine
    rng = generator(0, Purpose.GENERATION)
    batch = [opened.grammar.sample(rng) for _ in range(scenes)]
    render = opened.grammar.render
    samples = render.width_px * render.height_px * render.samples
    runs: list[dict[str, Any]] = []
    for count in sorted({1, workers or len(os.sched_getaffinity(0))}):
        with open_pool(PoolOptions(engine=engine, workers=count), assets=opened.asset_source) as pool:
            renderer = Renderer(pool, opened.grammar)
            renderer.images(batch[: 4 * count], 0)  # Assets are on the workers from here on.
            seconds = statistics.median(_timed(renderer, batch) for _ in range(repeats))
        rate = scenes / seconds
        runs.append({"workers": count, "frames_per_s": rate, "samples_per_s": rate * samples})
    for run in runs:
        run["speedup"] = run["frames_per_s"] / runs[0]["frames_per_s"]
    return {
        "experiment": opened.name,
        "engine": engine,
        "width_px": render.width_px,
        "height_px": render.height_px,
        "samples": render.samples,
        "scenes": scenes,
        "runs": runs,
    }


def _timed(renderer: Renderer, batch: Sequence[SceneGraph]) -> float:
    began_s = time.perf_counter()
    renderer.images(batch, 0)
    return time.perf_counter() - began_s
