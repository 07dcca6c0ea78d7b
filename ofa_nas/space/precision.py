"""Bytes of weights and activations in every precision, as ONNX Runtime lays them out on a CPU."""

from dataclasses import dataclass, field
from math import prod

from ofa_nas.precisions import FP16, FP32, INT8
from ofa_nas.space.blocks import input_shape, lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.liveness import Moment, layer_moments
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Linear, Operator, tensor_name

_BYTES = {FP32: 4, FP16: 2, INT8: 1}  # of a weight and of an element of an activation
_BIAS_BYTES = {FP32: 4, FP16: 2, INT8: 8}  # int8: a 32-bit bias and the scale of the channel
_WITHOUT_INTEGERS = {"hard_swish", "hard_sigmoid"}  # ONNX Runtime has no integer kernels for these
_ABSORBED = {"relu", "relu6"}  # they become the bounds of a range
NOTHING: frozenset[str] = frozenset()


def weight_bytes(layer: Layer, precision: str = FP32, *, kept: frozenset[str] = NOTHING) -> int:
    """Bytes of a layer's exported weights, batch norm folded.

    In int8 a weight takes one byte; a bias four, and the scale of its channel four more.

    Args:
        layer: Geometry.
        precision: `fp32`, `fp16` or `int8`.
        kept: Tensors (`layer/operator`) whose operators are left in fp32 in an int8 network.
    """
    count = 0
    for operator in lower(layer):
        if isinstance(operator, Convolution | Linear):
            own = FP32 if tensor_name(layer, operator.name) in kept else precision
            count += _BYTES[own] * operator.weights + _BIAS_BYTES[own] * operator.biases
    return count


def peak_bytes(layer: Layer, precision: str = FP32, *, kept: frozenset[str] = NOTHING) -> int:
    """Peak bytes of activations while a layer runs, by liveness; a network's is the largest of its layers'.

    In fp16 every activation has half the bytes of fp32. In int8 one byte an element, but: the image is fp32
    until it is quantised; sums and products do not write over an input; and an operator without an integer
    kernel, or one that is left in fp32, stands between two conversions, each of which holds both forms.

    Args:
        layer: Geometry.
        precision: `fp32`, `fp16` or `int8`.
        kept: See `weight_bytes`.
    """
    return max(moment.size for moment in moments(layer, precision, kept=kept))


def moments(layer: Layer, precision: str = FP32, *, kept: frozenset[str] = NOTHING) -> tuple[Moment, ...]:
    """What is alive along a layer, in bytes: a moment for each operator, in int8 for each conversion, too.

    Args:
        layer: Geometry.
        precision: `fp32`, `fp16` or `int8`.
        kept: See `weight_bytes`.
    """
    if precision == INT8:
        return tuple(_Int8Liveness(layer, kept).moments)
    return tuple(
        Moment(moment.operator, {name: _BYTES[precision] * size for name, size in moment.tensors.items()})
        for moment in layer_moments(layer)
    )


@dataclass
class _Int8Liveness:
    """Tensors that are alive along the operators of a layer, `name` to bytes."""

    layer: Layer
    kept: frozenset[str]
    moments: list[Moment] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    floats: set[str] = field(default_factory=set)  # tensors that are stored in fp32

    def __post_init__(self) -> None:
        self.operators = lower(self.layer)
        self.elements = {INPUT: prod(input_shape(self.layer))}
        self.elements |= {one.name: one.elements for one in self.operators}
        self.last_use = {name: place for place, one in enumerate(self.operators) for name in one.inputs}
        if self.layer.name == "stem":
            self.floats.add(INPUT)
        self.live[INPUT] = self.elements[INPUT] * (4 if INPUT in self.floats else 1)
        for place, operator in enumerate(self.operators):
            (self._run_float if self._is_float(operator) else self._run_integer)(place, operator)

    def _is_float(self, operator: Operator) -> bool:
        function = operator.function if isinstance(operator, Elementwise) else ""
        return function in _WITHOUT_INTEGERS or self._is_kept(operator)

    def _is_kept(self, operator: Operator) -> bool:
        return tensor_name(self.layer, operator.name) in self.kept

    def _hold(self, name: str, count: int) -> None:
        """A tensor comes to life, beside all that are alive."""
        self.live[name] = count
        self.moments.append(Moment(name, dict(self.live)))

    def _release(self, place: int, name: str) -> None:
        if self.last_use[name] == place:
            self.live.pop(name, None)

    def _run_integer(self, place: int, operator: Operator) -> None:
        for name in operator.inputs:
            if name in self.floats:
                self._hold(f"{name} quantised", self.elements[name])
                self._release(place, name)
        if isinstance(operator, Elementwise) and operator.function in _ABSORBED:
            self.live[operator.name] = self.live.pop(operator.inputs[0])
        else:
            self._hold(operator.name, operator.elements)
        for name in operator.inputs:
            self.live.pop(f"{name} quantised", None)
            self._release(place, name)

    def _run_float(self, place: int, operator: Operator) -> None:
        """Convert to fp32, compute, convert back unless all that follow are left in fp32 too."""
        for name in operator.inputs:
            if name not in self.floats:
                self._hold(f"{name} as fp32", 4 * self.elements[name])
        if isinstance(operator, Elementwise) and operator.function == "hard_swish":
            self._hold("gate", 4 * operator.elements)  # ONNX Runtime makes two operators of it
        self._hold(operator.name, 4 * operator.elements)
        self.live.pop("gate", None)
        for name in operator.inputs:
            self.live.pop(f"{name} as fp32", None)
            self._release(place, name)
        readers = [one for one in self.operators if operator.name in one.inputs]
        if readers and self._is_kept(operator) and all(map(self._is_kept, readers)):
            self.floats.add(operator.name)
        else:
            self._hold(f"{operator.name} quantised", operator.elements)
            self.live[operator.name] = self.live.pop(f"{operator.name} quantised")
