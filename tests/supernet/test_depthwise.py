"""Depthwise convolution with a weight gradient of its own is torch's convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet import depthwise
from ofa_nas.supernet.elastic import TRAIN
from ofa_nas.supernet.supernet import Supernet
from tests.supernet.test_supernet import images, lively_supernet


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "pad"),
    [(8, 5, 1, 2), (9, 7, 1, 3), (4, 7, 1, 3), (8, 5, 2, 2), (9, 7, 2, 3), (11, 5, 2, 0), (12, 5, 2, 0)],
)
def test_value_and_gradients_are_those_of_torch(size: int, kernel_size: int, stride: int, pad: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 1, kernel_size, kernel_size, generator=generator)
    leaves = (x.requires_grad_(), weight.requires_grad_())
    expected = F.conv2d(x, weight, None, stride, pad, groups=6)
    found = depthwise.convolve_depthwise(x, weight, stride=stride, pad=pad)
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape, generator=generator)
    for own, theirs in zip(
        torch.autograd.grad(found, leaves, gradient),
        torch.autograd.grad(expected, leaves, gradient),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-4)


def test_a_supernet_learns_the_same_with_it(tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = lively_supernet(tiny)
    own = _gradients(supernet, tiny)
    monkeypatch.setattr(depthwise, "_LEAST_KERNEL", 99)
    theirs = _gradients(supernet, tiny)
    assert own.keys() == theirs.keys()
    for name, gradient in own.items():
        scale = float(theirs[name].abs().max())
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-4 * scale)


def test_only_large_depthwise_kernels_that_learn_are_slow() -> None:
    x = torch.zeros(1, 8, 4, 4)
    slow = torch.zeros(8, 1, 5, 5, requires_grad=True)
    assert depthwise.is_slow(x, slow, 1)
    assert depthwise.is_slow(x, slow, 2)
    assert not depthwise.is_slow(torch.zeros(1, 8, 64, 64), slow, 2)
    assert not depthwise.is_slow(x, slow.detach(), 1)
    assert not depthwise.is_slow(x, slow[..., 1:4, 1:4], 1)
    assert not depthwise.is_slow(torch.zeros(1, 1, 4, 4), slow, 1)  # one input channel, not one each
    assert not depthwise.is_slow(x, torch.zeros(8, 8, 5, 5, requires_grad=True), 1)


def _gradients(supernet: Supernet, space: SearchSpace) -> dict[str, Tensor]:
    supernet.zero_grad(set_to_none=True)
    supernet(images(space.largest), space.largest, TRAIN).square().sum().backward()
    return {name: value.grad for name, value in supernet.named_parameters() if value.grad is not None}
