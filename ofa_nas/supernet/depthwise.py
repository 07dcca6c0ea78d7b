"""Depthwise convolution whose weight gradient is not slow on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# oneDNN 3.12 (torch 2.13) treats larger depthwise kernels as dense blocks of 16 channels in the weight
# gradient alone: 5x5 and 7x7 take up to 25 times as long as this, 3x3 half as long. docs/log.md
_LEAST_KERNEL = 5


def is_slow(x: Tensor, weight: Tensor) -> bool:
    """Whether torch's own weight gradient of a depthwise convolution would take most of a training step."""
    return (
        x.device.type == "cpu"
        and weight.requires_grad
        and weight.shape[1] == 1
        and weight.shape[0] == x.shape[1]
        and weight.shape[-1] >= _LEAST_KERNEL
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
    """The weight gradient is a forward convolution too, image by image.

    The image is convolved with its gradient as the kernel; a stride of the one is a dilation of the other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pad: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pad = stride, pad
        return F.conv2d(x, weight, None, stride, pad, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, pad, channels, size = ctx.stride, ctx.pad, x.shape[1], weight.shape[-1]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], channels,
                [True, False, False],
            )  # fmt: skip
        of_weight = torch.zeros_like(weight)
        for image, kernel in zip(x.chunk(len(x)), gradient.chunk(len(x)), strict=True):
            product = F.conv2d(image, kernel.transpose(0, 1), None, 1, pad, dilation=stride, groups=channels)
            of_weight += product[:, :, :size, :size].transpose(0, 1)
        return of_x, of_weight, None, None
