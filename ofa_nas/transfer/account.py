"""The account of training memory that the literature prints: counted from layers, not measured.

Source: Cai et al. 2020, arXiv:2007.11622, and its code's memory profiler, re-implemented.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from ofa_nas.space.blocks import input_shape, lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Linear, Operator
from ofa_nas.space.rewrites import LITE
from ofa_nas.transfer.methods import Method, Parts

_TRAINED_BYTES, _FROZEN_BYTES = 4, 1  # of a parameter: frozen ones in 8 bits
_VALUE_BYTES = 4
_RELU = ("relu", "relu6")


@dataclass(frozen=True, slots=True)
class Account:
    """Training memory as the paper counts it: neither gradients nor the optimiser's state.

    Attributes:
        parameter_bytes: Of all parameters.
        activation_bytes: At the peak, for one image.
    """

    parameter_bytes: int
    activation_bytes: float

    def total(self, batch_size: int) -> float:
        """Bytes with so many images a step."""
        return self.parameter_bytes + self.activation_bytes * batch_size


def account(layers: Iterable[Layer], method: Method) -> Account:
    """Count what training a network takes.

    Args:
        layers: Of the network, its batch norms not folded. The paper's figures are of networks with lite
            residual modules whatever the method.
        method: What is trained.

    Source: the memory profiler of that paper's code: parameters as above; behind a convolution with a
        trained weight or norm its input is kept, and one bit a value of every ReLU unless the classifier
        alone is trained; peak of what an operator works on, what is kept, and the input that a block adds.
    """
    counter = _Counter(method)
    for layer in layers:
        counter.add(layer)
    return Account(counter.parameter_bytes, counter.peak)


def _is_lite(operator: Operator) -> bool:
    return operator.name.startswith(LITE)


class _Counter:
    """Goes through a network as its forward pass does."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.parameter_bytes = 0
        self.kept = self.peak = 0.0
        self.is_last_alone = method.main == Parts() and not method.is_lite  # no gradient comes by

    def add(self, layer: Layer) -> None:
        operators = sorted(lower(layer), key=_is_lite)  # that code runs the lite residual module last
        elements = {INPUT: prod(input_shape(layer))}
        held = _VALUE_BYTES * elements[INPUT] if layer.residual else 0
        for operator in operators:
            self._add_operator(operator, elements[operator.inputs[0]], held)
            elements[operator.name] = operator.elements

    def _add_operator(self, operator: Operator, values: int, held: int) -> None:
        into = _VALUE_BYTES * values
        out = _VALUE_BYTES * operator.elements
        if isinstance(operator, Convolution | Linear):
            groups = operator.groups if isinstance(operator, Convolution) else 1
            parts = self.method.parts(operator)
            self._count(operator.weights, is_trained=parts.weight)
            self._run(into + out / groups, held, kept=into if parts.weight else 0)
            if isinstance(operator, Linear) or operator.bias:
                self._count(operator.out_channels, is_trained=parts.bias)
            if isinstance(operator, Convolution) and operator.norm:
                self._count(operator.out_channels, is_trained=parts.scale)
                self._count(operator.out_channels, is_trained=parts.bias)
                self._run(out, held, kept=out if parts.scale else 0)
        elif isinstance(operator, Elementwise) and operator.function not in ("add", "scale"):
            kept = values / 8 if operator.function in _RELU else into
            self._run(into, held, kept=0 if self.is_last_alone else kept)

    def _run(self, working: float, held: int, *, kept: float) -> None:
        self.peak = max(self.peak, working + self.kept + held)
        self.kept += kept

    def _count(self, parameters: int, *, is_trained: bool) -> None:
        self.parameter_bytes += parameters * (_TRAINED_BYTES if is_trained else _FROZEN_BYTES)
