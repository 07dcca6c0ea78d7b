"""Node times to layers, and the fit on whole networks."""

import numpy as np
import pytest

from ofa_nas.devices import NodeTime, Profile
from ofa_nas.latency.attribution import (
    LEAST_FACTOR,
    Network,
    assign_nodes,
    attribute,
    fit_factors,
    layer_shares,
)
from ofa_nas.latency.design import draw_design
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_macs, layer_parameters
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution
from ofa_nas.space.search_space import SearchSpace


def true_ms(layer: Layer) -> float:
    return 0.01 + layer_macs(layer) / 1e6


def profile_of(layers: list[Layer], *, slower: float = 1.2, other: float = 0.0) -> Profile:
    nodes = []
    for layer in layers:
        nodes.append(NodeTime(f"{layer.name}/conv_nchwc", "Conv", slower * true_ms(layer) * (1 - other)))
        if other:
            nodes.append(NodeTime("ReorderOutput_token_1", "ReorderOutput", slower * true_ms(layer) * other))
    return Profile("m", tuple(nodes), 0)


def network_of(layers: list[Layer], *, scale: float = 1.0, constant: float = 0.0) -> Network:
    return Network(tuple(layers), constant + scale * sum(map(true_ms, layers)), 0.001)


def test_nodes_go_to_layers_by_tensor_name_and_reorders_to_their_neighbours(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.smallest))
    names = [
        "ReorderInput",
        "stem/act_nchwc",
        "fused s0b0/expand",
        "ReorderOutput_token_7",
        "ReorderInput_token_8",
        "s1b0/project",
        "Softmax_9",
    ]
    assert assign_nodes(names, layers) == [
        ("stem", False),
        ("stem", True),
        ("s0b0", True),
        ("s0b0", False),
        ("s1b0", False),
        ("s1b0", True),
        ("s1b0", False),
    ]


def test_conversions_of_a_tensor_are_its_layers_and_count_as_other(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.smallest))
    names = {
        "image_QuantizeLinear": ("stem", False),
        "Transpose": ("stem", False),
        "stem/conv_token_6": ("stem", True),
        "stem/act_DequantizeLinear/duplicated": ("stem", False),
        "s0b0/expand.weight_DequantizeLinear": ("s0b0", False),
        "s0b0/expand": ("s0b0", True),
        "HardSigmoid_155": ("s0b0", False),
        "s0b0/expand_act_QuantizeLinear": ("s0b0", False),
        "classifier/linear": ("classifier", True),
        "logits_DequantizeLinear": ("classifier", False),
    }
    assert assign_nodes(list(names), layers) == list(names.values())


def test_convolutions_that_lost_their_names_are_counted_off(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.smallest))
    convolutions = {
        f"QLinearConv_token_{index}" if index else "QLinearConv": layer.name
        for index, layer in enumerate(
            layer for layer in layers for operator in lower(layer) if isinstance(operator, Convolution)
        )
    }
    names = ["image_QuantizeLinear", "Transpose", *convolutions, "classifier/linear"]
    assigned = assign_nodes(names, layers)
    assert assigned[:2] == [("stem", False)] * 2
    assert assigned[2:-1] == [(owner, True) for owner in convolutions.values()]
    fewer = assign_nodes(names[:5] + names[6:], layers)  # who knows which of them is gone
    assert not any(known for _, known in fewer[:-1])


def test_shares_sum_to_one_and_tell_other(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.largest))
    shares = layer_shares([profile_of(layers, other=0.1)] * 3, layers)
    assert sum(share for share, _ in shares.values()) == pytest.approx(1.0)
    for share, other in shares.values():
        assert other == pytest.approx(0.1 * share)


def test_slow_profiles_of_an_additive_device_give_its_layers_back(tiny: SearchSpace) -> None:
    design = draw_design(tiny, 32, np.random.default_rng(0))
    profiled, timed = [], []
    for arch in design.latin:
        layers = list(tiny.layers(arch))
        profiled.append((network_of(layers), [profile_of(layers)]))
    timed = [network_of(list(tiny.layers(arch))) for arch in design.anchors]
    result = attribute(profiled, timed)
    assert abs(result.intercept_ms) < 1e-3
    for row in result.rows:
        assert row.ms == pytest.approx(true_ms(row.layer), rel=1e-3)


