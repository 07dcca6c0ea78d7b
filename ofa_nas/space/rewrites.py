"""Rewrites of a layer's operators, named behind its kind: `mbconv+lite`, `mbconv+lite+folded`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator, Resample
from ofa_nas.space.stages import make_divisible

LITE = "lite_"  # the names of the operators of a lite residual module begin so
_KERNEL_SIZES, _GROUPS = (1, 3, 5), 2
Operators = tuple[Operator, ...]


def add_lite_residual(layer: Layer, operators: Operators) -> Operators:
    """Put a lite residual module beside a block: its input, at half the size, through two convolutions.

    The narrow part comes first, while the block's input is in memory anyway. The kernel is the largest of
    5, 3 and 1 that half the size holds.

    Source: Cai et al. 2020, arXiv:2007.11622, section 3.2, and its code (5 x 5, two groups, ReLU, bilinear).
    """
    half = layer.in_size // 2
    size, out_size = max(half, 1), max(-(-half // layer.stride), 1)
    kernel_size = max(kernel for kernel in _KERNEL_SIZES if kernel <= size)
    channels, pad = make_divisible(layer.in_channels), (kernel_size // 2,) * 2
    groups = 1 if layer.in_channels % _GROUPS else _GROUPS
    small: list[Operator] = []
    source = INPUT
    if half:
        small.append(Resample("lite_halve", (INPUT,), "halve", layer.in_channels, layer.in_size, half))
        source = "lite_halve"
    small += [
        Convolution(
            "lite_conv", (source,), layer.in_channels, channels, kernel_size, layer.stride, groups,
            size, out_size, pad,
        ),
        Elementwise("lite_act", ("lite_conv",), "relu", channels, out_size),
        Convolution(
            "lite_project", ("lite_act",), channels, layer.out_channels, 1, 1, 1, out_size, out_size, (0, 0)
        ),
    ]  # fmt: skip
    wide: list[Operator] = []
    lite = "lite_project"
    if out_size != layer.out_size:
        wide.append(Resample("lite_grow", (lite,), "bilinear", layer.out_channels, out_size, layer.out_size))
        lite = "lite_grow"
    wide.append(
        Elementwise("lite_add", (lite, operators[-1].name), "add", layer.out_channels, layer.out_size)
    )
    return (*small, *operators, *wide)


def fold_norms(_: Layer, operators: Operators) -> Operators:
    """Give every convolution with a batch norm a bias instead, as in an exported file."""
    return tuple(
        replace(one, norm=False, bias=one.norm or one.bias) if isinstance(one, Convolution) else one
        for one in operators
    )


REWRITES: Mapping[str, Callable[[Layer, Operators], Operators]] = {
    "lite": add_lite_residual,
    "folded": fold_norms,
}
