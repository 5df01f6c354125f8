"""What all tests need."""

import signal

# Started in the background, Python and its children would ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
