"""Networks that others designed are said by a space alone, as docs/extending.md tells: exact counts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofa_nas.space.costs import layer_macs, layer_parameters
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet

# Block, kernel, expand ratio or middle channels, width, depth, stride, activation, squeeze-excite.
Stage = tuple[str, int, str, int, int, int, str, bool]


def write(path: Path, *, stem: tuple[int, int, str], stages: Iterator[Stage], head: str) -> SearchSpace:
    width, kernel_size, activation = stem
    lines = [
        'description = "A network that others designed"\nresolutions = [224]\nclasses = 1000',
        f'[stem]\nwidth = {width}\nkernel_size = {kernel_size}\nstride = 2\nactivation = "{activation}"',
    ]
    for block, kernel, middle, out, depth, stride, function, is_squeezed in stages:
        lines.append(
            f'[[stages]]\nblock = "{block}"\nwidth = {out}\nstride = {stride}\nkernel_sizes = [{kernel}]\n'
            f'{middle}\ndepths = [{depth}]\nactivation = "{function}"\n'
            f"squeeze_excite = {str(is_squeezed).lower()}"
        )
    path.write_text("\n\n".join([*lines, f"[head]\n{head}"]))
    return SearchSpace.load(str(path))


def count(space: SearchSpace) -> tuple[int, int]:
    """Trained parameters and MACs."""
    layers = list(space.layers(space.largest))
    return sum(map(layer_parameters, layers)), sum(map(layer_macs, layers))


def test_mobilenet_v2(tmp_path: Path) -> None:
    # Sandler et al. 2018, arXiv:1801.04381, table 2.
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    rows.append((6, 320, 1, 1))
    stages: Iterator[Stage] = (
        ("mbconv", 3, f"expand_ratios = [{ratio}]", out, depth, stride, "relu6", False)
        for ratio, out, depth, stride in rows
    )
    head = 'width = 1280\nactivation = "relu6"'
    space = write(tmp_path / "v2.toml", stem=(32, 3, "relu6"), stages=stages, head=head)
    parameters, macs = count(space)
    assert parameters == 3_504_872
    assert macs == pytest.approx(300e6, rel=0.01)


def test_mobilenet_v3_large_with_its_own_middles(tmp_path: Path) -> None:
    # Howard et al. 2019, arXiv:1905.02244, table 1: kernel, middle, width, SE, activation, stride.
    relu, swish = "relu", "hard_swish"
    rows = [
        (3, 16, 16, False, relu, 1), (3, 64, 24, False, relu, 2), (3, 72, 24, False, relu, 1),
        (5, 72, 40, True, relu, 2), (5, 120, 40, True, relu, 1), (5, 120, 40, True, relu, 1),
        (3, 240, 80, False, swish, 2), (3, 200, 80, False, swish, 1), (3, 184, 80, False, swish, 1),
        (3, 184, 80, False, swish, 1), (3, 480, 112, True, swish, 1), (3, 672, 112, True, swish, 1),
        (5, 672, 160, True, swish, 2), (5, 960, 160, True, swish, 1), (5, 960, 160, True, swish, 1),
    ]  # fmt: skip
    stages: Iterator[Stage] = (
        ("mbconv", kernel, f"expand_ratios = [1]\nmid_width = {middle}", out, 1, stride, function, squeezed)
        for kernel, middle, out, squeezed, function, stride in rows
    )
    head = 'width = 960\nmix_width = 1280\nactivation = "hard_swish"'
    space = write(tmp_path / "v3.toml", stem=(16, 3, "hard_swish"), stages=stages, head=head)
    parameters, macs = count(space)
    assert parameters == 5_483_032 - 1280  # biases behind the pooling, which a space does without
    assert macs == pytest.approx(219e6, rel=0.02)


def test_resnet_18_but_for_its_max_pooling(tmp_path: Path) -> None:
    # He et al. 2016, arXiv:1512.03385, table 1.
    stages: Iterator[Stage] = (
        ("basic", 3, "expand_ratios = [1]", out, 2, 1 if out == 64 else 2, "relu", False)
        for out in (64, 128, 256, 512)
    )
    head = 'width = 0\nactivation = "relu"'
    space = write(tmp_path / "r18.toml", stem=(64, 7, "relu"), stages=stages, head=head)
    assert count(space)[0] == 11_689_512


BOTTLENECK = """
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, same_padding

def lower(layer):
    mid, out, size = layer.mid_channels, layer.out_channels, layer.out_size
    sizes, act = (layer.in_size, size), layer.activation
    pad = same_padding(layer.kernel_size, layer.stride, *sizes, padding=layer.padding)
    shortcut = () if layer.residual else (
        Convolution("shortcut", (INPUT,), layer.in_channels, out, 1, layer.stride, 1, *sizes, (0, 0)),
    )
    return (
        Convolution("reduce", (INPUT,), layer.in_channels, mid, 1, 1, 1, sizes[0], sizes[0], (0, 0)),
        Elementwise("reduce_act", ("reduce",), act, mid, sizes[0]),
        Convolution("middle", ("reduce_act",), mid, mid, layer.kernel_size, layer.stride, 1, *sizes, pad),
        Elementwise("middle_act", ("middle",), act, mid, size),
        Convolution("project", ("middle_act",), mid, out, 1, 1, 1, size, size, (0, 0)),
        *shortcut,
        Elementwise("add", ("project", INPUT if layer.residual else "shortcut"), "add", out, size),
        Elementwise("act", ("add",), act, out, size),
    )
"""


def test_resnet_50_with_a_kind_of_its_own(tmp_path: Path, write_module: Callable[[str], str]) -> None:
    kind = write_module(BOTTLENECK)
    stages: Iterator[Stage] = (
        (kind, 3, f"expand_ratios = [1]\nmid_width = {out // 4}", out, depth, stride, "relu", False)
        for out, depth, stride in ((256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2))
    )
    head = 'width = 0\nactivation = "relu"'
    space = write(tmp_path / "r50.toml", stem=(64, 7, "relu"), stages=stages, head=head)
    assert count(space)[0] == 25_557_032


def test_a_bottleneck_is_the_same_function_when_channels_are_sorted(
    tmp_path: Path, write_module: Callable[[str], str]
) -> None:
    stages: Iterator[Stage] = iter(
        [(write_module(BOTTLENECK), 3, "expand_ratios = [1]\nmid_width = 8", 16, 2, 2, "relu", False)]
    )
    head = 'width = 0\nactivation = "relu"'
    space = write(tmp_path / "b.toml", stem=(8, 3, "relu"), stages=stages, head=head)
    space = replace(space, resolutions=(32,), classes=5)
    supernet = Supernet(space, torch.Generator().manual_seed(0)).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = supernet(x, space.largest)
        sort_channels(supernet)
        torch.testing.assert_close(supernet(x, space.largest), before)
