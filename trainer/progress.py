"""What a long piece of work says while it runs."""

from collections.abc import Callable
from typing import Protocol

#: Called as advance(done, of).
Advance = Callable[[int, int], None]


def ignore(done: int, of: int) -> None:
    """An Advance that says nothing."""


class Progress(Protocol):
    """Takes the news of a run; the command line shows them, tests collect them."""

    def note(self, text: str) -> None:
        """Something that the user should read, in one line."""
        ...

    def stage(self, name: str) -> Advance:
        """A new stage begins; the one before has ended. Returns what to call as it goes on."""
        ...

    def figures(self, **figures: float) -> None:
        """The latest figures of the running stage, to be shown beside its bar."""
        ...

    def stop(self) -> None:
        """The last stage has ended."""
        ...


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def stage(self, name: str) -> Advance:
        """Nothing."""
        del name
        return ignore

    def figures(self, **figures: float) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""
