"""A subnet that learns another task: batch norms folded, maybe with lite residual modules, lean in memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ofa_nas.onnx_writer import Weights
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Linear, Operator, Resample, tensor_name
from ofa_nas.space.rewrites import LITE
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import Mode, apply_fixed
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.supernet.unfold import checked_weight
from ofa_nas.transfer.lean import convolve, halve, rectify
from ofa_nas.transfer.methods import Method

_MOST = {"relu": None, "relu6": 6.0}


class TransferNetwork(Subnet):
    """A subnet of folded layers of which a method trains some parameters, the others being frozen.

    Args:
        space: Of one architecture, folded, with lite residual modules where the method has them.
        method: What is trained.

    Attributes:
        keeps_classifier: It has the subnet's rows for its classes, or began with them; else it began at 0.
    """

    def __init__(self, space: SearchSpace, method: Method) -> None:
        super().__init__(space, space.largest)
        self.method = method
        self.keeps_classifier = False
        self.scales = nn.ParameterDict()
        self.requires_grad_(requires_grad=False)
        for layer, operator, module in self.weighted_operators():
            parts = method.parts(operator)
            module.weight.requires_grad = parts.weight
            if module.bias is not None:
                module.bias.requires_grad = parts.bias
            if parts.scale and not parts.weight and _had_norm(layer, operator):
                self.scales[_key(layer, operator)] = nn.Parameter(torch.ones(operator.out_channels))

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the lite residual modules by He's rule; their last convolutions are 0.

        So the network computes at first what the subnet did, up to a new classifier.
        """
        with torch.no_grad():
            for _, operator, module in self.weighted_operators():
                if operator.name == f"{LITE}conv":
                    fan_in = module.weight[0].numel()
                    module.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
                elif operator.name.startswith(LITE):
                    module.weight.zero_()
                else:
                    continue
                if module.bias is not None:
                    module.bias.zero_()

    def load_folded(
        self, weights: Weights, layers: Sequence[Layer], *, where: str, rows: Sequence[int] | None = None
    ) -> None:
        """Take over the folded weights of a subnet, which has no lite residual modules.

        Args:
            weights: As `Subnet.folded_weights` gives them, or the initialisers of an exported file.
            layers: Of that subnet; each stands where one of this network does.
            where: They come from, for messages.
            rows: Of the subnet's classifier, one for each class; None for a new classifier, which is 0.

        Raises:
            CheckpointError: One is missing, of another shape, or not finite.
        """
        sources = {own.name: source for own, source in zip(self.walk, layers, strict=True)}
        self.keeps_classifier = rows is not None
        with torch.no_grad():
            for layer, operator, module in self.weighted_operators():
                if operator.name.startswith(LITE):
                    continue
                source = sources[layer.name]
                name = tensor_name(source, operator.name)
                for key, target in ((f"{name}.weight", module.weight), (f"{name}.bias", module.bias)):
                    if target is None:
                        continue
                    if not isinstance(operator, Linear):
                        target.copy_(checked_weight(weights, key, target.shape, where))
                    elif rows is None:
                        target.zero_()
                    else:
                        shape = torch.Size((source.out_channels, *target.shape[1:]))
                        target.copy_(checked_weight(weights, key, shape, where)[list(rows)])

    def run(self, layers: Sequence[Layer], x: Tensor, mode: Mode) -> Tensor:
        """Run layers on images, keeping what the trained parameters' gradients need and nothing else."""
        for layer in layers:
            tensors = {INPUT: x}
            operators = lower(layer)
            uses = Counter(name for operator in operators for name in operator.inputs)
            for operator in operators:
                x = self._operate(layer, operator, [tensors[name] for name in operator.inputs], mode)
                tensors[operator.name] = x
                uses.subtract(operator.inputs)
                for name in operator.inputs:
                    if not uses[name]:
                        tensors.pop(name, None)
        return x

    def _operate(self, layer: Layer, operator: Operator, inputs: list[Tensor], mode: Mode) -> Tensor:
        match operator:
            case Convolution():
                module = self.weighted(layer, operator)
                key = _key(layer, operator)
                weight = module.weight
                if key in self.scales:
                    weight = weight * self.scales[key][:, None, None, None]
                return convolve(inputs[0], weight, module.bias, operator)
            case Linear():
                output: Tensor = self.weighted(layer, operator)(inputs[0], operator, mode)
                return output
            case Elementwise(function=("relu" | "relu6") as function):
                return rectify(inputs[0], most=_MOST[function])
            case Resample(function="halve"):
                return halve(inputs[0], axes=operator.axes)
            case _:
                return apply_fixed(operator, inputs)

    def merge_scales(self) -> None:
        """Multiply trained scales into the weights, and forget them."""
        with torch.no_grad():
            for layer, operator, module in self.weighted_operators():
                key = _key(layer, operator)
                if key in self.scales:
                    module.weight.mul_(self.scales[key][:, None, None, None])
        self.scales.clear()


def transfer_space(space: SearchSpace, arch: Architecture, *, classes: int, method: Method) -> SearchSpace:
    """The space of one architecture that a transferred subnet is of."""
    only = space.only(arch).with_classes(classes)
    return replace(only, lite=method.is_lite, folded=True)


def _had_norm(layer: Layer, operator: Operator) -> bool:
    """Whether a batch norm was folded into an operator."""
    unfolded = lower(replace(layer, kind=layer.kind.removesuffix("+folded")))
    return any(one.name == operator.name and isinstance(one, Convolution) and one.norm for one in unfolded)


def _key(layer: Layer, operator: Operator) -> str:
    return tensor_name(layer, operator.name)
