"""Lean functions have the gradients of stock autograd, and keep what they say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_nas.space.operators import Convolution
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import EVALUATE
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.transfer.kept import kept_bytes
from ofa_nas.transfer.lean import convolve, halve, pack_bits, rectify, unpack_bits
from ofa_nas.transfer.methods import METHODS
from ofa_nas.transfer.network import TransferNetwork, transfer_space
from ofa_nas.transfer.random_network import forward_of, random_network

GEOMETRIES = [  # in, out, kernel, stride, groups, pad
    (4, 6, 1, 1, 1, (0, 0)),
    (4, 6, 3, 2, 1, (1, 1)),
    (4, 8, 5, 2, 2, (2, 2)),
    (6, 6, 3, 1, 6, (1, 1)),
    (6, 6, 5, 2, 6, (2, 2)),
    (6, 6, 7, 1, 6, (3, 3)),
    (6, 6, 5, 2, 6, (1, 2)),  # as TensorFlow pads an even size
]


def convolution(geometry: tuple[int, int, int, int, int, tuple[int, int]], size: int) -> Convolution:
    into, out, kernel, stride, groups, pad = geometry
    return Convolution(
        "one", ("input",), into, out, kernel, stride, groups, size, -(-size // stride), pad, bias=True
    )


@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_of_a_convolution_are_those_of_autograd(
    geometry: tuple[int, int, int, int, int, tuple[int, int]], size: int
) -> None:
    operator, generator = convolution(geometry, size), torch.Generator().manual_seed(2)
    shapes = ((2, operator.in_channels, size, size), operator.weight_shape, (operator.out_channels,))
    own = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes
    ]
    stock = [value.detach().clone().requires_grad_() for value in own]
    before, after = operator.pad
    padded = F.pad(stock[0], (before, after, before, after))
    expected = F.conv2d(padded, stock[1], stock[2], operator.stride, groups=operator.groups)
    found = convolve(own[0], own[1], own[2], operator)
    assert_close(found, expected)
    gradient = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    found.backward(gradient)  # type: ignore[no-untyped-call]
    expected.backward(gradient)  # type: ignore[no-untyped-call]
    for one, other in zip(own, stock, strict=True):
        assert_close(one.grad, other.grad)


@pytest.mark.parametrize("most", [None, 6.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_a_relu_are_those_of_autograd(most: float | None, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(3)
    x = 4.0 * torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64) + 2.0
    x[0, 0, 0, :2] = torch.tensor([0.0, 6.0])
    own = x.clone(memory_format=layout).requires_grad_()
    stock = x.clone().requires_grad_()
    found = rectify(own * 1.0, most=most)
    expected = F.relu(stock) if most is None else F.relu6(stock)
    assert_close(found, expected)
    gradient = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    found.backward(gradient)  # type: ignore[no-untyped-call]
    expected.backward(gradient)  # type: ignore[no-untyped-call]
    assert_close(own.grad, stock.grad)


@pytest.mark.parametrize("size", [2, 7, 8])
def test_halving_is_average_pooling(size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    own, stock = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = halve(own), F.avg_pool2d(stock, 2)
    assert_close(found, expected)
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    expected.square().sum().backward()  # type: ignore[no-untyped-call]
    assert_close(own.grad, stock.grad)


@pytest.mark.parametrize("count", [1, 8, 13])
def test_bits_are_packed_on_every_device_as_numpy_does(count: int) -> None:
    flags = torch.rand(count, generator=torch.Generator().manual_seed(9)) < 0.5
    packed = pack_bits(flags)
    assert packed.tolist() == np.packbits(flags.numpy()).tolist()
    assert torch.equal(unpack_bits(packed, count), flags)


def assert_close(found: Tensor | None, expected: Tensor | None) -> None:
    assert found is not None
    assert expected is not None
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_relu_keeps_a_bit_a_value_and_a_frozen_convolution_nothing() -> None:
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    weight = nn.Parameter(torch.randn(8, 4, 3, 3), requires_grad=False)
    holder = nn.ParameterList([weight])
    operator = convolution((4, 8, 3, 1, 1, (1, 1)), 16)
    assert kept_bytes(holder, lambda: convolve(x, weight, None, operator)) == 0
    assert kept_bytes(holder, lambda: rectify(x * 1.0, most=6.0)) == 4 * 16 * 16 // 8
    assert kept_bytes(holder, lambda: halve(x)) == 0
    weight.requires_grad_()
    assert kept_bytes(holder, lambda: convolve(x, weight, None, operator)) == 4 * 16 * 16 * 4


@pytest.mark.parametrize("name", METHODS)
def test_a_whole_network_has_the_gradients_of_autograd(name: str, tiny: SearchSpace) -> None:
    space = transfer_space(tiny, tiny.largest, classes=5, method=METHODS[name])
    own = TransferNetwork(space, METHODS[name]).double()
    generator = torch.Generator().manual_seed(5)
    for value in own.parameters():
        value.data.normal_(0.0, 0.4, generator=generator)
    stock = Subnet(space, space.largest).double()
    with torch.no_grad():
        merged = {key: value.clone() for key, value in own.state_dict().items()}
        for key in [key for key in merged if key.startswith("scales.")]:
            layer, operator = key.removeprefix("scales.").split("/")
            merged[f"layers.{layer}.{operator}.weight"] *= merged.pop(key)[:, None, None, None]
    stock.load_state_dict(merged)
    x = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 4])
    losses = [F.cross_entropy(network(x), labels) for network in (own, stock)]
    assert_close(*losses)
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    expected = dict(stock.named_parameters())
    trained = own.trained()
    assert trained
    for key, value in trained.items():
        if key.startswith("scales."):
            layer, operator = key.removeprefix("scales.").split("/")
            product = expected[f"layers.{layer}.{operator}.weight"]
            before = own.get_parameter(f"layers.{layer}.{operator}.weight")
            assert product.grad is not None
            assert_close(value.grad, (product.grad * before).sum((1, 2, 3)))
        else:
            assert_close(value.grad, expected[key].grad)
    assert {key for key, value in own.named_parameters() if value.grad is not None} == trained.keys()


def test_scales_that_were_trained_go_into_the_weights(tiny: SearchSpace) -> None:
    space = transfer_space(tiny, tiny.largest, classes=5, method=METHODS["bn"])
    network, generator = TransferNetwork(space, METHODS["bn"]).double(), torch.Generator().manual_seed(6)
    for value in network.parameters():
        value.data.normal_(0.0, 0.4, generator=generator)
    x = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    before = network(x)
    assert len(network.scales) > 0
    network.merge_scales()
    assert len(network.scales) == 0
    assert_close(network(x), before)


def test_what_224_px_keep_at_batch_8(proxyless_mobile: SearchSpace) -> None:
    kept = {}
    for name, is_lean in (("full", False), ("lite+bias", False), ("lite+bias", True), ("bias", True)):
        space = transfer_space(proxyless_mobile, proxyless_mobile.largest, classes=102, method=METHODS[name])
        network = random_network(space, METHODS[name], is_lean=is_lean)
        forward, _ = forward_of(network, space, batch_size=8, is_lean=is_lean)
        kept[name, is_lean] = kept_bytes(network, forward) / 1e6
    assert kept["full", False] == pytest.approx(498.7, abs=0.1)
    assert kept["lite+bias", False] == pytest.approx(510.3, abs=0.1)  # freezing alone saves nothing
    assert kept["lite+bias", True] <= 25.0
    assert kept["bias", True] <= 5.0


def test_evaluation_is_that_of_the_subnet(tiny: SearchSpace) -> None:
    method = METHODS["lite+bias"]
    space = transfer_space(tiny, tiny.smallest, classes=4, method=method)
    own = TransferNetwork(space, method)
    own.initialise(torch.Generator().manual_seed(0))
    for value in own.parameters():
        value.data.uniform_(-0.2, 0.3, generator=torch.Generator().manual_seed(2))
    plain = Subnet(space, space.largest)
    plain.load_state_dict(own.state_dict())
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(own(x), plain(x, EVALUATE))


@pytest.mark.parametrize("is_lean", [True, False])
def test_networks_for_signals_are_tried_on_signals(is_lean: bool) -> None:
    space, method = SearchSpace.load("conv1d"), METHODS["lite+bias"]
    own = transfer_space(space, space.smallest, classes=5, method=method)
    network = random_network(own, method, is_lean=is_lean)
    forward, labels = forward_of(network, own, batch_size=2, is_lean=is_lean)
    assert forward().shape == (2, 5)
    assert labels.shape == (2,)
