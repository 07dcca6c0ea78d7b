"""Pretrained static networks that a supernet can start from: one file each.

A module holds `SPACE`, the search space whose largest widths, depths and kernels contain the network,
`INPUT_MEAN` and `INPUT_STD`, and `tensors()`, the network's weights under the supernet's names. It may
lack `CLASSES`, the names of its classes in the order of the outputs, which else are ImageNet's, and
`LICENCE`, the terms of the weights.
"""

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

ATTRIBUTES = ("SPACE", "INPUT_MEAN", "INPUT_STD", "tensors")


class PretrainedNetwork(Protocol):
    """What a module of this folder holds.

    Attributes:
        SPACE: Search space, by name or TOML file.
        INPUT_MEAN: Per RGB channel, subtracted from pixels in [0, 255].
        INPUT_STD: Per RGB channel, by which that is divided.
    """

    SPACE: str
    INPUT_MEAN: tuple[float, float, float]
    INPUT_STD: tuple[float, float, float]

    def tensors(self) -> "dict[str, Tensor]":
        """Weights and batch norm statistics under the supernet's names, kernels as the network has them."""
        ...


@lru_cache(maxsize=1)
def imagenet_class_ids() -> tuple[str, ...]:
    """The 1,000 WordNet ids of ImageNet's classes, in the order of a classifier's outputs."""
    return tuple((files(__package__) / "imagenet_wnids.txt").read_text().split())
