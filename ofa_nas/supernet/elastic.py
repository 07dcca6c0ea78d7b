"""Operators with weights: elastic ones, sliced anew for each subnet, and static ones.

Both kinds are called with the operator they are to be, `module(x, operator)`; no module remembers a subnet.
"""

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_nas.space.operators import Convolution, Elementwise, Linear, Operator, Pool, Resample, area, extent
from ofa_nas.supernet.depthwise import convolve_depthwise, is_slow
from ofa_nas.supernet.processes import sum_of_all


@dataclass(frozen=True, slots=True)
class Mode:
    """How a forward pass differs between training, calibrating and evaluating.

    Attributes:
        use_batch: Batch norms normalise by the batch instead of the running statistics.
        momentum: Weight of the batch when it updates the running statistics; 0 leaves them alone.
        is_global: Take batch statistics over all processes of `torch.distributed`.
        dropout: `(B, C)` factors of the classifier's inputs; None for dropping none.
    """

    use_batch: bool
    momentum: float = 0.0
    is_global: bool = False
    dropout: Tensor | None = field(default=None, compare=False)


EVALUATE = Mode(use_batch=False)
TRAIN = Mode(use_batch=True)
TRAIN_LARGEST = Mode(use_batch=True, momentum=0.1)
CALIBRATE = Mode(use_batch=True, momentum=1.0)


class ElasticConvolution(nn.Module):
    """A convolution of the largest subnet, of which every smaller one is a slice.

    Channels are prefixes. Smaller kernels are centre crops passed through one learned matrix a size, which
    the channels share and which starts as the identity.

    Args:
        operator: The convolution in the largest subnet.
        kernel_sizes: Sizes that it may take, rising; the last is that of `operator`.
        bn_epsilon: Epsilon of the batch norm.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.3 (elastic kernel size).
    """

    def __init__(self, operator: Convolution, *, kernel_sizes: tuple[int, ...], bn_epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(operator.weight_shape))
        self.bias = nn.Parameter(torch.zeros(operator.out_channels)) if operator.bias else None
        self.bn = nn.BatchNorm2d(operator.out_channels, eps=bn_epsilon) if operator.norm else None
        self.kernel_sizes = kernel_sizes
        self.transforms = nn.ParameterDict(
            {
                f"to{size}": nn.Parameter(torch.eye(area(size, operator.axes)))
                for size in reversed(kernel_sizes[:-1])
            }
        )

    def active_weight(self, operator: Convolution) -> Tensor:
        """The weight of a subnet's convolution, `operator.weight_shape`."""
        out, into, _, kernel_size = operator.weight_shape
        weight: Tensor = self.weight
        if weight.shape[:2] != (out, into):
            weight = weight[:out, :into]
        for size in reversed(self.kernel_sizes[:-1]):
            if size < kernel_size:
                break
            kept = slice((weight.shape[-1] - size) // 2, (weight.shape[-1] + size) // 2)
            cropped = weight[:, :, :, kept] if operator.axes == 1 else weight[:, :, kept, kept]
            weight = F.linear(cropped.flatten(2), self.transforms[f"to{size}"]).view(cropped.shape)
        return weight

    def forward(self, x: Tensor, operator: Convolution, mode: Mode) -> Tensor:
        """Convolve and normalise `(B, C, H, W)`."""
        bias = None if self.bias is None else _prefix(self.bias, operator.out_channels)
        x = convolve(x, self.active_weight(operator), bias, operator)
        return x if self.bn is None else normalise(x, self.bn, mode)


class ElasticLinear(nn.Module):
    """A fully connected operator, sliced along its input."""

    def __init__(self, operator: Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(operator.out_channels, operator.in_channels))
        self.bias = nn.Parameter(torch.zeros(operator.out_channels))

    def forward(self, x: Tensor, operator: Linear, mode: Mode) -> Tensor:
        """Multiply `(B, C)` or `(B, C, 1, 1)` to `(B, K)`."""
        return F.linear(x.flatten(1), self.weight[:, : operator.in_channels], self.bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, operator: Convolution) -> Tensor:
    """Convolve `(B, C, H, W)`, padding unevenly where the operator asks for it."""
    x, pad = pad_unevenly(x, operator)
    if bias is None and is_slow(x, weight, operator.stride):
        return convolve_depthwise(x, weight, stride=operator.stride, pad=pad[0])
    return F.conv2d(x, weight, bias, operator.strides, pad, groups=operator.groups)


def pad_unevenly(x: Tensor, operator: Convolution) -> tuple[Tensor, tuple[int, int]]:
    """Pad `(B, C, H, W)` where a convolution cannot, and what the convolution is left to pad."""
    before, behind = operator.pads
    if before == behind:
        return x, before
    return F.pad(x, (before[1], behind[1], before[0], behind[0])), (0, 0)


def normalise(x: Tensor, bn: nn.BatchNorm2d, mode: Mode) -> Tensor:
    """Batch norm of the first channels of `bn` that `(B, C, H, W)` has."""
    channels = x.shape[1]
    weight, bias = _prefix(bn.weight, channels), _prefix(bn.bias, channels)
    if mode.is_global:
        return _normalise_globally(x, weight, bias, bn, mode)
    if mode.use_batch and mode.momentum == 0.0:
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, bn.eps)
    mean, variance = _running(bn.running_mean)[:channels], _running(bn.running_var)[:channels]
    return F.batch_norm(x, mean, variance, weight, bias, mode.use_batch, mode.momentum, bn.eps)


