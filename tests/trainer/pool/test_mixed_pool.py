"""A pool on workers of two kinds, with real servers."""

import time
from collections.abc import Iterator

import pytest

from trainer.pool.client import RenderPool
from trainer.pool.local import LocalWorkers
from trainer.pool.options import PoolSettings


def no_assets(name: str) -> bytes:
    raise KeyError(name)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    workers = []
    try:
        workers = [LocalWorkers(engine=engine, workers=1) for engine in ("fake", "raster")]
        yield ",".join(each.address for each in workers)
    finally:
        for each in workers:
            each.close()


def settled(pool: RenderPool) -> list[str]:
    """Wait until each worker takes tasks or is refused; return the problems."""
    streams = pool._dispatcher.members.streams
    while len(streams) < 2 or not all(stream.slots or stream.refused for stream in streams.values()):
        time.sleep(0.02)  # Ended by the test's timeout.
    return [stream.problem for stream in streams.values() if stream.problem]


def test_workers_of_a_second_kind_get_no_tasks(endpoint: str) -> None:
    with RenderPool(endpoint, assets=no_assets) as pool:
        (problem,) = settled(pool)
        assert problem.startswith("it renders with ")
        assert problem.endswith("start all workers alike, or accept the differences with --mixed-devices")
        assert pool.stats.workers_up == 1
        assert ";" not in pool.kinds


def test_mixed_devices_admits_all_kinds(endpoint: str) -> None:
    with RenderPool(endpoint, assets=no_assets, settings=PoolSettings(mixed_devices=True)) as pool:
        assert settled(pool) == []
        assert pool.stats.workers_up == 2
        assert len(pool.kinds.split("; ")) == 2
