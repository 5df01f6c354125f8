"""Files of weights that torchvision publishes: their place in torch's cache, and error texts for unreadable files."""

import pickle
from pathlib import Path

import torch

#: Exceptions raised when a file of weights is truncated or holds something else.
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)


def cached(url: str) -> Path:
    """Return the path in torch's cache (TORCH_HOME, else ~/.cache/torch) of a file published at a URL."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def one_line(error: Exception) -> str:
    """Return the start of an error's text as one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
