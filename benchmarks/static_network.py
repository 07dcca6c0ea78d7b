"""One architecture of a space as plain torch modules: what an elastic step is measured against."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.operators import Convolution, Elementwise, Linear, Operator, Pool
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Subnet

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
    "hard_sigmoid": nn.Hardsigmoid,
}


class StaticBlock(nn.Module):
    """One layer: a chain of modules, a gate over its middle, a shortcut around it; each may be absent."""

    def __init__(self, operators: Sequence[Operator], *, bn_epsilon: float) -> None:
        super().__init__()
        names = [operator.name for operator in operators]
        self.is_residual = "add" in names
        gated = names.index("se_scale") if "se_scale" in names else None
        chain = [operator for operator in operators if operator.name not in ("add", "se_scale")]
        gate = [operator for operator in chain if operator.name.startswith("se_")]
        start = len(chain) if gated is None else chain.index(gate[0])
        self.before = _sequence(chain[:start], bn_epsilon)
        self.gate = _sequence(gate, bn_epsilon) if gate else None
        self.after = _sequence(chain[start + len(gate) :], bn_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Run on `(B, C, H, W)`."""
        y = self.before(x)
        if self.gate is not None:
            y = y * self.gate(y)
        y = self.after(y)
        result: Tensor = x + y if self.is_residual else y
        return result


class StaticNetwork(nn.Module):
    """The network of one architecture, its parameters its own, as anybody would write it in torch.

    Args:
        space: Where the architecture comes from.
        arch: The network.
        dropout: Rate before the classifier.
    """

    def __init__(self, space: SearchSpace, arch: Architecture, *, dropout: float = 0.0) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for layer in space.layers(arch):
            if layer.kind == "linear" and dropout > 0.0:
                blocks.append(nn.Dropout(dropout))
            blocks.append(StaticBlock(lower(layer), bn_epsilon=space.bn_epsilon))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, 3, R, R)`."""
        logits: Tensor = self.blocks(x)
        return logits

    def copy_weights(self, subnet: Subnet) -> None:
        """Take over the weights of an extracted subnet of the same architecture."""
        own, theirs = list(_tensors(self)), list(_tensors(subnet))
        with torch.no_grad():
            for target, source in zip(own, theirs, strict=True):
                target.copy_(source)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, module by module in the order of execution."""
    for module in network.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)


def _sequence(operators: Sequence[Operator], bn_epsilon: float) -> nn.Sequential:
    modules: list[nn.Module] = []
    for operator in operators:
        modules.extend(_modules(operator, bn_epsilon))
    return nn.Sequential(*modules)


def _modules(operator: Operator, bn_epsilon: float) -> Iterator[nn.Module]:
    match operator:
        case Convolution():
            before, after = operator.pad
            if before != after:
                yield nn.ZeroPad2d((before, after, before, after))
            yield nn.Conv2d(
                operator.in_channels,
                operator.out_channels,
                operator.kernel_size,
                operator.stride,
                before if before == after else 0,
                groups=operator.groups,
                bias=operator.bias,
            )
            if operator.norm:
                yield nn.BatchNorm2d(operator.out_channels, eps=bn_epsilon)
        case Linear():
            yield nn.Flatten()
            yield nn.Linear(operator.in_channels, operator.out_channels)
        case Pool():
            yield nn.AdaptiveAvgPool2d(1)
        case Elementwise():
            # ReLUs may overwrite the batch norm's output; torch's hard swish needs its input afterwards.
            is_inplace = operator.function in ("relu", "relu6")
            yield _ACTIVATIONS[operator.function](inplace=is_inplace)
