"""Sort the middle channels of every block by importance, so that a narrow subnet keeps the best ones."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ofa_nas.space.architecture import Block
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import ElasticConvolution
from ofa_nas.supernet.supernet import Supernet

# Operators of an inverted residual that make the middle channels, and those that read them.
_MAKERS = ("expand", "depthwise", "se_expand")
_READERS = ("project", "se_reduce")
# The same of the narrow layer in a squeeze-excite.
_SQUEEZED_MAKERS, _SQUEEZED_READERS = ("se_reduce",), ("se_expand",)


def sort_channels(supernet: Supernet, *, kept: SearchSpace | None = None) -> None:
    """Reorder middle channels by falling L1 norm of the projection's weights that read them.

    So are those in the middle of a squeeze-excite, unless a narrower layer is to stay as it is. The largest
    subnet computes the same function as before; narrower ones change.

    Args:
        supernet: Changed in place.
        kept: A part of its space whose subnets are to stay as they are, too: channels change places only
            within the groups by which one of its expand ratios exceeds the next smaller one.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.3 (elastic width).
    """
    groups = {} if kept is None else _narrower_layers(kept)
    with torch.no_grad():
        for layer in supernet.walk:
            operators = {operator.name: operator for operator in lower(layer)}
            if "expand" not in operators:
                continue
            modules: dict[str, ElasticConvolution] = {}
            for name, operator in operators.items():
                if isinstance(operator, Convolution):
                    module = supernet.weighted(layer, operator)
                    assert isinstance(module, ElasticConvolution)
                    modules[name] = module
            importance = l1_importance(modules["project"].weight)
            narrower = groups.get(layer.name, [])
            bounds = [0, *(one.mid_channels for one in narrower), layer.mid_channels]
            parts = [
                start + torch.argsort(importance[start:stop], descending=True, stable=True)
                for start, stop in pairwise(bounds)
            ]
            if any("expand" not in {operator.name for operator in lower(one)} for one in narrower):
                # These are the channels of the input, in its order.
                parts[0] = torch.arange(bounds[1], device=importance.device)
            order = torch.cat(parts)
            _permute(modules, order, makers=_MAKERS, readers=_READERS)
            if layer.name not in groups and "se_expand" in modules:
                order = torch.argsort(
                    l1_importance(modules["se_expand"].weight), descending=True, stable=True
                )
                _permute(modules, order, makers=_SQUEEZED_MAKERS, readers=_SQUEEZED_READERS)


def l1_importance(weight: Tensor) -> Tensor:
    """How much each input channel of a convolution counts: the L1 norm of what reads it.

    Args:
        weight: `(C_out, C, k, k)`.

    Returns:
        `(C,)`.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.3; Li et al. 2017, arXiv:1608.08710, section 3.1
    (L1 norms, there of the filters that make the channel).
    """
    return weight.abs().sum(dim=(0, 2, 3))


def _narrower_layers(space: SearchSpace) -> dict[str, list[Layer]]:
    """Every layer with fewer middle channels, one for each smaller expand ratio, rising, by its name."""
    narrower: dict[str, list[Layer]] = {}
    for turn in range(1, max(len(stage.expand_ratios) for stage in space.stages)):
        stages = tuple(
            (Block(stage.kernel_sizes[-1], stage.expand_ratios[-1 - turn]),) * stage.depths[-1]
            if turn < len(stage.expand_ratios)
            else blocks
            for stage, blocks in zip(space.stages, space.largest.stages, strict=True)
        )
        for layer, largest in zip(
            space.layers(replace(space.largest, stages=stages)), space.layers(space.largest), strict=True
        ):
            if layer.mid_channels < largest.mid_channels:
                narrower.setdefault(layer.name, []).insert(0, layer)
    return narrower


def _permute(
    modules: dict[str, ElasticConvolution],
    order: Tensor,
    *,
    makers: tuple[str, ...],
    readers: tuple[str, ...],
) -> None:
    for name in makers:
        if name in modules:
            module = modules[name]
            module.weight.copy_(module.weight[order])
            if module.bias is not None:
                module.bias.copy_(module.bias[order])
            if module.bn is not None:
                for value in module.bn.state_dict().values():
                    if value.ndim:
                        value.copy_(value[order])
    for name in readers:
        if name in modules:
            modules[name].weight.copy_(modules[name].weight[:, order])
