"""Processes that train one supernet together: `torchrun` starts them; gradients are averaged once a step."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ofa_nas.errors import ConfigError
from ofa_nas.supernet.processes import together

# The first process decodes images and evaluates alone while the others wait.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: From 0; the first one reports and writes files.
        count: Of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes files."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of a batch; `check` has seen that all parts are equal."""
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def check(self, batch_size: int) -> None:
        """Refuse a batch that cannot be divided.

        Raises:
            ConfigError: Parts would differ, or be too small for batch norm.
        """
        if batch_size % self.count or batch_size // self.count < 2:
            raise ConfigError(
                f"--batch-size {batch_size}: {self.count} processes share it equally, 2 images or more each"
            )

    def wait(self) -> None:
        """Return when every process has come here.

        Raises:
            LeftAloneError: One of them ended instead.
        """
        self.agree(asks=False)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Do something in the first process, and in the others when it has succeeded.

        So what the first one refuses is told once.

        Raises:
            LeftAloneError: Another process ended.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def agree(self, asks: bool) -> bool:
        """Whether any process asks for something; all of them say so at the same moment.

        They agree on the host: who waits for a CUDA device cannot be told anything, not even that another one
        ended.

        Raises:
            LeftAloneError: Another process ended.
        """
        if self.count == 1:
            return asks
        asked = torch.tensor(int(asks))
        with together():
            dist.all_reduce(asked)
        return bool(asked)

    def copy_first(self, module: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.count > 1:
            with together():
                for value in module.state_dict().values():
                    dist.broadcast(value, 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes, in one reduction."""
        if self.count > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self._average(flat)
            means = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def average(self, value: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.count > 1:
            value = value.clone()
            self._average(value)
        return value

    def _average(self, value: Tensor) -> None:
        with together():
            dist.all_reduce(value)
        value.div_(self.count)


ALONE = Ranks()


def join_ranks(device: torch.device) -> Ranks:
    """Join the processes that `torchrun` started; alone where it did not.

    Args:
        device: Of this process: NCCL joins CUDA devices, gloo CPUs and hosts.

    Raises:
        LeftAloneError: One of them ended instead.
        TrainingError: They cannot work together.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    with together():
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("cpu:gloo,cuda:nccl", timeout=_PATIENCE, device_id=device)
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave_ranks() -> None:
    """Leave the processes joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def local_rank() -> int:
    """Number of this process on its machine, 0 when it is alone."""
    return int(os.environ.get("LOCAL_RANK", "0"))
