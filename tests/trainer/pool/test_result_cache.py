"""Results on disk: the same as rendered ones, bounded, and none that is damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.pool.result_cache import ResultCache


class Pool:
    """Renders an image of the task's seed, and counts."""

    def __init__(self, kinds: str = "fake 1 on CPU") -> None:
        self.kinds, self.rendered = kinds, 0

    def render(self, tasks: Sequence[pb.RenderTask]) -> list[pb.RenderResult]:
        self.rendered += len(tasks)
        results = [pb.RenderResult(id=task.id) for task in tasks]
        for task, result in zip(tasks, results, strict=True):
            result.layers.add(output=pb.OUTPUT_IMAGE_U8, file=task.seed.to_bytes(4, "big") * 250)
        return results


def tasks(*seeds: int) -> list[pb.RenderTask]:
    return [pb.RenderTask(id=f"task-{seed}", seed=seed) for seed in seeds]


def test_results_are_rendered_once(tmp_path: Path) -> None:
    cache, pool = ResultCache(tmp_path / "cache", 1 << 20), Pool()
    first: Any = cache.render(pool, tasks(1, 2))  # type: ignore[arg-type]
    again = ResultCache(tmp_path / "cache", 1 << 20).render(pool, tasks(1, 2))  # type: ignore[arg-type]
    assert again == first
    assert pool.rendered == 2
    assert cache.render(pool, tasks(2, 1)) != first  # type: ignore[arg-type]
    assert (pool.rendered, cache.hits, cache.misses) == (4, 0, 2)


def test_another_kind_of_renderer_has_results_of_its_own(tmp_path: Path) -> None:
    cache, pool = ResultCache(tmp_path, 1 << 20), Pool()
    cache.render(pool, tasks(1))  # type: ignore[arg-type]
    other = Pool("blender 4.5.15 on OPTIX")
    cache.render(other, tasks(1))  # type: ignore[arg-type]
    assert other.rendered == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_files_are_rendered_again(damage: bytes | None, tmp_path: Path) -> None:
    cache, pool = ResultCache(tmp_path, 1 << 20), Pool()
    first = cache.render(pool, tasks(1))  # type: ignore[arg-type]
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    assert cache.render(pool, tasks(1)) == first  # type: ignore[arg-type]
    assert pool.rendered == 2
    assert cache.render(pool, tasks(1)) == first  # type: ignore[arg-type]
    assert pool.rendered == 2


def test_the_folder_stays_below_its_limit(tmp_path: Path) -> None:
    pool, size = Pool(), 0
    cache = ResultCache(tmp_path, 3000)
    for seed in range(200):
        cache.render(pool, tasks(seed))  # type: ignore[arg-type]
        size = max(size, sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert 1500 < size <= 3000 * 1.05
    assert pool.rendered == 200
    cache.render(pool, tasks(199))  # type: ignore[arg-type]
    assert pool.rendered == 200
    cache.render(pool, tasks(0))  # type: ignore[arg-type]
    assert pool.rendered == 201


def test_results_beyond_the_limit_are_not_kept(tmp_path: Path) -> None:
    cache, pool = ResultCache(tmp_path, 10), Pool()
    cache.render(pool, tasks(1))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^cache .*/file/cache: Not a directory; choose another folder$"):
        ResultCache(tmp_path / "file" / "cache", 10)
