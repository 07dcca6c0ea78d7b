"""Supernet and Subnet: one set of shared weights, and the slice of it that is one network.

Both run the operators that `lower` makes of `SearchSpace.layers`; so does the ONNX writer.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ofa_nas.errors import ArchitectureError, SpaceError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_parameters
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import (
    INPUT,
    Convolution,
    Elementwise,
    Linear,
    Operator,
    area,
    extent,
    tensor_name,
)
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import (
    EVALUATE,
    ElasticConvolution,
    ElasticLinear,
    Mode,
    apply_fixed,
)

Weighted = ElasticConvolution | ElasticLinear
MOST_WEIGHTS = 1_000_000_000  # of a supernet, four gigabytes: a space of a few lines may ask for more


class _Network(nn.Module):
    """Layers, `walk`, and one `ModuleDict` of weights each; shared by supernet and subnet."""

    def __init__(self, space: SearchSpace, layers: Iterable[Layer], *, is_elastic: bool) -> None:
        super().__init__()
        self.space, self.walk = space, tuple(layers)
        kernel_sizes = _kernel_sizes(space) if is_elastic else {}
        self.layers = nn.ModuleDict()
        for layer in self.walk:
            modules = {
                operator.name: self._module(layer, operator, kernel_sizes.get(layer.name))
                for operator in lower(layer)
                if isinstance(operator, Convolution | Linear)
            }
            if modules:
                self.layers[layer.name] = nn.ModuleDict(modules)

    def _module(
        self, layer: Layer, operator: Convolution | Linear, kernel_sizes: tuple[int, ...] | None
    ) -> Weighted:
        if isinstance(operator, Linear):
            return ElasticLinear(operator)
        if kernel_sizes is None or not operator.kernel_size == layer.kernel_size > 1:
            kernel_sizes = (operator.kernel_size,)
        return ElasticConvolution(operator, kernel_sizes=kernel_sizes, bn_epsilon=self.space.bn_epsilon)

    def weighted(self, layer: Layer, operator: Operator) -> Weighted:
        """The module that holds an operator's weights."""
        return cast(Weighted, cast(nn.ModuleDict, self.layers[layer.name])[operator.name])

    def weighted_operators(self) -> Iterator[tuple[Layer, Convolution | Linear, Weighted]]:
        """Walk the operators that have weights, each with its layer and the module that holds them."""
        for layer in self.walk:
            for operator in lower(layer):
                if isinstance(operator, Convolution | Linear):
                    yield layer, operator, self.weighted(layer, operator)

    def run(self, layers: Sequence[Layer], x: Tensor, mode: Mode) -> Tensor:
        """Run layers on images `(B, 3, R, R)` or signals `(B, C, 1, R)`; dropout is before the classifier.

        Returns:
            Logits `(B, K)`.
        """
        for layer in layers:
            if layer.kind == "linear" and mode.dropout is not None:
                x = x.flatten(1) * mode.dropout
            tensors = {INPUT: x}
            for operator in lower(layer):
                inputs = [tensors[name] for name in operator.inputs]
                if isinstance(operator, Convolution | Linear):
                    x = self.weighted(layer, operator)(inputs[0], operator, mode)
                else:
                    x = apply_fixed(operator, inputs)
                tensors[operator.name] = x
        return x


class Supernet(_Network):
    """The shared weights of every architecture of a space.

    Args:
        space: Its largest architecture sets the shapes.
        generator: Source of the first weights; without it they are left undefined, to be loaded.

    Raises:
        SpaceError: It would take too much memory.
    """

    def __init__(self, space: SearchSpace, generator: torch.Generator | None = None) -> None:
        weights = sum(map(layer_parameters, space.layers(space.largest)))
        if weights > MOST_WEIGHTS:
            raise SpaceError(
                f"{space.name}: its largest subnet has {weights:.3g} weights, more than {MOST_WEIGHTS:.0e}"
            )
        super().__init__(space, space.layers(space.largest), is_elastic=True)
        if generator is not None:
            initialise(self, generator)

    def forward(self, x: Tensor, arch: Architecture, mode: Mode = EVALUATE) -> Tensor:
        """Run one architecture.

        Args:
            x: Images, `(B, 3, R, R)` with R the architecture's resolution; signals, `(B, C, 1, R)`.
            arch: The subnet to run.
            mode: Training, calibrating or evaluating; `train()` and `eval()` change nothing.

        Returns:
            Logits `(B, K)`.

        Raises:
            ArchitectureError: It is of another space, or takes other images.
        """
        self.space.check(arch)
        _check_input(x, arch, self.space)
        return self.run(list(self.space.layers(arch)), x, mode)

    def extract(self, arch: Architecture) -> "Subnet":
        """Copy the weights of one architecture out into a network of its own.

        Its batch norms hold slices of the largest subnet's statistics: calibrate it.
        """
        self.space.check(arch)
        subnet = place(Subnet(self.space, arch), next(self.parameters()).device)
        copy_prefixes(self, subnet)
        return subnet


