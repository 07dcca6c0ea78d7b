"""Depthwise convolution whose weight gradient is not slow on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# In the weight gradient alone, oneDNN 3.12 (torch 2.13) treats depthwise kernels above 3x3 as dense blocks of
# 16 channels. What stands here takes 0.15 to 0.7 of its time, but not with a stride on large maps.
_LEAST_KERNEL = 5
_MOST_STRIDED_PX = 32
Pair = tuple[int, int]


def is_slow(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether `convolve_depthwise` learns faster than torch's own convolution."""
    return (
        x.device.type == "cpu"
        and weight.requires_grad
        and weight.shape[1] == 1
        and weight.shape[0] == x.shape[1]
        and weight.shape[-1] >= _LEAST_KERNEL
        and (stride == 1 or x.shape[-1] <= _MOST_STRIDED_PX)
    )


def convolve_depthwise(x: Tensor, weight: Tensor, *, strides: Pair, pad: Pair) -> Tensor:
    """Convolve every channel with a kernel of its own, as `torch.nn.functional.conv2d` does.

    Args:
        x: `(B, C, H, W)`.
        weight: `(C, 1, k, k)`, or `(C, 1, 1, k)` of signals.
        strides: Down and to the right.
        pad: Zeros above and below, left and right.
    """
    result: Tensor = _Depthwise.apply(x, weight, strides, pad)  # type: ignore[no-untyped-call]
    return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, strides: Pair, pad: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.strides, ctx.pad = strides, pad
        return F.conv2d(x, weight, None, strides, pad, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.strides, ctx.pad, [1, 1], False, [0, 0],
                x.shape[1], [True, False, False],
            )  # fmt: skip
        return of_x, _weight_gradient(x, gradient, ctx.strides, ctx.pad, weight.shape[2:]), None, None


def _weight_gradient(x: Tensor, gradient: Tensor, strides: Pair, pad: Pair, kernel: torch.Size) -> Tensor:
    """A forward convolution too: each channel of each image with its gradient for a kernel.

    The stride of the one is the dilation of the other.
    """
    batch, channels = x.shape[:2]
    maps = x.contiguous().view(1, batch * channels, *x.shape[2:])
    kernels = gradient.contiguous().view(batch * channels, 1, *gradient.shape[2:])
    product = F.conv2d(maps, kernels, None, 1, pad, dilation=strides, groups=batch * channels)
    height, width = kernel
    return product[0, :, :height, :width].reshape(batch, channels, height, width).sum(0).unsqueeze(1)
