"""The context manager base of all dataset writers."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class CloseOrAbort(ABC):
    """A context manager that completes its work, or aborts it on an exception."""

    @abstractmethod
    def close(self) -> None:
        """Complete the work."""

    @abstractmethod
    def abort(self) -> None:
        """End without completing the work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
