"""Rendered scenes as a stream to train on, without files.

    for image, label in DataLoader(RenderedScenes("runs/mnist-rot", count=10_000), batch_size=64): ...

Scene i is the one that `metasim generate` gives the number i for the same source and seed.
"""

from collections.abc import Callable, Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from trainer.datasets.writers.rendered import SampleRenderer
from trainer.datasets.writers.sample import Need, Sample
from trainer.errors import InputError
from trainer.pool import PoolOptions, open_pool
from trainer.runs.sample_stream import ahead
from trainer.runs.scene_source import SceneSource, open_source


class RenderedScenes(IterableDataset[Any]):
    """Scenes of a run's learned model, or of a grammar, rendered by a pool while they are used.

    Each iteration opens a pool and closes it at its end, and gives the same scenes again; another epoch of new ones has
    another seed. The next two blocks of scenes are rendered while one is used.

    Rendering happens in the pool's processes, so DataLoader's own workers have nothing to do: `num_workers` must be 0.
    Training processes share the scenes by `shard`: of n processes, number r takes the blocks r, r + n, r + 2n ...
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
        mnist: Path | None = None,
        pool: PoolOptions | None = None,
    ) -> None:
        """
        Args:
            source: a run folder, or a grammar or experiment by name or path.
            count: scenes of all shards together; None: no end.
            needs: what is rendered of a scene beside its image.
            item: makes what is yielded; default: `image_and_class`.
            shard: (r, n), see above.
            block: scenes that are rendered at a time.
            mnist, pool: as `GenerateOptions` takes them.

        Raises:
            InputError: the source cannot be opened, or a number is out of its range.
        """
        super().__init__()
        self._source = source if isinstance(source, SceneSource) else open_source(source, mnist=mnist)
        self._count, self._seed, self._needs, self._block = count, seed, needs, block
        self._item = item or self.image_and_class
        self._shard = shard
        self._pool = (pool or PoolOptions()).with_default_engine(self._source.engine)
        if not 0 <= shard[0] < shard[1]:
            raise InputError(f"shard is {shard}; of n processes it must be (r, n) with r from 0 to n - 1")
        if block < 1 or (count is not None and count < 0):
            raise InputError(
                f"block is {block} and count {count}; a block has 1 scene at least, count cannot be below 0"
            )

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
                f"a scene of {self._source.name} has not exactly one object with a class; "
                "give item=..., which makes what is wanted of a Sample"
            )
        image = torch.from_numpy(sample.image.transpose(2, 0, 1).copy())
        return image, self.classes.index(str(sample.label))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is not None:
            raise InputError(
                f"RenderedScenes was given to a DataLoader with num_workers={worker.num_workers}: the pool's processes "
                "render already, take num_workers=0; training processes share scenes by shard=(r, n)"
            )
        return (self._item(sample) for sample in self._samples())

    def _samples(self) -> Iterator[Sample]:
        """Return the samples of this shard's blocks; the next two blocks are rendered while one is used."""
        source = self._source
        with open_pool(self._pool, assets=source.grammar.assets) as pool:
            renderer = SampleRenderer(pool, source.grammar, self._needs)

            def rendered(indices: range) -> list[Sample]:
                scenes = source.scenes(self._seed, indices)
                return list(renderer.samples(scenes, source.noise(self._seed, indices.start)))

            yield from ahead(rendered, self._ranges())

    def _ranges(self) -> Iterator[range]:
        first, step = self._shard
        for number in numbers(first, step):
            start = number * self._block
            end = start + self._block if self._count is None else min(start + self._block, self._count)
            if start >= end:
                return
            yield range(start, end)
