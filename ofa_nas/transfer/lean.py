"""Autograd functions that keep no more than the backward pass needs, with the gradients of stock torch.

Stock convolutions keep their input even where their weight is frozen, and stock ReLUs a whole map.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ofa_nas.space.operators import Convolution, extent
from ofa_nas.supernet.depthwise import convolve_depthwise, is_slow
from ofa_nas.supernet.elastic import pad_unevenly

_BITS = 8
Pair = tuple[int, int]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, operator: Convolution) -> Tensor:
    """Convolve `(B, C, H, W)`; the input is kept only if the weight is trained."""
    x, pad = pad_unevenly(x, operator)
    if is_slow(x, weight, operator.stride):
        x = convolve_depthwise(x, weight, stride=operator.stride, pad=pad[0])
        return x if bias is None else x.add_(bias[:, None, None])
    result: Tensor = _Convolution.apply(x, weight, bias, operator.strides, pad, operator.groups)  # type: ignore[no-untyped-call]
    return result


def rectify(x: Tensor, *, most: float | None) -> Tensor:
    """ReLU, or ReLU6 with `most` 6, in place; one bit a value is kept.

    Args:
        x: Dense in memory, and needed by nobody else.
        most: Upper bound of the result, or None.
    """
    result: Tensor = _Rectifier.apply(x, most)  # type: ignore[no-untyped-call]
    return result


def halve(x: Tensor, *, axes: int = 2) -> Tensor:
    """Means of 2 x 2 px of `(B, C, H, W)`; nothing is kept, where `avg_pool2d` keeps its input.

    Along one axis they are means of 2.
    """
    down, right = extent(2, axes)
    batch, channels, height, width = x.shape[0], x.shape[1], x.shape[2] // down, x.shape[3] // right
    cut = x[:, :, : down * height, : right * width]
    return cut.reshape(batch, channels, height, down, width, right).mean((3, 5))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, strides: Pair, pad: Pair, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.shape, ctx.geometry = x.shape, (strides, pad, groups)
        return F.conv2d(x, weight, bias, strides, pad, groups=groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        strides, pad, groups = ctx.geometry
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        x_gradient = weight_gradient = None
        if of_x:
            x_gradient = _input_gradient(gradient, weight, ctx.shape[2:], ctx.geometry)
        if of_weight:
            _, weight_gradient, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, strides, pad, [1, 1], False, [0, 0], groups,
                [False, True, False],
            )  # fmt: skip
        bias_gradient = gradient.sum((0, 2, 3)) if of_bias else None
        return x_gradient, weight_gradient, bias_gradient, None, None, None


def _input_gradient(
    gradient: Tensor, weight: Tensor, size: torch.Size, geometry: tuple[Pair, Pair, int]
) -> Tensor:
    """The gradient of a convolution's input, which takes no input: the same convolution transposed.

    torch's own backward function would ask for an input, and lay it out in memory before it forgets it.
    """
    strides, pad, groups = geometry
    rest = [
        length - ((out - 1) * stride - 2 * zeros + kernel)
        for length, out, kernel, stride, zeros in zip(
            size, gradient.shape[2:], weight.shape[2:], strides, pad, strict=True
        )
    ]
    return F.conv_transpose2d(gradient, weight, None, strides, pad, rest, groups)


class _Rectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, most: float | None) -> Tensor:
        passes = x > 0
        if most is not None:
            passes &= x < most
        ctx.save_for_backward(_pack(passes))
        ctx.shape, ctx.strides = x.shape, x.stride()
        ctx.mark_dirty(x)
        return x.clamp_(0, most)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (bits,) = ctx.saved_tensors
        passes = _unpack(bits, ctx.shape.numel()).as_strided(ctx.shape, ctx.strides)
        return gradient * passes, None


def _pack(flags: Tensor) -> Tensor:
    """Eight flags a byte, in the order in which they lie in memory: `(⌈n / 8⌉,)` uint8."""
    flat = flags.as_strided((flags.numel(),), (1,))
    return torch.from_numpy(np.packbits(flat.numpy())) if flat.device.type == "cpu" else pack_bits(flat)


def _unpack(bits: Tensor, count: int) -> Tensor:
    """The flags `(count,)` that were packed."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.unpackbits(bits.numpy(), count=count)).view(torch.bool)
    return unpack_bits(bits, count)


def pack_bits(flags: Tensor) -> Tensor:
    """What `numpy.packbits` does, on any device: `(n,)` bool to `(⌈n / 8⌉,)` uint8."""
    rows = F.pad(flags.to(torch.uint8), (0, -len(flags) % _BITS)).view(-1, _BITS)
    return (rows << _shifts(rows)).sum(1, dtype=torch.uint8)


def unpack_bits(bits: Tensor, count: int) -> Tensor:
    """What `numpy.unpackbits` does, on any device: the first `(count,)` bool."""
    return ((bits[:, None] >> _shifts(bits)) & 1).view(-1)[:count].bool()


def _shifts(like: Tensor) -> Tensor:
    return torch.arange(_BITS - 1, -1, -1, dtype=torch.uint8, device=like.device)
