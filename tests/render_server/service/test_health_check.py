"""The health check that containers run."""

import subprocess
import sys

from support.servers import server

from render_server.service.health_check import problem


def test_a_ready_worker_is_healthy_and_a_stopped_one_is_not() -> None:
    with server("--engine", "fake", "--workers", "1") as worker:
        assert problem(worker.address, {}) is None
        assert worker.stop() == 0
        found = problem(worker.address, {})
        assert found is not None
        assert found.startswith(f"{worker.address}: UNAVAILABLE: ")


def test_it_ends_with_1_and_one_line() -> None:
    command = [sys.executable, "-m", "render_server.service.health_check", "127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("127.0.0.1:9: UNAVAILABLE: ")
    assert len(done.stderr.splitlines()) == 1
