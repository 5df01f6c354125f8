"""Samples of numbered scenes, rendered ahead of their consumer."""

import math
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from trainer.datasets.writers.picture import Encoding
from trainer.datasets.writers.rendered import SampleRenderer
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError
from trainer.pool import RenderPool
from trainer.runs.scene_filter import SceneFilter
from trainer.runs.scene_source import SceneSource
from trainer.translation import Translator
from trainer.translation.buffers import NEEDS, translated_sample

Item = TypeVar("Item")

#: Maximum number of scenes drawn for one image before the condition counts as unsatisfiable.
MOST_DRAWN = 1000
#: Minimum and maximum number of chunks rendered ahead.
_LEAST_AHEAD, _MOST_AHEAD = 2, 64
#: Tasks in flight per worker process: one is rendered, the others are queued at the worker.
_TASKS_PER_PROCESS = 4


@dataclass(frozen=True)
class Drawn:
    """A sample, and how it was drawn."""

    sample: Sample
    #: Number of scenes drawn until this one met the condition.
    drawn: int = 1
    #: Rendered with boxes and masks even if the format does not need them.
    audited: bool = False


@dataclass(frozen=True)
class SampleStream:
    """Renders scenes of one source.

    Attributes:
        encoding, encodes_masks: see `SampleRenderer`.
        keep: the condition on scenes. Another scene of the same number is drawn until one meets it.
        audited: numbers of the scenes that are rendered with boxes and masks as well.
        chunk: scenes that are rendered at a time.
        translator: changes the appearance of the images.
    """

    pool: RenderPool
    source: SceneSource
    needs: Need
    seed: int
    encoding: Encoding | None = None
    encodes_masks: bool = False
    keep: SceneFilter | None = None
    audited: Collection[int] = ()
    chunk: int = 256
    translator: Translator | None = None

    def samples(self, indices: range) -> Generator[Drawn, None, None]:
        """Return the samples of those numbers. The next chunks are rendered while one is consumed.

        Raises:
            InputError: none of `MOST_DRAWN` scenes meets the condition.
            RenderError: a scene could not be rendered.
        """
        needs = self.needs if self.keep is None else self.needs | Need.BOXES
        if self.translator is not None and self.translator.uses_buffers:
            needs |= NEEDS
        renderer = SampleRenderer(
            self.pool, self.source.grammar, needs, encoding=self.encoding, encodes_masks=self.encodes_masks
        )
        chunks = (indices[start : start + self.chunk] for start in range(0, len(indices), self.chunk))
        yield from ahead(lambda chunk: self._rendered(renderer, chunk), chunks, lambda: self._depth())

    def _depth(self) -> int:
        """Return the number of chunks in flight, so that all worker slots have tasks even at the end of a chunk."""
        return blocks_ahead(self.pool, self.chunk)

    def _rendered(self, renderer: SampleRenderer, indices: range) -> list[Drawn]:
        found: dict[int, Drawn] = {}
        left, attempt = list(indices), 0
        while left:
            if attempt == MOST_DRAWN:
                raise InputError(
                    f"--keep {self.keep.text if self.keep else ''!r}: image {left[0]}: none of {MOST_DRAWN} scenes "
                    "meets the condition; loosen it"
                )
            scenes = self.source.scenes(self.seed, left, attempt)
            audited = {place for place, index in enumerate(left) if index in self.audited}
            noise = self.source.noise(self.seed, indices.start)
            numbers = [index - indices.start for index in left]
            samples = renderer.samples(scenes, noise, numbers, audited)
            attempt += 1
            for index, sample in zip(left, samples, strict=True):
                if self.keep is None or self.keep(sample):
                    found[index] = Drawn(self._translated(sample), attempt, index in self.audited)
            left = [index for index in left if index not in found]
        return [found[index] for index in indices]

    def _translated(self, sample: Sample) -> Sample:
        if self.translator is None:
            return sample
        return translated_sample(self.translator, sample, self.source.grammar.classes)


def blocks_ahead(pool: RenderPool, size: int) -> int:
    """Return the number of blocks to render ahead, so that every worker slot has a task."""
    return min(max(_LEAST_AHEAD, math.ceil(_TASKS_PER_PROCESS * pool.stats.processes_up / size)), _MOST_AHEAD)


def ahead(
    render: Callable[[range], list[Item]], chunks: Iterable[range], depth: Callable[[], int] = lambda: _LEAST_AHEAD
) -> Iterator[Item]:
    """Yield the items of the chunks in order while threads render the next chunks.

    The consumer sets the pace: at most `depth()` chunks are rendered ahead.
    """
    executor = ThreadPoolExecutor(_MOST_AHEAD, "render-ahead")
    waiting: deque[Future[list[Item]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(executor.submit(render, chunk))
            while len(waiting) > depth():
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        # Do not wait: a chunk may take minutes, and closing the pool fails its tasks.
        executor.shutdown(wait=False, cancel_futures=True)
