"""The one event loop that all pools of this process share."""

import asyncio
import functools
import threading


@functools.cache
def shared_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread of its own until the process ends.

    One for all pools, because gRPC hands the events of every loop to whichever loop looks first, and loses those of a
    loop that has been closed. The thread is a daemon: it never keeps the process alive.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run, args=(loop,), name="metasim-render-pool", daemon=True).start()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
