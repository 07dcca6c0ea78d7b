"""The classifier: a fully connected operator with a bias."""

from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Linear, Operator


def lower(layer: Layer) -> tuple[Operator, ...]:
    """One fully connected operator."""
    return (Linear("linear", (INPUT,), layer.in_channels, layer.out_channels),)
