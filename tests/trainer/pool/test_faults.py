"""The pool behind a network that fails: every task is answered exactly once, with the same bytes as ever."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.fault_proxy import Fault, FaultProxy, faulty
from support.servers import PATIENCE_S, Server, server
from support.tasks import ASSETS, sprite_task, without_timing

from trainer.pool import PoolSettings, RenderPool

TASKS = [sprite_task(f"t{i}", seed=i, size_px=16) for i in range(40)]
SETTINGS = PoolSettings(connect_timeout_s=PATIENCE_S, resolve_every_s=0.2, silence_s=9.0)

#: By name, what befalls the first connections.
FAULTS = {
    "delay": [Fault(delay_s=0.02)],
    "slow": [Fault(bytes_per_s=100_000)],
    "drop": [Fault(drop=True)] * 3,
    "cut": [Fault(cut_after=count) for count in (50, 500, 2_000, 5_000, 9_000)],
    "stall": [Fault(stall_after=6_000)],
}


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Server]]:
    with server("--engine", "fake", "--workers", "1") as first, server("--engine", "fake", "--workers", "1") as second:
        yield [first, second]


@pytest.fixture(scope="module")
def expected(workers: list[Server]) -> list[bytes]:
    """What comes back where nothing fails."""
    return answers([workers[0].address], SETTINGS)[0]


def answers(addresses: list[str], settings: PoolSettings) -> tuple[list[bytes], int]:
    """Each task's result, and how many tasks the pool says it has answered."""
    calls: list[str] = []
    with RenderPool(",".join(addresses), assets=ASSETS.__getitem__, settings=settings) as pool:
        futures = pool.submit_all(TASKS)
        for task, future in zip(TASKS, futures, strict=True):
            future.add_done_callback(lambda _, name=task.id: calls.append(name))
        results = [future.result(timeout=PATIENCE_S) for future in futures]
        done = pool.stats.tasks_done
    assert sorted(calls) == sorted(task.id for task in TASKS)
    assert [result.id for result in results] == [task.id for task in TASKS]
    return [without_timing(result) for result in results], done


@pytest.mark.parametrize("fault", FAULTS)
def test_one_worker_behind_a_failing_network(fault: str, workers: list[Server], expected: list[bytes]) -> None:
    with faulty(workers[0].address, *FAULTS[fault]) as proxy:
        assert answers([proxy.address], SETTINGS) == (expected, len(TASKS))
        assert proxy.connections > sum(one.cut_after is not None or one.drop for one in FAULTS[fault])


@pytest.mark.parametrize("fault", [*FAULTS, "swallow"])
def test_another_worker_takes_over(fault: str, workers: list[Server], expected: list[bytes]) -> None:
    first, second = workers
    faults = FAULTS.get(fault, [Fault(swallow=True)] * 100)
    with faulty(first.address, *faults) as proxy:
        assert answers([proxy.address, second.address], SETTINGS) == (expected, len(TASKS))


def test_a_network_that_fails_all_the_time(workers: list[Server], expected: list[bytes]) -> None:
    """Each connection to either worker is cut somewhere."""
    with contextlib.ExitStack() as stack:
        proxies = []
        for worker in workers:
            proxy = FaultProxy(worker.address, lambda number: Fault(cut_after=3_000 + 2_500 * (number % 9)))
            stack.callback(proxy.close)
            proxies.append(proxy)
        settings = replace(SETTINGS, max_losses=1000, circuit_open_s=0.1)
        assert answers([proxy.address for proxy in proxies], settings) == (expected, len(TASKS))
        assert sum(proxy.connections for proxy in proxies) > 4
