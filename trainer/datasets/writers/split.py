"""A dataset of several splits: a folder with one dataset per split, and a common card."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.writer import named_folder
from trainer.errors import InputError

#: Ultralytics' names of the splits.
_YOLO = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class SplitFolder:
    """`NAME.partial` with a folder for each split; it becomes `NAME` when `complete` is called."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        """
        Raises:
            InputError: the folder exists, or has an unfinished export beside it and `resume` is not given.
        """
        named_folder(folder)
        self._folder = folder
        self._partial = folder.with_name(f"{folder.name}.partial")
        if self._partial.exists() and not resume:
            raise InputError(
                f"{self._partial} is an unfinished export; "
                "add --resume to continue it, remove it, or choose another folder"
            )
        self._partial.mkdir(parents=True, exist_ok=True)

    def folder_of(self, split: str) -> Path:
        """Return the folder in which a split's dataset is made."""
        return self._partial / split

    def complete(self, card: DatasetCard, counts: Mapping[str, int], format_name: str) -> None:
        """Write the common card, and rename the dataset to its final name.

        Args:
            counts: number of images of each split, in order.
        """
        (self._partial / "README.md").write_text(card.overview(counts, format_name), encoding="utf-8")
        if format_name.startswith("yolo"):
            first = next(iter(counts))
            names = (self._partial / first / "data.yaml").read_text(encoding="utf-8").partition("names:")[2]
            paths = {_YOLO.get(split, split): f"{split}/images/train" for split in counts}
            paths.setdefault("train", f"{first}/images/train")
            paths.setdefault("val", paths["train"])
            lines = "".join(f"{name}: {path}\n" for name, path in paths.items())
            text = f"# Paths are relative to this file.\n{lines}names:{names}"
            (self._partial / "data.yaml").write_text(text, encoding="utf-8")
        named_folder(self._folder)
        self._partial.rename(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(OSError):  # It holds a split, which --resume continues.
                self._partial.rmdir()
