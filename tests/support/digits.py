"""A small stand-in for MNIST, made here: its four files with random patterns."""

from pathlib import Path

import numpy as np

from trainer.assets.idx import write_idx
from trainer.assets.mnist import CHECKSUMS


def write_digits(folder: Path, count: int = 60) -> Path:
    """Four idx files under MNIST's names; `count` images in each part, labelled 0 to 9 in turn."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in CHECKSUMS:
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        images[:, 8:20, 10:16] = rng.integers(100, 256, (count, 12, 6))
        write_idx(folder / name.removesuffix(".gz"), images if "images" in name else labels)
    return folder
