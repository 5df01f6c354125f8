"""Samples of numbered scenes, rendered ahead of whoever writes them."""

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

#: Scenes that are drawn for one image before a condition counts as never met.
MOST_DRAWN = 1000
#: Fewest and most chunks that are rendered while one is used.
_LEAST_AHEAD, _MOST_AHEAD = 2, 64
#: Tasks that are under way for each process of the workers: one is rendered, others wait at the worker.
_TASKS_PER_PROCESS = 4


@dataclass(frozen=True)
class Drawn:
    """A sample, and how it came about."""

    sample: Sample
    #: Scenes that were drawn until this one.
    drawn: int = 1
    #: Rendered with boxes and masks, whatever was needed.
    audited: bool = False


@dataclass(frozen=True)
class SampleStream:
    """Renders scenes of one source.

    Attributes:
        encoding, encodes_masks: see `SampleRenderer`.
        keep: the condition that scenes meet. Another scene of the same number is drawn until one does.
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
        """Return the samples of those numbers; while one chunk is used, the next ones are rendered.

        Raises:
            InputError: the condition is met by none of many scenes.
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
        """Return how many chunks are under way: all slots of the workers have tasks, also at the end of a chunk."""
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
    """Return how many blocks of scenes are rendered while one is used, so that every slot of the workers has a task."""
    return min(max(_LEAST_AHEAD, math.ceil(_TASKS_PER_PROCESS * pool.stats.processes_up / size)), _MOST_AHEAD)


def ahead(
    render: Callable[[range], list[Item]], chunks: Iterable[range], depth: Callable[[], int] = lambda: _LEAST_AHEAD
) -> Iterator[Item]:
    """Return the items of chunks one after the other; threads render the next chunks meanwhile.

    Whoever uses the items sets the pace: no more than `depth()` chunks are rendered ahead.
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
        # Without waiting: a chunk may take minutes, and the pool's end fails its tasks.
        executor.shutdown(wait=False, cancel_futures=True)
