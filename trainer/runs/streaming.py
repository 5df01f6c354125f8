"""Rendered scenes as a stream to train on, without files.

    for image, label in DataLoader(RenderedScenes("runs/mnist-rot", count=10_000), batch_size=64): ...

Scene i equals scene number i of `metasim generate` for the same source and seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count as numbers
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from trainer.datasets.writers.picture import Encoding
from trainer.datasets.writers.rendered import SampleRenderer
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError
from trainer.pool import PoolOptions, open_pool
from trainer.pool.event_loop import shared_loop_is_inherited
from trainer.pool.result_cache import ResultCache
from trainer.runs.sample_stream import ahead, blocks_ahead
from trainer.runs.scene_source import SceneSource, open_source

#: Default size of the cache folder.
CACHE_BYTES = 10 << 30


class RenderedScenes(IterableDataset[Any]):
    """Scenes of a run's learned model, or of a grammar, rendered on demand by a pool.

    Each iteration opens a pool, yields the same scenes, and closes the pool. Use another seed for new scenes. The next
    blocks of scenes are rendered while one is consumed.

    With n consumers, such as training processes, consumer r takes blocks r, r + n ... with `shard=(r, n)`. The worker
    processes of a DataLoader share the blocks of its `shard`; each has its own connections to the workers behind an
    endpoint. Local workers use all processors, so `num_workers` must then be 0.

    A slow consumer slows down rendering: only as many blocks are rendered ahead as keep the workers busy.
    """

    def __init__(
        self,
        source: str | SceneSource,
        *,
        count: int | None = None,
        seed: int = 0,
        needs: Need = Need.BOXES,
        item: Callable[[Sample], Any] | None = None,
        shard: tuple[int, int] = (0, 1),
        block: int = 64,
        images: str | None = None,
        cache: Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        mnist: Path | None = None,
        pool: PoolOptions | None = None,
    ) -> None:
        """
        Args:
            source: a run folder, or a grammar or experiment by name or path.
            count: scenes of all shards together; None: endless.
            needs: outputs to render besides the image.
            item: converts a sample into the yielded item; default: `image_and_class`.
            shard: (r, n), see above.
            block: scenes per block.
            images: encoding of images by the workers, as in `metasim generate --images`. It saves bandwidth and cache
                space, and this process decodes the images. None: raw pixels.
            cache: a folder for results, so that a further epoch of the same scenes needs no rendering. Consumers may
                share it.
            cache_bytes: size of the folder; the least recently used results are removed first.
            mnist, pool: as `GenerateOptions` takes them.

        Raises:
            InputError: the source cannot be opened, or a number is out of its range.
        """
        super().__init__()
        self._opened: SceneSource | None = source if isinstance(source, SceneSource) else None
        self._given, self._mnist = source, mnist
        self._encoding = None if images is None else Encoding.parse(images)
        self._cache, self._cache_bytes = cache, cache_bytes
        self._count, self._seed, self._needs, self._block = count, seed, needs, block
        self._item = item or self.image_and_class
        self._shard = shard
        self._pool = (pool or PoolOptions()).with_default_engine(self._source.engine)
        if self._encoding is not None:
            settings = replace(self._pool.settings, image_formats=frozenset({self._encoding.format}))
            self._pool = replace(self._pool, settings=settings)
        if not 0 <= shard[0] < shard[1]:
            raise InputError(f"shard is {shard}; of n processes it must be (r, n) with r from 0 to n - 1")
        if block < 1 or (count is not None and count < 0):
            raise InputError(f"block is {block} and count {count}; block must be at least 1, and count at least 0")

    def __getstate__(self) -> dict[str, Any]:
        """Drop the open source: a process that DataLoader spawns opens it itself."""
        opened = self._opened if isinstance(self._given, SceneSource) else None
        return {**self.__dict__, "_opened": opened}

    @property
    def _source(self) -> SceneSource:
        if self._opened is None:
            self._opened = open_source(str(self._given), mnist=self._mnist)
        return self._opened

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the grammar's classes; labels are their indices."""
        return self._source.grammar.classes

    def image_and_class(self, sample: Sample) -> tuple[torch.Tensor, int]:
        """Return a sample as its image, uint8 [3, height, width], and the index of its one object's class.

        Raises:
            InputError: the scene has no object with a class, or several.
        """
        if sample.label is None:
            raise InputError(
                f"a scene of {self._source.name} does not have exactly one object with a class; "
                "pass item=..., which converts a Sample into the item"
            )
        image = torch.from_numpy(sample.image.transpose(2, 0, 1).copy())
        return image, self.classes.index(str(sample.label))

    def __iter__(self) -> Iterator[Any]:
        return (self._item(sample) for sample in self._samples(*self._consumer()))

    def _consumer(self) -> tuple[int, int]:
        """Return (r, n): the number of this consumer, and the number of consumers.

        Raises:
            InputError: worker processes of a DataLoader cannot render here.
        """
        (first, step), worker = self._shard, get_worker_info()
        if worker is None:
            return first, step
        if self._pool.local:
            raise InputError(
                f"RenderedScenes was given to a DataLoader with num_workers={worker.num_workers}: the pool's processes "
                "render already; use num_workers=0, or render on workers behind an endpoint"
            )
        if shared_loop_is_inherited():
            raise InputError(
                "RenderedScenes was given to a DataLoader whose workers are forks of a process that has used a pool, "
                'which gRPC does not support; give the DataLoader multiprocessing_context="spawn"'
            )
        return first * worker.num_workers + worker.id, step * worker.num_workers

    def _samples(self, first: int, step: int) -> Iterator[Sample]:
        """Yield the samples of blocks first, first + step ...; the next blocks are rendered while one is consumed."""
        source = self._source
        cache = None if self._cache is None else ResultCache(self._cache, self._cache_bytes)
        with open_pool(self._pool, assets=source.grammar.assets) as pool:
            renderer = SampleRenderer(pool, source.grammar, self._needs, encoding=self._encoding, cache=cache)

            def rendered(indices: range) -> list[Sample]:
                scenes = source.scenes(self._seed, indices)
                return list(renderer.samples(scenes, source.noise(self._seed, indices.start)))

            yield from ahead(rendered, self._ranges(first, step), lambda: blocks_ahead(pool, self._block))

    def _ranges(self, first: int, step: int) -> Iterator[range]:
        for number in numbers(first, step):
            start = number * self._block
            end = start + self._block if self._count is None else min(start + self._block, self._count)
            if start >= end:
                return
            yield range(start, end)
