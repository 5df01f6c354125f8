"""The interface of datasets of all formats, and the reading of their text files."""

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from trainer.datasets.example import Example
from trainer.errors import InputError

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class ImageDataset(ABC):
    """Images 0 to len - 1 in the order of their names. Each is read on access.

    Attributes:
        folder: the dataset's folder.
        classes: names of its classes in order; empty without labels.
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
        """Return an image with its labels.

        Raises:
            InputError: one of its files is missing or damaged; the text names it.
        """

    def image_path(self, index: int) -> Path | None:
        """Return the file of an image; None: its file holds several images."""
        del index
        return None

    def __iter__(self) -> Iterator[Example]:
        return (self.example(index) for index in range(len(self)))


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 file, or of a UTF-16 one with a byte-order mark.

    Raises:
        InputError: the file cannot be read, or has another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    return parse_json(read_text(path), f"{path} is not a JSON file")


def parse_json(text: str | bytes, problem: str) -> Any:
    """Return the content of a JSON text.

    Args:
        problem: the start of the error message.

    Raises:
        InputError: the text is not JSON, or its lists are nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{problem}: it is nested too deep") from None
    except ValueError as error:
        raise InputError(f"{problem}: {error}") from error
