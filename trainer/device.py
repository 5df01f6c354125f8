"""The device that networks run on.

Networks, their losses and MMD run on it. Random numbers come from generators of the CPU, and statistics in float64 are
computed on the CPU, so a device changes the rounding of float32 and nothing else.
"""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

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


def device_of(space: object) -> torch.device:
    """Return the device of a module; the CPU for what has no parameters."""
    parameter = next(space.parameters(), None) if isinstance(space, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def upload(values: np.ndarray | Tensor, device: str | torch.device) -> Tensor:
    """Return values on a device. The copy to CUDA goes through pinned memory, and the CPU does not wait for it."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
