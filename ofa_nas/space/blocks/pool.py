"""Global average pooling to one pixel."""

from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Operator, Pool


def lower(layer: Layer) -> tuple[Operator, ...]:
    """One pooling operator."""
    return (Pool("pool", (INPUT,), layer.in_channels, layer.in_size),)
