"""What the processes that train together do at once, and what it is when one of them has ended."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofa_nas.errors import LeftAloneError, TrainingError

_PLACE = re.compile(r"^\[\S+\] ")  # in the source of gloo or NCCL
_GONE = re.compile(  # as gloo, NCCL and the store of torchrun say it
    "connection|closed by peer|broken pipe|timed? ?out|failed to recv|remote process", re.IGNORECASE
)


@contextmanager
def together() -> Iterator[None]:
    """Do something that every process does.

    Raises:
        LeftAloneError: One of them ended instead.
        TrainingError: They cannot work together, as where two of them are to have one CUDA device.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        said = str(error).strip() or type(error).__name__
        if not _GONE.search(said):
            lines = said.splitlines()
            cause = " … ".join(f"{line:.300}" for line in dict.fromkeys([lines[0], lines[-1]]))
            raise TrainingError(f"the processes cannot train together: {cause}") from error
        reason = _PLACE.sub("", said).partition(". ")[0]
        raise LeftAloneError(f"another process of this training ended ({reason:.200})") from error


def sum_of_all(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes; so is its gradient.

    Raises:
        LeftAloneError: One of them ended; also from the backward pass.
    """
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """What `torch.distributed.nn.functional.all_reduce` was before torch 2.13 began to warn of it."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return _add_up(value)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _add_up(gradient)


def _add_up(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    with together():
        dist.all_reduce(total)
    return total
