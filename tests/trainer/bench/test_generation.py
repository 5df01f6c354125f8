"""The figures of the client of `metasim generate`."""

import json

import pytest

from trainer.bench.generation import bench_generation


def test_figures_are_ratios_of_one_run() -> None:
    report = json.loads(json.dumps(bench_generation(frames=300, workers=2, repeats=1)))
    client, workers = report["runs"]
    assert [client["workers_encode"], workers["workers_encode"]] == [False, True]
    assert report["ratio"] == pytest.approx(workers["frames_per_core_s"] / client["frames_per_core_s"])
    for run in report["runs"]:
        assert run["frames"] == 300
        assert run["frames_per_core_s"] * run["client_cores"] == pytest.approx(run["frames_per_s"])
