"""Weights that torchvision publishes, as files: where torch keeps them, and what is said of unreadable ones."""

import pickle
from pathlib import Path

import torch

#: What loading a file of weights may raise where it is torn or holds something else.
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)


def cached(url: str) -> Path:
    """Where torch's cache (TORCH_HOME, else ~/.cache/torch) keeps what is published there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def one_line(error: Exception) -> str:
    """The start of an error's text as one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
