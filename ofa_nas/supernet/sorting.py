"""Sort the middle channels of every block by importance, so that a narrow subnet keeps the best ones."""

import torch
from torch import Tensor

from ofa_nas.space.blocks import lower
from ofa_nas.space.operators import Convolution
from ofa_nas.supernet.elastic import ElasticConvolution
from ofa_nas.supernet.supernet import Supernet

# Operators of an inverted residual that make the middle channels, and those that read them.
_MAKERS = ("expand", "depthwise", "se_expand")
_READERS = ("project", "se_reduce")


def sort_channels(supernet: Supernet) -> None:
    """Reorder middle channels by falling L1 norm of the projection's weights that read them.

    The largest subnet computes the same function as before; narrower ones change.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.3 (elastic width).
    """
    with torch.no_grad():
        for layer in supernet.space.layers(supernet.space.largest):
            operators = {operator.name: operator for operator in lower(layer)}
            if "expand" not in operators:
                continue
            modules: dict[str, ElasticConvolution] = {}
            for name, operator in operators.items():
                if isinstance(operator, Convolution):
                    module = supernet.weighted(layer, operator)
                    assert isinstance(module, ElasticConvolution)
                    modules[name] = module
            importance = modules["project"].weight.abs().sum(dim=(0, 2, 3))
            order = torch.argsort(importance, descending=True, stable=True)
            _permute(modules, order)


def _permute(modules: dict[str, ElasticConvolution], order: Tensor) -> None:
    for name in _MAKERS:
        if name in modules:
            module = modules[name]
            module.weight.copy_(module.weight[order])
            if module.bias is not None:
                module.bias.copy_(module.bias[order])
            if module.bn is not None:
                for value in module.bn.state_dict().values():
                    if value.ndim:
                        value.copy_(value[order])
    for name in _READERS:
        if name in modules:
            modules[name].weight.copy_(modules[name].weight[:, order])
