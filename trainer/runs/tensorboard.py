"""Metrics, attributes and pictures of a run as TensorBoard events."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from trainer.metrics.attributes import AttributeStatistics


class EventLog:
    """Writes an events file into a folder; `tensorboard --logdir FOLDER` shows it. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder))

    def epoch(
        self, metrics: Mapping[str, Any], attributes: Sequence[AttributeStatistics], sheet: Image.Image | None = None
    ) -> None:
        """Write the records of an epoch.

        Args:
            metrics: a record of metrics.jsonl. `epoch` is the step; every other number becomes a scalar, and numbers
                of a mapping a group of scalars.
            attributes: the learned ones; each becomes a histogram, a mean and a standard deviation.
            sheet: the picture of the epoch.
        """
        step = int(metrics["epoch"])
        for tag, value in _scalars(metrics):
            self._writer.add_scalar(tag, value, step)
        for item in attributes:
            tag = f"{item.kind}.{item.name}"
            self._writer.add_histogram(f"attributes/{tag}", np.asarray(item.values), step)
            self._writer.add_scalar(f"mean/{tag}", item.mean, step)
            self._writer.add_scalar(f"std/{tag}", item.std, step)
        if sheet is not None:
            self._writer.add_image("samples", np.asarray(sheet.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the file. Nothing can be written afterwards."""
        self._writer.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scalars(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return tags and values of all numbers; numbers outside of mappings are under `training/`."""
    scalars: list[tuple[str, float]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            scalars += [(f"{name}/{key}", float(part)) for key, part in value.items()]
        elif name != "epoch" and isinstance(value, int | float):
            scalars.append((f"training/{name}", float(value)))
    return scalars
