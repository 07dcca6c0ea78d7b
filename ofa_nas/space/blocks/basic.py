"""Basic residual block: two k x k convolutions, and a shortcut that is added before the last activation.

Its operators are named as those of an inverted residual, so that what sorts the middle channels sorts these.

Source: He et al. 2016, arXiv:1512.03385, figure 5 left (block) and section 3.3, option B (shortcut);
Hu et al. 2018, arXiv:1709.01507 (squeeze-excite, here between the two convolutions).
"""

from ofa_nas.space.blocks.mbconv import squeeze_excite
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator, same_padding

EXPANDS_OUTPUT = True  # the middle of a plain ResNet's block is once as wide as its output


def lower(layer: Layer) -> tuple[Operator, ...]:
    """Operators of the block; the shortcut is a 1x1 convolution where the input cannot be added as it is."""
    mid, out, size = layer.mid_channels, layer.out_channels, layer.out_size
    operators: list[Operator] = [
        _convolution(layer, "expand", INPUT, (layer.in_channels, mid)),
        Elementwise("expand_act", ("expand",), layer.activation, mid, size),
    ]
    source = "expand_act"
    if layer.se_channels:
        operators.extend(squeeze_excite(layer, source))
        source = "se_scale"
    operators.append(_convolution(layer, "project", source, (mid, out), is_first=False))
    shortcut = INPUT
    if not layer.residual:
        shortcut = "shortcut"
        operators.append(_convolution(layer, shortcut, INPUT, (layer.in_channels, out), kernel_size=1))
    operators.append(Elementwise("add", ("project", shortcut), "add", out, size))
    operators.append(Elementwise("act", ("add",), layer.activation, out, size))
    return tuple(operators)


def _convolution(
    layer: Layer,
    name: str,
    source: str,
    channels: tuple[int, int],
    *,
    kernel_size: int = 0,
    is_first: bool = True,
) -> Convolution:
    kernel_size = kernel_size or layer.kernel_size
    stride, in_size = (layer.stride, layer.in_size) if is_first else (1, layer.out_size)
    pad = same_padding(kernel_size, stride, in_size, layer.out_size, padding=layer.padding)
    return Convolution(name, (source,), *channels, kernel_size, stride, 1, in_size, layer.out_size, pad)
