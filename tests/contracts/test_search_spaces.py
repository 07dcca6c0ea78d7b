"""Contract of a search space: it loads, its samples are valid, its networks run and cost what is counted."""

import numpy as np
import pytest

from ofa_nas.assets import asset_names
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from tests.torch_reference import random_image, relative_error, run_onnx, run_torch


@pytest.mark.parametrize("name", asset_names("search_spaces", suffix=".toml"))
def test_random_networks_run_in_onnx_runtime_as_in_torch(name: str) -> None:
    space = SearchSpace.load(name)
    encoding, rng = Encoding.of(space), np.random.default_rng(4)
    archs = [space.smallest, *encoding.decode(encoding.sample(3, rng))]
    for arch in archs:
        assert space.parse(str(arch)) == arch
        layers = list(space.layers(arch))
        weights, image = random_weights(layers, rng), random_image(layers[0], rng)
        expected, macs = run_torch(layers, weights, image)
        assert expected.shape == (1, space.classes)
        assert macs == network_macs(space, arch)
        assert relative_error(run_onnx(write_model(layers, weights), image), expected) <= 1e-4, arch


@pytest.mark.parametrize("name", asset_names("search_spaces", suffix=".toml"))
def test_the_file_says_what_it_is(name: str) -> None:
    space = SearchSpace.load(name)
    assert space.name == name
    assert space.description
    assert (space.smallest == space.largest) == (space.cardinality == 1)
