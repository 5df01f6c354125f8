"""The device that a network runs on."""

from typing import Literal, get_args

import torch

from trainer.errors import InputError

#: auto: CUDA where there is a GPU, else Apple's Metal (mps), else the CPU.
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def open_device(name: str) -> str:
    """Return the name of the device in torch: cpu, cuda or mps.

    Raises:
        InputError: the name is unknown, or this machine or this build of torch lacks the device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, present in available.items() if present)
    if name not in available:
        raise InputError(f"device {name!r} is unknown; allowed: {', '.join(get_args(DeviceName))}")
    if not available[name]:
        raise InputError(f"torch {torch.__version__} finds no {name} device here; use --device cpu or auto")
    return name
