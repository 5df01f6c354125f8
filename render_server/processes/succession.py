"""Processes that take the place of those that are worn or have gone."""

import asyncio
import logging

from render_server.errors import EngineUnavailable, RenderServerError
from render_server.processes.engine_process import EngineProcess, EngineSettings, ProcessLost

#: Starts in a row that may fail before the worker gives itself up.
MAX_FAILED_STARTS = 3

#: How long after a failed start a worn process, which still works, is relieved again.
_RELIEF_EVERY_S = 60.0

_log = logging.getLogger(__name__)


class Succession:
    """Starts successors.

    Args:
        settings: what they run.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._one_relief = asyncio.Semaphore(1)  # So that there is one process too many at most.

    async def relieve(self, worn: EngineProcess) -> EngineProcess:
        """Waits until a process is worn, warms another one up meanwhile, and lets the first end after its last job."""
        await worn.worn.wait()
        while True:
            async with self._one_relief:
                try:
                    fresh = await EngineProcess.start(self._settings)
                    break
                except (ProcessLost, EngineUnavailable) as error:
                    _log.error("process %d is not replaced yet: %s", worn.pid, error)
            await asyncio.sleep(_RELIEF_EVERY_S)
        worn.retiring = True
        if not worn.jobs:
            worn.kill("retired")
        return fresh

    async def follow(self, gone: EngineProcess, relief: asyncio.Task[EngineProcess]) -> EngineProcess:
        """The successor of a process that has gone: the one that relieved it, or a new one.

        Args:
            relief: what `relieve` does about it.

        Raises:
            RenderServerError: no process starts any more.
        """
        if not gone.retiring:
            relief.cancel()
        (outcome,) = await asyncio.gather(relief, return_exceptions=True)
        if isinstance(outcome, EngineProcess):
            return outcome
        for remaining in reversed(range(MAX_FAILED_STARTS)):
            try:
                return await EngineProcess.start(self._settings)
            except (ProcessLost, EngineUnavailable) as error:
                _log.error("%s; %d more tries", error, remaining)
        raise RenderServerError(f"engine {self._settings.engine!r} did not start {MAX_FAILED_STARTS} times in a row")
