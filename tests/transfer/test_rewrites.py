"""Lite residual modules and folded norms: in the walk, in ONNX as in torch, and in no space of choices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.assets import asset_names
from ofa_nas.errors import ConfigError, SpaceError
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution
from ofa_nas.space.search_space import SearchSpace
from tests.torch_reference import random_image, relative_error, run_onnx, run_torch


@pytest.mark.parametrize("kind", ["mbconv", "basic"])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 2), (7, 2), (9, 1), (12, 2)])
def test_a_block_with_a_lite_residual_is_in_onnx_as_in_torch(kind: str, size: int, stride: int) -> None:
    rng = np.random.default_rng(3)
    layer = Layer(
        "layer", f"{kind}+lite+folded", 8, 24, 8, 3, stride, size, -(-size // stride), "relu6",
        se_channels=8, residual=stride == 1,
    )  # fmt: skip
    weights, image = random_weights([layer], rng), random_image(layer, rng)
    expected, macs = run_torch([layer], weights, image)
    assert relative_error(run_onnx(write_model([layer], weights), image), expected) <= 1e-5
    assert macs == layer_macs(layer)
    without = run_torch([replace(layer, kind=kind)], weights, image)[0]
    assert relative_error(without, expected) > 1e-3, "the lite residual is part of the output"


def test_a_space_of_one_architecture_has_the_layers_of_the_architecture() -> None:
    for name in asset_names("search_spaces", suffix=".toml"):
        space = SearchSpace.load(name)
        for arch in (space.smallest, space.middle, space.largest):
            only = space.only(arch)
            assert list(only.layers(only.largest)) == list(space.layers(arch))
            assert only.cardinality == 1


def test_folded_layers_have_biases_where_norms_were(tiny: SearchSpace) -> None:
    only = tiny.only(tiny.largest)
    folded = replace(only, folded=True)
    for before, after in zip(only.layers(only.largest), folded.layers(folded.largest), strict=True):
        for one, other in zip(lower(before), lower(after), strict=True):
            if isinstance(one, Convolution) and isinstance(other, Convolution):
                assert not other.norm
                assert other.bias == (one.norm or one.bias)


def test_the_first_block_that_does_not_expand_gets_no_lite_residual(proxyless_lite: SearchSpace) -> None:
    kinds = [layer.kind for layer in proxyless_lite.layers(proxyless_lite.largest)]
    assert kinds[:3] == ["conv", "mbconv", "mbconv+lite"]
    assert kinds.count("mbconv+lite") == 19


def test_an_unknown_rewrite_is_refused() -> None:
    layer = Layer("layer", "mbconv+sparse", 8, 24, 8, 3, 1, 7, 7, "relu6")
    with pytest.raises(ConfigError, match=r"'mbconv\+sparse': there is no 'sparse'; there are lite, folded"):
        lower(layer)


def test_both_survive_a_document_and_change_the_digest(tiny: SearchSpace) -> None:
    only = tiny.only(tiny.smallest)
    for space in (replace(only, lite=True), replace(only, folded=True)):
        assert SearchSpace.from_document(space.to_document(), Path("a.json")) == space
        assert space.digest != only.digest


def test_a_space_with_choices_cannot_have_them(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("lite = true\n" + (Path("search_spaces") / "tiny.toml").read_text())
    with pytest.raises(SpaceError, match=r"own\.toml: lite: expected false .* ofa-nas transfer"):
        SearchSpace.load(str(path))
