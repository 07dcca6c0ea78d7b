"""Which tensors are alive while each operator of a layer runs, by liveness."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ofa_nas.space.blocks import input_shape, lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT


@dataclass(frozen=True, slots=True)
class Moment:
    """What must be in memory while one operator runs.

    Attributes:
        operator: Its name.
        tensors: Size of each tensor, by the operator that made it; what the operator writes over is left out,
            for its output stands in the same place.
    """

    operator: str
    tensors: Mapping[str, int]

    @property
    def size(self) -> int:
        """Of all tensors together."""
        return sum(self.tensors.values())


def layer_moments(layer: Layer) -> tuple[Moment, ...]:
    """One moment for each operator of a layer, in execution order, activations alone, in elements.

    An elementwise operator writes over its first input unless that is read again later. Layers form a chain,
    so nothing is alive between two of them but what the first hands to the second.
    """
    operators = lower(layer)
    last_use: dict[str, int] = {}
    for index, operator in enumerate(operators):
        last_use.update(dict.fromkeys(operator.inputs, index))
    live = {INPUT: prod(input_shape(layer))}
    moments = []
    for index, operator in enumerate(operators):
        reused = operator.in_place and last_use[operator.inputs[0]] == index
        live[operator.name] = operator.elements
        overwritten = operator.inputs[0] if reused else None
        moments.append(
            Moment(operator.name, {name: size for name, size in live.items() if name != overwritten})
        )
        for name in set(operator.inputs):
            if last_use[name] == index:
                del live[name]
    return tuple(moments)
