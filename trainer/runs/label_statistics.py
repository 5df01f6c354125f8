"""Counts, class shares and sizes of labelled objects, for a run's models and for photographs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.experiments.target import PhotographTarget
from trainer.metrics.scene_distances import scenes_of
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import EvaluationStream, Purpose, generator, integer
from trainer.rendering import Renderer
from trainer.runs.evaluation_data import photographs_of
from trainer.runs.loading import open_run
from trainer.tasks.bootstrap import REPLICATES, interval
from trainer.tasks.boxes import ImageBoxes, boxes_of_frame, boxes_of_photo

#: Boxes nearer to the frame's edge may be cut off, so their sizes are left out.
_MARGIN_PX = 1.0
_CHUNK = 128


@dataclass(frozen=True)
class LabelStatistics:
    """Counts and sizes of the objects of N images.

    Attributes:
        classes: C names.
        counts: int [N, C].
        sizes: sums of the sizes of objects that the frame does not cut, in px [N, C]; a size is √(width · height).
        whole: number of these objects [N, C].
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    sizes: np.ndarray
    whole: np.ndarray

    @classmethod
    def of(
        cls, classes: Sequence[str], images: Sequence[ImageBoxes], width_px: int, height_px: int
    ) -> "LabelStatistics":
        """Return the statistics of labelled images of one size; crowds are left out."""
        counts, sizes, whole = (np.zeros((len(images), len(classes))) for _ in range(3))
        for index, objects in enumerate(images):
            for item in objects:
                if item.crowd:
                    continue
                left, top, right, bottom = item.box
                counts[index, item.class_index] += 1
                inside = left >= _MARGIN_PX and top >= _MARGIN_PX
                if inside and right <= width_px - _MARGIN_PX and bottom <= height_px - _MARGIN_PX:
                    whole[index, item.class_index] += 1
                    sizes[index, item.class_index] += np.sqrt((right - left) * (bottom - top))
        return cls(tuple(classes), counts, sizes, whole)

    def values(self, index: np.ndarray | None = None) -> np.ndarray:
        """Return the statistics [3, C] of some of the images: mean count, share of all objects, mean size in px.

        A share or a size without an object is nan.
        """
        chosen = np.arange(len(self.counts)) if index is None else index
        counts, sizes, whole = (each[chosen].sum(0) for each in (self.counts, self.sizes, self.whole))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([counts / len(chosen), counts / counts.sum(), sizes / whole])

    def intervals(self, rng: np.random.Generator) -> Iterator[tuple[int, int, list[float] | None]]:
        """Yield the index [s, c] of each statistic with its 95 % bootstrap interval over the images."""
        samples = np.stack(
            [self.values(rng.integers(0, len(self.counts), len(self.counts))) for _ in range(REPLICATES)]
        )
        for s, c in np.ndindex(samples.shape[1:]):
            yield s, c, interval(samples[:, s, c])


#: Names of the statistics, and their units.
STATISTICS = (("objects in an image", ""), ("share of the objects", "%"), ("size", "px"))


def compare_labels(
    folder: Path,
    photos: Path,
    *,
    scenes: int,
    pool: PoolOptions,
    mnist: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return statistics of a run's prior and learned scenes, and of labelled photographs with intervals.

    Args:
        folder: the run.
        photos: labelled photographs in any layout; they are fitted to the run's frame.
        scenes: number of scenes to render from each model.

    Raises:
        InputError: the run or the photographs cannot be read, or neither has classes.
    """
    progress, loaded = progress or Silent(), open_run(folder, mnist=mnist)
    grammar, seed = loaded.experiment.grammar, loaded.config.seed
    classes, render = grammar.classes, grammar.render
    if not classes:
        raise InputError(f"{folder}: no kind of its grammar has a class, so there is nothing to compare")
    target: PhotographTarget = photographs_of(loaded.experiment, photos)
    labels = [boxes_of_photo(classes, given) for given in target.given("detection", classes)]
    found = {"photographs": LabelStatistics.of(classes, labels, render.width_px, render.height_px)}
    with open_pool(pool.with_default_engine(loaded.config.engine), assets=loaded.experiment.asset_source) as workers:
        progress.watch(workers)
        renderer = Renderer(workers, grammar)
        for name, world, model in (("prior", grammar, None), ("learned", loaded.grammar, loaded.transformer)):
            purpose = EvaluationStream.PRIOR if model is None else EvaluationStream.LEARNED
            drawn = list(scenes_of(world, scenes, generator(seed, Purpose.EVALUATION, purpose), model))
            advance, boxes = progress.step(f"render scenes: {name}"), list[ImageBoxes]()
            for first in range(0, scenes, _CHUNK):
                noise = integer(seed, Purpose.EVALUATION, purpose, first)
                frames = renderer.render(drawn[first : first + _CHUNK], noise, [pb.OUTPUT_BOXES])
                boxes += [boxes_of_frame(classes, frame) for frame in frames]
                advance(len(boxes), scenes)
            found[name] = LabelStatistics.of(classes, boxes, render.width_px, render.height_px)
    progress.stop()
    rng = generator(seed, Purpose.EVALUATION, EvaluationStream.BOOTSTRAP)
    ends = {(s, c): of for s, c, of in found["photographs"].intervals(rng)}
    values = {name: each.values() for name, each in found.items()}
    return {
        "scenes": scenes,
        "photographs": len(labels),
        "statistics": [
            {
                "statistic": statistic,
                "unit": unit,
                "class": classes[c],
                **{name: float(value[s, c]) if np.isfinite(value[s, c]) else None for name, value in values.items()},
                "interval": ends[s, c],
            }
            for s, (statistic, unit) in enumerate(STATISTICS)
            for c in range(len(classes))
        ],
    }
