"""Replacement of engine processes that are due for recycling or have ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from render_server.errors import EngineUnavailable, RenderServerError
from render_server.processes.engine_process import EngineProcess, ProcessLost

#: Failed starts in a row after which the worker gives up.
MAX_FAILED_STARTS = 3

#: Pause after a failed start while the process to be recycled still works.
_RETRY_EVERY_S = 60.0

_log = logging.getLogger(__name__)


class ProcessReplacement:
    """Starts the processes that take the place of others.

    Args:
        start: starts a process and waits until it is warm.
    """

    def __init__(self, start: Callable[[], Awaitable[EngineProcess]]) -> None:
        self._start = start
        self._one_at_a_time = asyncio.Semaphore(1)  # At most one process beyond the configured number.

    async def prepare(self, process: EngineProcess) -> EngineProcess:
        """Wait until a process is due for recycling, warm up its replacement, then retire it.

        Returns:
            The replacement. The retired process ends after its last job.
        """
        await process.recycle.wait()
        while True:
            async with self._one_at_a_time:
                try:
                    replacement = await self._start()
                    break
                except (ProcessLost, EngineUnavailable) as error:
                    _log.error("process %d is not replaced yet: %s", process.pid, error)
            await asyncio.sleep(_RETRY_EVERY_S)
        process.retiring = True
        if not process.jobs:
            process.kill("retired")
        return replacement

    async def after(self, ended: EngineProcess, prepared: asyncio.Task[EngineProcess]) -> EngineProcess:
        """Return the process that follows one that has ended: its prepared replacement, or a new one.

        Args:
            prepared: the `prepare` of the process that has ended.

        Raises:
            RenderServerError: no process starts any more.
        """
        if not ended.retiring:
            prepared.cancel()
        (outcome,) = await asyncio.gather(prepared, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            return outcome
        last: RenderServerError | None = None
        for remaining in reversed(range(MAX_FAILED_STARTS)):
            try:
                return await self._start()
            except (ProcessLost, EngineUnavailable) as error:
                last = error
                _log.error("%s; %d more tries", error, remaining)
        raise RenderServerError(f"engine processes failed to start {MAX_FAILED_STARTS} times in a row, last: {last}")
