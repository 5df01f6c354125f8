"""Settings of the whole suite."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Two threads of PyTorch on cores that other tests' workers share take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background, Python and its children would ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No property depends on how fast the machine is, or on what else runs there.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

#: Processes of `-n auto`: each holds PyTorch and Blender, and tests start workers of their own.
MOST_PROCESSES = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return a process per core that this one may use, or PYTEST_XDIST_AUTO_NUM_WORKERS."""
    stated = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    return int(stated) if stated else min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