def test_designs_that_take_more_than_their_layers_hardly_pull_other_networks_along() -> None:
    """All designs are deep, and where weights do not stay in the caches, deep networks are slow."""
    space = SearchSpace.load("efficientnet_lite")
    design = draw_design(space, 96, np.random.default_rng(3))
    designs = [list(space.layers(arch)) for arch in design.latin]
    profiled = [(network_of(layers, scale=1.06), [profile_of(layers)]) for layers in designs]
    result = attribute(profiled, [network_of(list(space.layers(arch))) for arch in design.anchors])
    prices = {row.layer: row.ms for row in result.rows}
    others = [network_of(list(space.layers(arch))) for arch in design.holdouts]
    predicted = [result.intercept_ms + sum(prices[layer] for layer in one.layers) for one in others]
    errors = [ms / one.latency_ms - 1 for ms, one in zip(predicted, others, strict=True)]
    assert np.mean(np.abs(errors)) < 0.01  # 1.7 % if designs were trusted like anchors


def test_constant_beside_the_layers_is_found_from_whole_networks() -> None:
    space = SearchSpace.load("efficientnet_lite")
    encoding = Encoding.of(space)
    archs = encoding.decode(encoding.sample(40, np.random.default_rng(1)))
    networks = [network_of(list(space.layers(arch)), scale=1.1, constant=3.0) for arch in archs]
    base = {layer: true_ms(layer) for network in networks for layer in network.layers}
    factors, constant = fit_factors(base, networks)
    assert constant == pytest.approx(3.0, rel=0.1)
    for network in networks:
        predicted = constant + sum(factors[layer] * base[layer] for layer in network.layers)
        assert predicted == pytest.approx(network.latency_ms, rel=0.005)


@pytest.mark.parametrize(("ms_per_operator", "ms_per_parameter"), [(0.05, 0.0), (0.0, 2e-6)])
def test_what_profiling_adds_to_an_operator_or_a_parameter_is_taken_off_again(
    ms_per_operator: float, ms_per_parameter: float
) -> None:
    space = SearchSpace.load("efficientnet_lite")
    rng = np.random.default_rng(2)
    design = draw_design(space, 96, rng)
    networks = [network_of(list(space.layers(arch))) for arch in design.networks]
    seen, unseen = networks[: -len(design.holdouts)], networks[-len(design.holdouts) :]
    base = {
        layer: true_ms(layer)
        + ms_per_operator * len(lower(layer))
        + ms_per_parameter * layer_parameters(layer)
        for network in networks
        for layer in network.layers
    }
    factors, constant = fit_factors(base, seen)
    errors = [
        (constant + sum(factors[layer] * base[layer] for layer in network.layers)) / network.latency_ms - 1
        for network in unseen
    ]
    assert np.abs(errors).max() < 0.01


def test_uncertain_network_moves_the_fit_less(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.largest))
    base = {layer: true_ms(layer) for layer in layers}
    total = sum(base.values())
    fits = []
    for uncertainty in (0.001, 2.0):
        factors, constant = fit_factors(base, [Network(tuple(layers), 1.5 * total, uncertainty)])
        fits.append(constant + sum(factors[layer] * base[layer] for layer in layers))
    assert fits[0] == pytest.approx(1.5 * total, rel=0.01)
    assert fits[1] < 1.4 * total


def test_every_layer_takes_some_time_whatever_the_fit_says(tiny: SearchSpace) -> None:
    networks = [network_of(list(tiny.layers(arch)), scale=0.001) for arch in (tiny.smallest, tiny.largest)]
    base = {layer: true_ms(layer) for network in networks for layer in network.layers}
    factors, _ = fit_factors(base, networks)
    assert min(factors.values()) == LEAST_FACTOR
