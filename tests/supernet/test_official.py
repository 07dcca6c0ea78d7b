"""Official once-for-all checkpoints: what they compute, in whatever spelling, and what is refused."""

import hashlib
import random
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.errors import CheckpointError, FileError
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.costs import layer_parameters, network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet, save_supernet
from ofa_nas.supernet.official import FAMILIES, official_tensors, read_official, write_official
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetFiles
from tests.official_checkpoints import (
    MOBILENET,
    NETWORKS,
    Runs,
    flat_tensors,
    lively_tensors,
    official_shapes,
    spelt_as_published,
)

Activation = Callable[[Tensor], Tensor]


def h_swish(x: Tensor) -> Tensor:
    return x * F.relu6(x + 3) / 6


class Reference:
    """A subnet of once-for-all written out over its raw tensors.

    Source: Cai et al. 2020, arXiv:1908.09791; Howard et al. 2019, arXiv:1905.02244 (MobileNetV3); Cai et al.
    2019, arXiv:1812.00332 (ProxylessNAS).
    """

    def __init__(self, tensors: dict[str, Tensor], network: str) -> None:
        self.tensors = tensors
        self.is_mobilenet = "mbv3" in network
        self.eps = 1e-5 if self.is_mobilenet else 1e-3

    def logits(self, x: Tensor, arch: Architecture) -> Tensor:
        """Logits `(B, 1000)` of images `(B, 3, R, R)`."""
        strides = (1, 2, 2, 2, 1, 2, 1)  # the last one for ProxylessNAS, which has a stage more
        if self.is_mobilenet:
            acts: tuple[Activation, ...] = (F.relu, F.relu, F.relu, h_swish, h_swish, h_swish)
            ends: Activation = h_swish
        else:
            acts, ends = (F.relu6,) * 7, F.relu6
        x = ends(self.norm(F.conv2d(x, self.tensors["first_conv.conv.weight"], None, 2, 1), "first_conv.bn"))
        for stage, blocks in enumerate(arch.stages):
            first = 0 if stage == 0 else 4 * stage - 3
            for index, block in enumerate(blocks):
                stride = strides[stage] if index == 0 else 1
                x = self.block(x, first + index, block, stride=stride, act=acts[stage])
        if self.is_mobilenet:
            weight = self.tensors["final_expand_layer.conv.weight"]
            x = ends(self.norm(F.conv2d(x, weight), "final_expand_layer.bn"))
            x = ends(F.conv2d(x.mean((2, 3), keepdim=True), self.tensors["feature_mix_layer.conv.weight"]))
        else:
            weight = self.tensors["feature_mix_layer.conv.weight"]
            x = ends(self.norm(F.conv2d(x, weight), "feature_mix_layer.bn")).mean((2, 3))
        return F.linear(
            x.flatten(1), self.tensors["classifier.linear.weight"], self.tensors["classifier.linear.bias"]
        )

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Batch norm with the first entries of everything."""
        kinds = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (self.tensors[f"{name}.{kind}"][: x.shape[1]] for kind in kinds)
        return F.batch_norm(x, mean, variance, weight, bias, eps=self.eps)

    def block(self, x: Tensor, number: int, block: Block, *, stride: int, act: Activation) -> Tensor:
        """Block `number`, counted from 0; the first has one size."""
        inputs, name = x, f"blocks.{number}.conv"
        wrap, norm = ("", "bn") if number == 0 else ("conv.", "bn.bn")
        mid = x.shape[1] * block.expand_ratio
        if number > 0:
            weight = self.tensors[f"{name}.inverted_bottleneck.conv.conv.weight"][:mid]
            x = act(self.norm(F.conv2d(x, weight), f"{name}.inverted_bottleneck.bn.bn"))
        weight = self.kernel(f"{name}.depth_conv.conv", wrap, block.kernel_size)[:mid]
        x = F.conv2d(x, weight, None, stride, block.kernel_size // 2, groups=mid)
        x = act(self.norm(x, f"{name}.depth_conv.{norm}"))
        if f"{name}.depth_conv.se.fc.reduce.weight" in self.tensors:
            x = x * self.gate(x, f"{name}.depth_conv.se.fc")
        weight = self.tensors[f"{name}.point_linear.conv.{wrap}weight"][:, :mid]
        x = self.norm(F.conv2d(x, weight), f"{name}.point_linear.{norm}")
        return x + inputs if x.shape == inputs.shape else x

    def kernel(self, name: str, wrap: str, size: int) -> Tensor:
        """Depthwise kernels of one size; 5 is made of the middle of 7, and 3 of that of 5."""
        weight = self.tensors[f"{name}.{wrap}weight"]
        if weight.shape[-1] == 7 and size < 7:
            middle = weight[:, :, 1:-1, 1:-1].reshape(-1, 25)
            weight = (middle @ self.tensors[f"{name}.7to5_matrix"].T).view(-1, 1, 5, 5)
        if weight.shape[-1] == 5 and size < 5:
            middle = weight[:, :, 1:-1, 1:-1].reshape(-1, 9)
            weight = (middle @ self.tensors[f"{name}.5to3_matrix"].T).view(-1, 1, 3, 3)
        return weight

    def gate(self, x: Tensor, name: str) -> Tensor:
        """Squeeze-excite `(B, C, 1, 1)` of `(B, C, H, W)`; its middle is a quarter, in eights."""
        channels = x.shape[1]
        mid = max(8, (channels // 4 + 4) // 8 * 8)
        mid += 8 if mid < 0.9 * (channels // 4) else 0
        reduce, expand = self.tensors[f"{name}.reduce.weight"], self.tensors[f"{name}.expand.weight"]
        x = x.mean((2, 3), keepdim=True)
        x = F.relu(F.conv2d(x, reduce[:mid, :channels], self.tensors[f"{name}.reduce.bias"][:mid]))
        x = F.conv2d(x, expand[:channels, :mid], self.tensors[f"{name}.expand.bias"][:channels])
        return F.relu6(x + 3) / 6


def published(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """A file like the published ones: older names, older format of torch, no suffix."""
    path = folder / "ofa_net"
    torch.save({"state_dict": spelt_as_published(tensors)}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("network", NETWORKS)
def test_a_published_checkpoint_computes_what_once_for_all_does(network: str, tmp_path: Path) -> None:
    tensors = lively_tensors(network)
    supernet, _ = read_official(published(tmp_path, tensors))
    encoding, rng = Encoding.of(supernet.space), np.random.default_rng(0)
    for arch in (supernet.space.largest, *encoding.decode(encoding.sample(2, rng))):
        shape = (1, 3, arch.resolution, arch.resolution)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = Reference(tensors, network).logits(x, arch)
            found = supernet(x, arch)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("network", NETWORKS)
def test_official_names_come_back_exactly(network: str, tmp_path: Path) -> None:
    tensors = lively_tensors(network)
    supernet, _ = read_official(published(tmp_path, tensors))
    back = official_tensors(supernet)
    assert {name: tuple(value.shape) for name, value in back.items()} == official_shapes(network)
    assert all(torch.equal(back[name], value) for name, value in tensors.items())
    assert all(back[name].dtype == value.dtype for name, value in tensors.items())


def test_on_the_disk_large_weights_are_rounded_to_half_precision_and_nothing_else(tmp_path: Path) -> None:
    tensors = lively_tensors(MOBILENET)
    supernet, card = read_official(published(tmp_path, tensors))
    files = SupernetFiles(tmp_path / "net.safetensors")
    save_supernet(files, supernet, card)
    write_official(tmp_path / "back.pth", load_supernet(files)[0])
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        is_large = value.ndim > 1 and name.endswith(".weight")
        assert torch.equal(back[name], value.half().float() if is_large else value), name


def test_the_card_says_what_was_imported(tmp_path: Path) -> None:
    path = published(tmp_path, flat_tensors(MOBILENET))
    supernet, card = read_official(path)
    assert card.made_by["imported"] == {
        "network": MOBILENET,
        "file": "ofa_net",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert card.space == supernet.space == SearchSpace.load("mobilenet_v3")
    assert (card.data, len(card.class_names), card.class_names[0]) == ("imagenet", 1000, "n01440764")
    assert card.input_mean == pytest.approx([255 * mean for mean in (0.485, 0.456, 0.406)])
    assert card.input_std == pytest.approx([255 * std for std in (0.229, 0.224, 0.225)])


@pytest.mark.parametrize(
    ("prefix", "is_published", "is_bare"),
    [("", True, True), ("", False, False), ("module.", True, False), ("module.", False, True)],
)
def test_every_spelling_gives_the_same_tensors(
    prefix: str, is_published: bool, is_bare: bool, tmp_path: Path
) -> None:
    tensors = flat_tensors(MOBILENET)
    spelt = spelt_as_published(tensors) if is_published else tensors
    content: dict[str, Any] = {f"{prefix}{name}": value for name, value in spelt.items()}
    torch.save(content if is_bare else {"epoch": 3, "state_dict": content}, tmp_path / "net.pth")
    back = official_tensors(read_official(tmp_path / "net.pth")[0])
    assert all(torch.equal(back[name], value) for name, value in tensors.items())


def test_counters_of_batches_may_be_absent(tmp_path: Path) -> None:
    tensors = flat_tensors(MOBILENET)
    torch.save({name: value for name, value in tensors.items() if value.ndim}, tmp_path / "net.pth")
    back = official_tensors(read_official(tmp_path / "net.pth")[0])
    assert all(
        torch.equal(back[name], value if value.ndim else torch.tensor(0)) for name, value in tensors.items()
    )


Damage = Callable[[dict[str, Any]], object]


def with_tensor(name: str, value: object) -> Damage:
    return lambda tensors: {**tensors, name: value}


BIAS = "classifier.linear.bias"
VARIANCE = "first_conv.bn.running_var"
MATRIX = "blocks.3.conv.depth_conv.conv.7to5_matrix"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda tensors: {name: value for name, value in tensors.items() if name != MATRIX},
            rf"{MOBILENET}: tensor {re.escape(MATRIX)} is missing",
        ),
        (with_tensor("blocks.21.conv.weight", torch.zeros(3)), "tensor blocks.21.conv.weight is unknown"),
        (with_tensor(BIAS, torch.zeros(10)), r"classifier.linear.bias is \(10,\); the space needs \(1000,\)"),
        (with_tensor(BIAS, torch.full((1000,), torch.nan)), f"{BIAS} holds a value that is not finite"),
        (with_tensor(BIAS, torch.full((1000,), torch.inf)), f"{BIAS} holds a value that is not finite"),
        (with_tensor(BIAS, torch.full((1000,), 1e300, dtype=torch.float64)), "not finite as torch.float32"),
        (with_tensor(VARIANCE, torch.full((16,), -1e-3)), f"{VARIANCE} holds a variance below 0"),
        (with_tensor(f"module.{BIAS}", torch.zeros(1000)), f"{BIAS} is there twice, in two spellings"),
        (with_tensor(BIAS, [0.0] * 1000), f"{BIAS} is no tensor of numbers"),
        (with_tensor(BIAS, torch.zeros(1000, dtype=torch.complex64)), f"{BIAS} is no tensor of numbers"),
        (with_tensor(BIAS, torch.zeros(1000).to_sparse()), f"{BIAS} is no tensor of numbers"),
        (with_tensor(BIAS, torch.zeros(1000, device="meta")), f"{BIAS} is no tensor of numbers"),
        (with_tensor("a\nb", torch.zeros(1)), r"tensor a\\nb is unknown"),
        (lambda _: {"fc.weight": torch.zeros(3)}, f"no tensor is one of {MOBILENET}"),
        (lambda _: {}, "no tensor is one of"),
        (lambda _: torch.zeros(3), "expected a dict, got Tensor"),
        (lambda _: {"state_dict": [1, 2]}, "state_dict is no tensor of numbers"),
    ],
)
def test_a_checkpoint_with_wrong_tensors_is_refused(damage: Damage, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(damage(flat_tensors(MOBILENET)), path)
    with pytest.raises(CheckpointError, match=message) as refusal:
        read_official(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_checkpoint_that_would_run_something_is_refused_unrun(is_new: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    for value, name in ((Runs(tmp_path / "ran"), r"\w+\.mkdir"), (Namespace(lr=0.1), r"argparse\.Namespace")):
        content = {"weight": torch.zeros(3), "extra": value}
        torch.save(content, path, _use_new_zipfile_serialization=is_new)
        with pytest.raises(CheckpointError, match=f"it asks for {name}; only a dict of tensors is read"):
            read_official(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"epoch 3, loss 2.1\n", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.pth: not a checkpoint of once-for-all: "):
        read_official(tmp_path / "net.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"net\.pth: cannot be read: No such file"):
        read_official(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        read_official(tmp_path)


@pytest.mark.parametrize("is_new", [True, False])
def test_any_damage_is_one_clear_error(is_new: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    content = {"state_dict": {"w": torch.zeros(3, 4), "note": "trained for 3 epochs"}}
    torch.save(content, path, _use_new_zipfile_serialization=is_new)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole[: rng.choice((len(whole), rng.randrange(len(whole))))])
        for _ in range(rng.choice((1, 4))):
            if damaged:
                damaged[rng.randrange(min(len(damaged), 900))] = rng.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"net\.pth: ") as refusal:
            read_official(path)
        assert str(refusal.value).isprintable()


def test_a_supernet_of_another_space_has_no_official_names(tiny: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=f"tiny is the space of no network of once-for-all: {MOBILENET}"
    ):
        write_official(tmp_path / "net.pth", Supernet(tiny, torch.Generator()))
    assert list(tmp_path.iterdir()) == []


def test_official_names_do_not_depend_on_the_classes() -> None:
    tensors = official_tensors(Supernet(SearchSpace.load("mobilenet_v3").with_classes(12)))
    assert tensors.keys() == official_shapes(MOBILENET).keys()
    assert tuple(tensors["classifier.linear.weight"].shape) == (12, 1280)


def test_an_official_checkpoint_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    supernet, _ = read_official(published(tmp_path, flat_tensors(MOBILENET)))
    with pytest.raises(FileError, match="cannot be written"):
        write_official(tmp_path / "ofa_net" / "net.pth", supernet)


def test_there_is_a_list_of_names_for_every_family() -> None:
    assert sorted(family.network for family in FAMILIES) == list(NETWORKS)


# Measured with once-for-all's own classes and its own counter.
@pytest.mark.parametrize(
    ("depth", "expand", "kernel", "resolution", "million_macs", "million_parameters"),
    [
        (2, 3, 3, 128, 87.823, 3.719),
        (4, 6, 7, 224, 1004.908, 7.942),
        (4, 6, 3, 224, 823.522, 7.391),
        (2, 6, 7, 224, 549.848, 5.350),
        (4, 3, 7, 224, 535.298, 5.155),
    ],
)
def test_corners_of_proxyless_cost_what_once_for_all_counts(
    depth: int, expand: int, kernel: int, resolution: int, million_macs: float, million_parameters: float
) -> None:
    space = SearchSpace.load("proxyless_w1.3")
    block = (Block(kernel, expand),)
    arch = Architecture(resolution, ((Block(3, 1),), *(block * depth,) * 5, block))
    space.check(arch)
    assert round(network_macs(space, arch) / 1e6, 3) == million_macs
    assert round(sum(map(layer_parameters, space.layers(arch))) / 1e6, 3) == million_parameters


def test_proxyless_has_the_tensors_of_once_for_all() -> None:
    """Source: OFA's own class holds 7,956,882 parameters, transform matrices and all, in 446 tensors."""
    with torch.device("meta"):
        supernet = Supernet(SearchSpace.load("proxyless_w1.3"))
    assert sum(parameter.numel() for parameter in supernet.parameters()) == 7_956_882
    assert len(supernet.state_dict()) == 446
