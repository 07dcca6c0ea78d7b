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


def is_slow(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether `convolve_depthwise` learns faster than torch's own convolution."""
    return (
        x.device.type == "cpu"
        and weight.requires_grad
        and weight.shape[1] == 1
        and weight.shape[0] == x.shape[1]
        and weight.shape[-2] >= _LEAST_KERNEL  # of signals, 1: torch is fast there
        and (stride == 1 or x.shape[-1] <= _MOST_STRIDED_PX)
    )


def convolve_depthwise(x: Tensor, weight: Tensor, *, stride: int, pad: int) -> Tensor:
    """Convolve every channel with a kernel of its own, as `torch.nn.functional.conv2d` does.

    Args:
        x: `(B, C, H, W)`.
        weight: `(C, 1, k, k)`.
        stride: In both directions.
        pad: Zeros on every side [px].
    """
    result: Tensor = _Depthwise.apply(x, weight, stride, pad)  # type: ignore[no-untyped-call]
    return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pad: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pad = stride, pad
        return F.conv2d(x, weight, None, stride, pad, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [ctx.stride] * 2, [ctx.pad] * 2, [1, 1], False, [0, 0],
                x.shape[1], [True, False, False],
            )  # fmt: skip
        return of_x, _weight_gradient(x, gradient, ctx.stride, ctx.pad, weight.shape[-1]), None, None


def _weight_gradient(x: Tensor, gradient: Tensor, stride: int, pad: int, size: int) -> Tensor:
    """A forward convolution too: each channel of each image with its gradient for a kernel.

    The stride of the one is the dilation of the other.
    """
    batch, channels = x.shape[:2]
    maps = x.contiguous().view(1, batch * channels, *x.shape[2:])
    kernels = gradient.contiguous().view(batch * channels, 1, *gradient.shape[2:])
    product = F.conv2d(maps, kernels, None, 1, pad, dilation=stride, groups=batch * channels)
    return product[0, :, :size, :size].reshape(batch, channels, size, size).sum(0).unsqueeze(1)
