"""What all tests need."""

import os
import signal

# Two threads of PyTorch on cores that other tests' workers share take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background, Python and its children would ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
