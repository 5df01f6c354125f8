"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):
    """Advances `now_s` by the time that it is asked to wait."""

    now_s = 1000.0

    def select(self, timeout: float | None = None) -> list:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("the scenario waits for something that can never happen")
        if not events and timeout:
            self.now_s += timeout
        return events


class FakeClockLoop(asyncio.SelectorEventLoop):
    """Its time passes only while nothing else happens."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s


def run_with_fake_clock(scenario: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end; sleeping costs no time."""
    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        return runner.run(scenario)
