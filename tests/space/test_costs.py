"""Costs: vectorised = plain walk, liveness = closed formulas, smallest = brute force."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from ofa_nas.assets import asset_names
from ofa_nas.errors import ConfigError
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import CostTable, layer_macs, layer_parameters, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace

SPACES = asset_names("search_spaces", suffix=".toml")
COSTS = [layer_macs, layer_parameters, weight_bytes, peak_bytes]


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.__name__)
@pytest.mark.parametrize("name", SPACES)
def test_vectorised_costs_equal_the_plain_walk(name: str, cost: Callable[[Layer], int]) -> None:
    encoding = Encoding.of(SearchSpace.load(name))
    table = tabulate(encoding, cost)
    genes = encoding.sample(30, np.random.default_rng(1))
    walks = [[cost(layer) for layer in encoding.space.layers(arch)] for arch in encoding.decode(genes)]
    assert table.total(genes).tolist() == [sum(walk) for walk in walks]
    assert table.peak(genes).tolist() == [max(walk) for walk in walks]


def every_row(encoding: Encoding) -> Genes:
    """All genes of an enumerable space, by drawing until none is new."""
    genes = np.unique(encoding.sample(40_000, np.random.default_rng(0)), axis=0)
    assert len(genes) == encoding.space.cardinality
    return genes


def arbitrary(seed: int) -> Callable[[Layer], float]:
    """A cost without any order: what a noisy table may look like."""
    return lambda layer: float(crc32(f"{seed} {layer}".encode()) % 1000)


@pytest.mark.parametrize("is_peak", [False, True])
@pytest.mark.parametrize("cost", [*COSTS, *map(arbitrary, range(10))])
def test_smallest_is_what_brute_force_finds(
    encoding: Encoding, cost: Callable[[Layer], float], *, is_peak: bool
) -> None:
    table = tabulate(encoding, cost, is_peak=is_peak)
    smallest = encoding.encode([table.smallest()])
    assert encoding.is_canonical(smallest).all()
    assert table.values(smallest)[0] == table.values(every_row(encoding)).min()


def test_what_does_not_exist_is_nan(encoding: Encoding) -> None:
    table: CostTable = tabulate(Encoding.of(SearchSpace.load("mobilenet_v3")), layer_macs)
    assert np.isnan(table.choices[:, 0, 2:]).all()
    assert not np.isnan(tabulate(encoding, layer_macs).choices).any()


# LATENCY.md, "Memory": inverted residual, elements; r is the input where it is kept for the residual.
def closed_peak(layer: Layer) -> int:
    before, after = layer.in_size**2, layer.out_size**2
    into, mid, out = layer.in_channels, layer.mid_channels, layer.out_channels
    kept = into * before if layer.residual else 0
    expands = mid != into
    steps = [into * before + mid * after]  # depthwise that reads the input of the block
    if expands:
        steps = [before * (into + mid), mid * (before + after) + kept]
    if layer.se_channels:
        steps.append(mid * after + mid + layer.se_channels + kept)
    steps.append(after * (mid + out) + kept)
    return 4 * max(steps)


@pytest.mark.parametrize("name", SPACES)
def test_peak_of_a_block_is_the_closed_formula(name: str) -> None:
    encoding = Encoding.of(SearchSpace.load(name))
    archs = encoding.decode(encoding.sample(40, np.random.default_rng(2)))
    blocks = {layer for arch in archs for layer in encoding.space.layers(arch) if layer.kind == "mbconv"}
    for layer in blocks:
        assert peak_bytes(layer) == closed_peak(layer), layer


def test_peak_of_stem_and_head_is_input_plus_output(tiny: SearchSpace) -> None:
    for layer in tiny.layers(tiny.largest):
        if layer.kind in {"conv", "linear", "pool"}:
            inside = layer.in_channels * layer.in_size**2 + layer.out_channels * layer.out_size**2
            assert peak_bytes(layer) == 4 * inside


def test_weight_bytes_fold_batch_norm_into_one_bias(tiny: SearchSpace) -> None:
    for layer in tiny.layers(tiny.largest):
        convolutions = [operator for operator in lower(layer) if isinstance(operator, Convolution)]
        norms = sum(operator.out_channels for operator in convolutions if operator.norm)
        assert weight_bytes(layer) == 4 * (layer_parameters(layer) - norms)


@pytest.mark.parametrize("given", [None, float("nan"), float("inf"), "dear"])
def test_a_cost_that_is_no_number_is_told_with_its_layer(encoding: Encoding, given: Any) -> None:
    with pytest.raises(ConfigError, match=r"cost: gave .* for layer s1b1; expected a finite number"):
        tabulate(encoding, lambda layer: given if layer.name == "s1b1" else 1.0)
