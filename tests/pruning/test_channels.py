"""A network with channels cut out computes what the masked dense one does, in ONNX Runtime."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from ofa_nas.errors import ConfigError, SpaceError
from ofa_nas.onnx_writer import write_model
from ofa_nas.pruning.channels import cut_channels, narrow_space
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_macs, network_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import ElasticConvolution
from ofa_nas.supernet.sorting import l1_importance
from ofa_nas.supernet.supernet import Supernet
from tests.supernet.test_supernet import images, lively_supernet


def only(space: SearchSpace) -> SearchSpace:
    return space.only(space.largest)


def spaces() -> list[SearchSpace]:
    tiny = SearchSpace.load("tiny")
    hard = replace(tiny.stages[0], squeeze_excite=True, activation="hard_swish", expand_ratios=(6,))
    basic = replace(tiny.stages[1], block="basic", expand_ratios=(2,))
    return [only(tiny), only(replace(tiny, stages=(hard, basic)))]


def mask_least(dense: Supernet, narrow: SearchSpace) -> None:
    """Make the outputs of the least important channels 0, found without the code under test."""
    layers = zip(dense.space.layers(dense.space.largest), narrow.layers(narrow.largest), strict=True)
    for layer, cut in layers:
        modules = {
            operator.name: dense.weighted(layer, operator)
            for operator in lower(layer)
            if operator.name in ("expand", "depthwise", "project", "se_reduce", "se_expand")
        }
        if "expand" not in modules:
            continue
        last = "depthwise" if "depthwise" in modules else "expand"
        _silence(modules[last], modules["project"].weight, cut.mid_channels)
        if layer.se_channels:
            _silence(modules["se_reduce"], modules["se_expand"].weight, cut.se_channels)


def _silence(maker: torch.nn.Module, reader: Tensor, kept: int) -> None:
    assert isinstance(maker, ElasticConvolution)
    sums = reader.detach().numpy().astype(np.float64)
    least = np.argsort(-np.abs(sums).sum(axis=(0, 2, 3)), kind="stable")[kept:]
    with torch.no_grad():
        maker.weight[least] = 0.0
        if maker.bn is not None:
            assert maker.bn.running_mean is not None
            maker.bn.bias[least] = 0.0
            maker.bn.running_mean[least] = 0.0
        if maker.bias is not None:
            maker.bias[least] = 0.0


def in_runtime(supernet: Supernet, x: Tensor) -> tuple[np.ndarray, dict[str, tuple[int, ...]]]:
    subnet = supernet.extract(supernet.space.largest)
    model = write_model(subnet.walk, subnet.folded_weights())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return np.concatenate([session.run(None, {"image": one[None].numpy()})[0] for one in x]), shapes


@pytest.mark.parametrize("space", spaces(), ids=["mbconv", "squeeze-excite and basic"])
@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_the_file_equals_the_masked_dense_network(space: SearchSpace, keep: float) -> None:
    dense, masked = lively_supernet(space), lively_supernet(space)
    x = images(space.largest)
    narrow = narrow_space(space, space.largest, keep=keep)
    mask_least(masked, narrow)
    wanted, before = in_runtime(masked, x)
    whole, _ = in_runtime(dense, x)
    found, after = in_runtime(cut_channels(dense, narrow), x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))
    assert np.abs(whole - wanted).max() > 1e-2 * np.abs(wanted).max(), "the cut does change something"
    smaller = {name for name in after if np.prod(after[name]) < np.prod(before[name])}
    assert {"s1b0/expand.weight", "s1b0/project.weight", "s1b0/expand.bias"} <= smaller
    assert after.keys() == before.keys()


def test_the_middle_is_cut_to_its_share_in_steps_of_eight_and_nothing_else(tiny: SearchSpace) -> None:
    space = only(tiny)
    narrow = narrow_space(space, space.largest, keep=0.5)
    for layer, cut in zip(space.layers(space.largest), narrow.layers(narrow.largest), strict=True):
        assert (cut.in_channels, cut.out_channels, cut.in_size) == (
            layer.in_channels,
            layer.out_channels,
            layer.in_size,
        )
        if _expands(layer):
            assert abs(cut.mid_channels - 0.5 * layer.mid_channels) <= 8
            assert cut.mid_channels % 8 == 0
            assert layer_macs(cut) < layer_macs(layer)
        else:
            assert cut.mid_channels == layer.mid_channels


@pytest.mark.parametrize("keep", [0.01, 0.17, 1 / 3, 0.5])
def test_a_block_that_expands_still_does_however_little_is_kept(keep: float, tiny: SearchSpace) -> None:
    space = only(tiny)
    narrow = narrow_space(space, space.largest, keep=keep)
    for layer, cut in zip(space.layers(space.largest), narrow.layers(narrow.largest), strict=True):
        assert [operator.name for operator in lower(layer)] == [operator.name for operator in lower(cut)]


def test_what_is_cut_may_be_cut_again(tiny: SearchSpace) -> None:
    space = only(replace(tiny, stages=tuple(replace(stage, expand_ratios=(6,)) for stage in tiny.stages)))
    once = narrow_space(space, space.largest, keep=0.5)
    twice = narrow_space(once, once.largest, keep=0.5)
    macs = [network_macs(one, one.largest) for one in (space, once, twice)]
    assert macs == sorted(macs, reverse=True)
    assert len(set(macs)) == 3
    assert SearchSpace.from_document(twice.to_document(), Path("card.json")) == twice


def test_wrong_shares_are_refused(tiny: SearchSpace) -> None:
    with pytest.raises(ConfigError, match=r"--keep 0\.0: expected a share of the channels"):
        narrow_space(tiny, tiny.largest, keep=0.0)
    with pytest.raises(ConfigError, match=r"--keep 0\.99: cuts no channel of tiny"):
        narrow_space(tiny, tiny.largest, keep=0.99)


def _expands(layer: Layer) -> bool:
    return any(operator.name == "expand" for operator in lower(layer))


def test_important_channels_are_those_that_are_read_with_large_weights() -> None:
    weight = torch.tensor([[1.0, -3.0, 0.5], [1.0, 0.0, -0.5]])[..., None, None]
    assert l1_importance(weight).tolist() == [2.0, 3.0, 1.0]


def test_a_middle_width_stands_beside_one_expand_ratio(tiny: SearchSpace) -> None:
    document = tiny.to_document()
    document["stages"][0]["mid_width"] = 24
    with pytest.raises(SpaceError, match=r"stages\[0\]\.mid_width: expected one expand ratio beside it"):
        SearchSpace.from_document(document, Path("own.json"))
    assert only(tiny).with_mid_widths([0] * len(only(tiny).stages)).digest == only(tiny).digest
    assert only(tiny).with_mid_widths([40] * len(only(tiny).stages)).digest != only(tiny).digest
