"""Networks of random weights on which the memory of training is tried: ours, and as PyTorch comes."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ofa_nas.space.operators import extent
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import EVALUATE, TRAIN, ElasticConvolution
from ofa_nas.supernet.supernet import Subnet, place
from ofa_nas.transfer.methods import Method
from ofa_nas.transfer.network import TransferNetwork


def random_network(space: SearchSpace, method: Method, *, is_lean: bool) -> Subnet:
    """A network of a method with random weights.

    Args:
        space: Of one architecture, as `transfer_space` gives it.
        method: What is trained.
        is_lean: A `TransferNetwork`; else a plain subnet with its batch norms, the rest frozen by
            `requires_grad`.
    """
    network = TransferNetwork(space, method) if is_lean else _plain(space, method)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5, generator=generator)
    return place(network, torch.device("cpu"))


def forward_of(
    network: Subnet, space: SearchSpace, *, batch_size: int, is_lean: bool
) -> tuple[Callable[[], Tensor], Tensor]:
    """The forward pass of random images or signals, and random labels for it.

    A plain network that is trained as a whole normalises by the batch, as fine-tuning does; one of which some
    parameters are frozen, by its running statistics.
    """
    generator = torch.Generator().manual_seed(1)
    size = extent(space.largest.resolution, space.axes)
    x = torch.randn(batch_size, space.channels, *size, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(space.classes, (batch_size,), generator=generator)
    is_whole = all(value.requires_grad for value in network.parameters())
    mode = TRAIN if is_whole and not is_lean else EVALUATE
    return lambda: network(x, mode), labels


def _plain(space: SearchSpace, method: Method) -> Subnet:
    unfolded = replace(space, folded=False)
    network = Subnet(unfolded, unfolded.largest)
    for _, operator, module in network.weighted_operators():
        parts = method.parts(operator)
        _train(module.weight, is_trained=parts.weight)
        _train(module.bias, is_trained=parts.bias)
        if isinstance(module, ElasticConvolution) and module.bn is not None:
            _train(module.bn.weight, is_trained=parts.scale)
            _train(module.bn.bias, is_trained=parts.bias)
    return network


def _train(value: nn.Parameter | None, *, is_trained: bool) -> None:
    if value is not None:
        value.requires_grad = is_trained
