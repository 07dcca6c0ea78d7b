"""Inverted residual: expand 1x1, depthwise k x k, optional squeeze-excite, project 1x1, optional residual.

Source: Sandler et al. 2018, arXiv:1801.04381 (inverted residual); Howard et al. 2019, arXiv:1905.02244,
section 5.2 (squeeze-excite with a hard sigmoid, after the depthwise activation).
"""

from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator, Pool, same_padding


def lower(layer: Layer) -> tuple[Operator, ...]:
    """Operators of the block; without expansion where the middle is as wide as the input."""
    operators: list[Operator] = []
    source = INPUT
    if layer.mid_channels != layer.in_channels:
        operators.append(
            _pointwise("expand", source, layer.in_channels, layer.mid_channels, size=layer.in_size)
        )
        operators.append(
            Elementwise("expand_act", ("expand",), layer.activation, layer.mid_channels, layer.in_size)
        )
        source = "expand_act"
    operators.append(_depthwise(layer, source))
    operators.append(
        Elementwise("depthwise_act", ("depthwise",), layer.activation, layer.mid_channels, layer.out_size)
    )
    source = "depthwise_act"
    if layer.se_channels:
        operators.extend(squeeze_excite(layer, source))
        source = "se_scale"
    operators.append(
        _pointwise("project", source, layer.mid_channels, layer.out_channels, size=layer.out_size)
    )
    if layer.residual:
        operators.append(Elementwise("add", ("project", INPUT), "add", layer.out_channels, layer.out_size))
    return tuple(operators)


def _depthwise(layer: Layer, source: str) -> Convolution:
    pad = same_padding(layer.kernel_size, layer.stride, layer.in_size, layer.out_size, padding=layer.padding)
    return Convolution(
        name="depthwise",
        inputs=(source,),
        in_channels=layer.mid_channels,
        out_channels=layer.mid_channels,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        groups=layer.mid_channels,
        in_size=layer.in_size,
        out_size=layer.out_size,
        pad=pad,
    )


def _pointwise(name: str, source: str, in_channels: int, out_channels: int, *, size: int) -> Convolution:
    return Convolution(name, (source,), in_channels, out_channels, 1, 1, 1, size, size, (0, 0))


def squeeze_excite(layer: Layer, source: str) -> tuple[Operator, ...]:
    """Weigh the middle channels of `source` by what all of them hold; `se_scale` is the result."""
    mid, squeezed = layer.mid_channels, layer.se_channels
    return (
        Pool("se_pool", (source,), mid, layer.out_size),
        Convolution("se_reduce", ("se_pool",), mid, squeezed, 1, 1, 1, 1, 1, (0, 0), norm=False, bias=True),
        Elementwise("se_reduce_act", ("se_reduce",), "relu", squeezed, 1),
        Convolution(
            "se_expand", ("se_reduce_act",), squeezed, mid, 1, 1, 1, 1, 1, (0, 0), norm=False, bias=True
        ),
        Elementwise("se_gate", ("se_expand",), "hard_sigmoid", mid, 1),
        Elementwise("se_scale", (source, "se_gate"), "scale", mid, layer.out_size),
    )
