"""A plain convolution with optional batch norm and activation: stems and heads."""

from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator, same_padding


def lower(layer: Layer) -> tuple[Operator, ...]:
    """Convolution, then the activation unless it is `none`."""
    pad = same_padding(layer.kernel_size, layer.stride, layer.in_size, layer.out_size, padding=layer.padding)
    convolution = Convolution(
        name="conv",
        inputs=(INPUT,),
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        groups=1,
        in_size=layer.in_size,
        out_size=layer.out_size,
        pad=pad,
        norm=layer.norm,
    )
    if layer.activation == "none":
        return (convolution,)
    return convolution, Elementwise("act", ("conv",), layer.activation, layer.out_channels, layer.out_size)
