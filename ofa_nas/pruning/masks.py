"""Masks of the weights that are left, for any torch module, and the rule that prunes more of them."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn

Scope = Literal["global", "layer"]
Masks = Mapping[str, Tensor]  # name of a parameter: bool of its shape, True where a weight is left


def full_masks(module: nn.Module) -> dict[str, Tensor]:
    """Masks that keep everything: of convolutions and fully connected layers, neither biases nor norms."""
    return {
        name: torch.ones_like(value, dtype=torch.bool)
        for name, value in module.named_parameters()
        if value.ndim > 1
    }


def prune_smallest(
    weights: Mapping[str, Tensor], masks: Masks, *, share: float, scope: Scope, halved: frozenset[str]
) -> dict[str, Tensor]:
    """Prune ceil(share x remaining) of the weights that are left, those of the least magnitude.

    Of equal magnitudes the first ones go, so that the count is exact.

    Args:
        weights: Trained; at least those of the masks.
        masks: What is left of them.
        share: Of the weights that are left, in (0, 1).
        scope: `global`: one ranking of all weights. `layer`: each layer loses the same share.
        halved: Layers that lose half the share, by scope `layer`.

    Returns:
        Masks with fewer weights left; nothing that was pruned comes back.

    Source: Frankle and Carbin 2019, arXiv:1803.03635, section 2 (by layer, the output at half
    the rate); open_lth, `pruning/sparse_global.py` (global, ceil).
    """
    groups = [tuple(masks)] if scope == "global" else [(name,) for name in masks]
    pruned: dict[str, Tensor] = {}
    for names in groups:
        own = share / 2.0 if scope == "layer" and names[0] in halved else share
        kept = torch.cat([masks[name].flatten() for name in names])
        magnitudes = torch.cat([weights[name].detach().flatten().abs() for name in names])
        order = torch.argsort(magnitudes.masked_fill(~kept, math.inf), stable=True)
        kept[order[: prune_count(int(kept.sum()), own)]] = False
        sizes = [masks[name].numel() for name in names]
        for name, part in zip(names, torch.split(kept, sizes), strict=True):
            pruned[name] = part.view(masks[name].shape)
    return pruned


def prune_count(remaining: int, share: float) -> int:
    """Ceil(share x remaining), of the share as it is written: 0.2 is a fifth, and not a little more."""
    return math.ceil(Fraction(str(share)) * remaining)


def remaining(masks: Masks) -> int:
    """How many weights are left."""
    return sum(int(mask.sum()) for mask in masks.values())


def weight_count(masks: Masks) -> int:
    """How many weights there were."""
    return sum(mask.numel() for mask in masks.values())


def zero_pruned(module: nn.Module, masks: Masks) -> None:
    """Set the weights that are not left to 0."""
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(name).masked_fill_(~mask, 0.0)


@contextmanager
def pruned(module: nn.Module, masks: Masks) -> Iterator[None]:
    """Set pruned weights to 0, and keep them there while the module is trained in this block.

    Their gradients are 0. An optimiser that begins in the block, and moves a weight by its gradients and in
    proportion to itself (SGD with momentum and weight decay, Adam), then leaves them exactly 0.
    """
    zero_pruned(module, masks)
    handles = [
        module.get_parameter(name).register_hook(_Without(~mask))  # type: ignore[no-untyped-call]
        for name, mask in masks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Without:
    """A hook that makes the gradients of pruned weights 0."""

    def __init__(self, pruned: Tensor) -> None:
        self.pruned = pruned

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient.masked_fill(self.pruned, 0.0)
