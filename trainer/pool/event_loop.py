"""The event loop that all pools of this process share."""

import asyncio
import functools
import threading

_THREAD = "metasim-render-pool"


@functools.cache
def shared_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that runs in a thread of its own until the process ends.

    All pools share it, because gRPC delivers the events of every loop to whichever loop polls first, and loses those of
    a closed loop. The thread is a daemon, so it never keeps the process alive.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run, args=(loop,), name=_THREAD, daemon=True).start()
    return loop


def shared_loop_is_inherited() -> bool:
    """Return whether this process is a fork of one that has used a pool: it has the loop, and not its thread."""
    names = {thread.name for thread in threading.enumerate()}
    return shared_loop.cache_info().currsize > 0 and _THREAD not in names


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