def _normalise_globally(x: Tensor, weight: Tensor, bias: Tensor, bn: nn.BatchNorm2d, mode: Mode) -> Tensor:
    """Batch norm by the statistics of the batches of all processes, which are equally large.

    torch's own SyncBatchNorm runs on accelerators alone and knows no slices.
    """
    channels, count = x.shape[1], x.numel() // x.shape[1] * dist.get_world_size()
    pixels = x.float()
    moments = torch.stack([pixels.mean(dim=(0, 2, 3)), pixels.square().mean(dim=(0, 2, 3))])
    mean, square = sum_of_all(moments) / dist.get_world_size()
    variance = (square - mean.square()).clamp(min=0.0)  # rounding may take it below
    if mode.momentum > 0.0:
        with torch.no_grad():
            _running(bn.running_mean)[:channels].lerp_(mean, mode.momentum)
            _running(bn.running_var)[:channels].lerp_(variance * (count / (count - 1)), mode.momentum)
    scale = weight * torch.rsqrt(variance + bn.eps)
    shift = bias - mean * scale
    normalised: Tensor = pixels * scale[:, None, None] + shift[:, None, None]
    return normalised.to(x.dtype)


def _prefix(values: Tensor, count: int) -> Tensor:
    """The first values; where they are all, without an operator that each pass would pay for."""
    return values if len(values) == count else values[:count]


def _running(statistics: Tensor | None) -> Tensor:
    assert statistics is not None
    return statistics


def apply_fixed(operator: Operator, inputs: list[Tensor]) -> Tensor:
    """Apply an operator without weights.

    ReLUs and sums write over their first input, the output of a batch norm that nobody reads again.
    """
    match operator:
        case Pool():
            return F.adaptive_avg_pool2d(inputs[0], 1)
        case Resample():
            return _resample(inputs[0], operator)
        case Elementwise(function="relu"):
            return F.relu_(inputs[0])
        case Elementwise(function="relu6"):
            return F.relu6(inputs[0], inplace=True)
        case Elementwise(function="hard_swish"):
            return F.hardswish(inputs[0])
        case Elementwise(function="hard_sigmoid"):
            return F.hardsigmoid(inputs[0])
        case Elementwise(function="add"):
            return inputs[0].add_(inputs[1])
        case Elementwise(function="scale"):
            return inputs[0] * inputs[1]
        case _:
            raise AssertionError(f"{operator} has weights or an unknown function")


def _resample(x: Tensor, operator: Resample) -> Tensor:
    if operator.function == "halve":
        return F.avg_pool2d(x, extent(2, operator.axes))
    return F.interpolate(x, operator.out_shape, mode="bilinear")
