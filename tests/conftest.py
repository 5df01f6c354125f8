"""What all tests need."""

import os
import signal

from hypothesis import HealthCheck, settings

# Two threads of PyTorch on cores that other tests' workers share take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background, Python and its children would ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No property depends on how fast the machine is, or on what else runs there.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
