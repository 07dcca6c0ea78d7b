"""The training memory of every method for one subnet: by the account of the literature, and as measured."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ofa_nas.errors import ConfigError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.transfer.account import account
from ofa_nas.transfer.growth import Growth, training_growth
from ofa_nas.transfer.kept import kept_bytes
from ofa_nas.transfer.methods import METHODS, Method
from ofa_nas.transfer.network import transfer_space
from ofa_nas.transfer.random_network import forward_of, random_network

_TORCH_OVER_ACCOUNT = 1.5  # how many times the account PyTorch may take, and some room


@dataclass(frozen=True, slots=True)
class MethodMemory:
    """Training memory of one method [bytes].

    Attributes:
        method: Its name.
        batch_size: Images a step.
        account: By the paper's account, of the network with lite residual modules.
        kept: For the backward pass, by our functions.
        kept_by_torch: The same as PyTorch comes.
        growth: Of a process that trains with our functions; None where the system does not tell.
        growth_by_torch: The same as PyTorch comes.
    """

    method: str
    batch_size: int
    account: float
    kept: int
    kept_by_torch: int
    growth: Growth | None
    growth_by_torch: Growth | None


def method_memories(
    space: SearchSpace, arch: Architecture, *, methods: tuple[str, ...], batch_size: int
) -> Iterator[MethodMemory]:
    """Account and measure, method by method, with random weights and images.

    Args:
        space: Of the subnet, with the classes of the task.
        arch: The subnet.
        methods: Keys of `METHODS`.
        batch_size: Images a step.

    Raises:
        ConfigError: This machine could not hold such a batch.
        OfaNasError: A process that trains failed.
    """
    literature = replace(space.only(arch), lite=True, folded=False)
    layers = list(literature.layers(literature.largest))
    _check_memory(account(layers, METHODS["full"]).total(batch_size), batch_size=batch_size)
    for method in map(METHODS.__getitem__, methods):
        own = transfer_space(space, arch, classes=space.classes, method=method)
        growth, growth_by_torch = (
            training_growth(own, method, batch_size=batch_size, is_lean=is_lean) for is_lean in (True, False)
        )
        yield MethodMemory(
            method=method.name,
            batch_size=batch_size,
            account=account(layers, method).total(batch_size),
            kept=_kept(own, method, batch_size=batch_size, is_lean=True),
            kept_by_torch=_kept(own, method, batch_size=batch_size, is_lean=False),
            growth=growth,
            growth_by_torch=growth_by_torch,
        )


def _check_memory(needed: float, *, batch_size: int) -> None:
    """Refuse a batch that would be killed, or bring the machine to a stand, instead of being measured."""
    if not hasattr(os, "sysconf"):
        return  # Windows does not tell
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available / _TORCH_OVER_ACCOUNT:
        raise ConfigError(
            f"--batch {batch_size}: it takes {needed / 1e9:.3g} GB by the account and more as measured; "
            f"this machine has {available / 1e9:.3g} GB; give a smaller batch"
        )


def _kept(space: SearchSpace, method: Method, *, batch_size: int, is_lean: bool) -> int:
    network = random_network(space, method, is_lean=is_lean)
    forward, _ = forward_of(network, space, batch_size=batch_size, is_lean=is_lean)
    return kept_bytes(network, forward)