class Subnet(_Network):
    """One architecture with weights of its own."""

    def __init__(self, space: SearchSpace, arch: Architecture) -> None:
        super().__init__(space, space.layers(arch), is_elastic=False)
        self.arch = arch

    def forward(self, x: Tensor, mode: Mode = EVALUATE) -> Tensor:
        """Logits `(B, K)` of images `(B, 3, R, R)` or signals `(B, C, 1, R)`.

        Raises:
            ArchitectureError: The architecture takes other images.
        """
        _check_input(x, self.arch, self.space)
        return self.run(self.walk, x, mode)

    def folded_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Weights for the ONNX writer: batch norm folded into weight and bias, computed in float64."""
        weights: dict[str, npt.NDArray[np.float32]] = {}
        for layer, operator, module in self.weighted_operators():
            name = tensor_name(layer, operator.name)
            weight, bias = _folded(module)
            weights[f"{name}.weight"] = weight.detach().cpu().float().numpy()
            if bias is not None:
                weights[f"{name}.bias"] = bias.detach().cpu().float().numpy()
        return weights


Placed = TypeVar("Placed", bound=nn.Module)


def place(module: Placed, device: torch.device) -> Placed:
    """Bring a module to a device, with channels last, as convolutions are fastest and images lie."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return module


def copy_prefixes(source: Supernet, target: Supernet | Subnet) -> None:
    """Copy the first channels of every weight, as many as the target has.

    Args:
        source: Its layers are named as those of the target, and at least as wide.
        target: Changed in place.
    """
    with torch.no_grad():
        for layer, operator, module in target.weighted_operators():
            _copy_slice(source.weighted(layer, operator), module, operator)


def initialise(supernet: Supernet, generator: torch.Generator) -> None:
    """Draw weights by He's rule (fan out); residual branches start at zero.

    Source: He et al. 2015, arXiv:1502.01852; Goyal et al. 2017, arXiv:1706.02677, section 5.1 (zero gamma).
    """
    with torch.no_grad():
        for _, operator, module in supernet.weighted_operators():
            deviation = 0.01
            if isinstance(operator, Convolution):
                fan_out = area(operator.kernel_size, operator.axes) * operator.out_channels / operator.groups
                deviation = (2.0 / fan_out) ** 0.5
            module.weight.normal_(0.0, deviation, generator=generator)
    scale_branches(supernet, 0.0)


def scale_branches(supernet: Supernet, scale: float) -> None:
    """Set the scale of the batch norm that ends each residual branch: at 0 a layer begins as its shortcut."""
    with torch.no_grad():
        for layer in supernet.walk:
            operators = lower(layer)
            for operator in operators:
                if isinstance(operator, Elementwise) and operator.function == "add":
                    branch = next(one for one in operators if one.name == operator.inputs[0])
                    last = supernet.weighted(layer, branch) if isinstance(branch, Convolution) else None
                    if isinstance(last, ElasticConvolution) and last.bn is not None:
                        last.bn.weight.fill_(scale)


def _kernel_sizes(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    """Those that a block may have, by the name of its layer."""
    return {one.layer_name: space.stages[one.stage].kernel_sizes for one in Encoding.of(space).positions}


def _check_input(x: Tensor, arch: Architecture, space: SearchSpace) -> None:
    expected = (space.channels, *extent(arch.resolution, space.axes))
    if tuple(x.shape[1:]) != expected or not torch.is_floating_point(x):
        sizes = ", ".join(map(str, expected))
        raise ArchitectureError(
            f"input is a {x.dtype} tensor {tuple(x.shape)}; architecture {arch} takes floats (B, {sizes})"
        )


def _copy_slice(source: Weighted, target: Weighted, operator: Convolution | Linear) -> None:
    if isinstance(operator, Linear):
        target.weight.copy_(source.weight[:, : operator.in_channels])
        cast(ElasticLinear, target).bias.copy_(cast(ElasticLinear, source).bias)
        return
    assert isinstance(source, ElasticConvolution)
    assert isinstance(target, ElasticConvolution)
    channels = operator.out_channels
    target.weight.copy_(source.active_weight(operator))
    if source.bias is not None and target.bias is not None:
        target.bias.copy_(source.bias[:channels])
    if source.bn is not None and target.bn is not None:
        own = target.bn.state_dict()
        for name, value in source.bn.state_dict().items():
            own[name].copy_(value[:channels] if value.ndim else value)


def _folded(module: Weighted) -> tuple[Tensor, Tensor | None]:
    weight, bias = module.weight.double(), module.bias
    if isinstance(module, ElasticLinear) or module.bn is None:
        return weight, bias
    bn = module.bn
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return weight * scale[:, None, None, None], bn.bias.double() - bn.running_mean.double() * scale
