"""The network that a pruning starts from: a subnet as a supernet of one architecture, with batch norms."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ofa_nas.data import DataSet
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.adapting.transfer_source import SourceSubnet
from ofa_nas.pruning.channels import cut_channels, narrow_space
from ofa_nas.supernet.supernet import Subnet, Supernet, initialise
from ofa_nas.supernet.unfold import unfold


def check_known_classes(source: SourceSubnet, data: DataSet) -> None:
    """Refuse images of other classes than those that the subnet knows.

    Raises:
        ConfigError: Says which, and what teaches it others.
    """
    if source.class_names != data.class_names:
        raise ConfigError(
            f"--data {data.name}: {len(data.class_names)} classes, {data.class_names[0]} first; the subnet "
            f"knows {len(source.class_names)}, {source.class_names[0]} first; ofa-nas transfer teaches it "
            "another task"
        )


def dense_supernet(source: SourceSubnet, batches: Iterable[Tensor]) -> Supernet:
    """A supernet of the subnet's architecture alone, which computes what the subnet does.

    Args:
        source: With its batch norms, or folded.
        batches: Images `(B, 3, R, R)`, of whose statistics batch norms are made where they were folded.

    Raises:
        CheckpointError: A weight of a file is missing, of another shape, or not finite.
    """
    space = replace(source.space.only(source.arch), folded=False)
    dense = Supernet(space)
    if source.subnet is None or source.space.folded:
        layers = list(source.space.layers(source.arch))
        unfold(dense, source.weights, layers, batches=batches, where=source.name)
    else:
        _take_over(dense, source.subnet)
    return dense


def _take_over(dense: Supernet, subnet: Subnet) -> None:
    modules = zip(dense.weighted_operators(), subnet.weighted_operators(), strict=True)
    for (_, _, own), (_, _, other) in modules:
        own.load_state_dict(other.state_dict())


def cut_supernet(dense: Supernet, *, keep: float) -> Supernet:
    """A supernet of the same architecture with a share of the middle channels, the most important ones.

    Raises:
        ConfigError: The share is none, or nothing would be cut.
    """
    return cut_channels(dense, narrow_space(dense.space, dense.space.largest, keep=keep))


def redraw(supernet: Supernet, *, seed: int) -> None:
    """Forget all weights and draw others."""
    fresh = Supernet(supernet.space)
    initialise(fresh, torch.Generator().manual_seed(seed))
    supernet.load_state_dict(fresh.state_dict())
