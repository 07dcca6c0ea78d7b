"""What depends on the device that trains: in which numbers it computes, and how values come to it."""

import torch
from torch import Tensor

_FIRST_WITH_BFLOAT16 = 8  # compute capability; on older devices torch only emulates it


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware, and training gains by it.

    CPUs do not: where they have it, float32 in channels last was as fast.
    """
    if device.type != "cuda":
        return False
    if torch.version.hip is not None:
        return True
    return bool(torch.cuda.get_device_properties(device).major >= _FIRST_WITH_BFLOAT16)


def autocast_on(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes it, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device))


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values of the host on a device, without a wait for what the device still has to do."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
