"""What datasets of all formats have in common."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from trainer.datasets.example import Example
from trainer.errors import InputError


class ImageDataset(ABC):
    """Images 0 .. len - 1, read when they are asked for, in the order of their names.

    Attributes:
        folder: where it lies.
        classes: names of the classes that its labels know, in their order; empty where it has no labels.
    """

    #: The format's name.
    kind: ClassVar[str]
    classes: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def example(self, index: int) -> Example:
        """An image with its labels.

        Raises:
            InputError: one of its files is missing or damaged; the text names it.
        """

    def __iter__(self) -> Iterator[Example]:
        return (self.example(index) for index in range(len(self)))


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}") from error
