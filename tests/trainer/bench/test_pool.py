"""The figures of the pool's benchmark."""

import json

import pytest

from trainer.bench.fleets import Fleet, bench_fleets
from trainer.bench.pool import Load, bench_pool


def test_figures_are_ratios_of_one_run() -> None:
    report = json.loads(json.dumps(bench_pool(loads=(Load("fake", 20.0, 16),), workers=1, tasks=30, repeats=2)))
    assert set(report["overhead"]) == {"fake-20ms-16px"}
    assert report["max_overhead"] == report["overhead"]["fake-20ms-16px"]
    assert len(report["runs"]) == 2
    for run in report["runs"]:
        assert run["service_ms"] >= 20
        assert run["tasks_per_s"] < run["ideal_tasks_per_s"]
        assert run["overhead"] == pytest.approx(1 - run["tasks_per_s"] / run["ideal_tasks_per_s"])
        assert 0 < run["overhead"] < 0.5  # A busy machine may be slow, but not half of the time.
        assert run["columns"] == 6


def test_simulated_workers_are_kept_busy() -> None:
    fleet = Fleet(8, 50.0, slow=1, slowness=4.0, tasks_per_worker=20)
    report = json.loads(json.dumps(bench_fleets([fleet], repeats=1)))
    assert set(report["fleets"]) == {"8x50ms-1-slow"}
    (run,) = report["runs"]["8x50ms-1-slow"]
    assert run["tasks"] == 160
    assert run["ideal_s"] == pytest.approx(160 / (7 * 20 + 5))
    assert run["efficiency"] == pytest.approx(run["ideal_s"] / run["makespan_s"])
    assert 0.5 < run["efficiency"] <= 1.02
    assert run["client_cores"] < 1
    assert run["client_ms_per_task"] == pytest.approx(1000 * run["client_cores"] * run["makespan_s"] / 160)
    assert run["ratio_to_echo"] == pytest.approx(run["client_ms_per_task"] / run["echo_ms_per_task"])
    assert 0 < run["ratio_to_echo"] < 5
