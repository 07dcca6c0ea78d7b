"""Node times of whole networks to latencies of layers.

A profile gives shares, for profiling slows a network down; an unprofiled time gives the level. What the
layers' sum then misses of whole networks is fitted: a scale, a constant, what an operator and what a
parameter take more or less than the profile shows, and small corrections of layers.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.devices import Profile
from ofa_nas.latency.operator_model import FEATURES, fit_operator_model, sum_features
from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_parameters
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution

# How far each unknown may be expected from its prior mean, relative to the latencies of the networks. The
# layers are held stiff: 14 networks say little about 40 of them. A profiled operator takes a microsecond or
# two more than one that is not, and profiling disturbs which weights are still in the caches.
SCALE_SD, CONSTANT_SD, OPERATORS_SD, PARAMETERS_SD, LAYER_SD = 0.3, 0.3, 0.1, 0.1, 0.02
# Relative doubt in what Latin designs take. They tell shares, but lie off the line through other networks:
# deep as they are, they take more than their layers where weights do not stay in the caches.
DESIGN_DOUBT = 0.02
WORK_LAYER_SD = 0.05  # of layers whose work alone is known, and whose nodes are not
LEAST_WORK_MS = 1e-5  # of a layer whose work costs nothing by the prices that were fitted
LEAST_FACTOR = 0.05  # of a layer: it takes time, whatever the fit says
MODEL_SD = 0.01  # what an additive model misses even of a perfect measurement
CONVERSIONS = ("_QuantizeLinear", "_DequantizeLinear")  # behind the name of the tensor that is converted


@dataclass(frozen=True, slots=True)
class LayerLatency:
    """What a layer takes inside a network.

    Attributes:
        layer: Its geometry.
        ms: Latency, `other_ms` included [ms].
        other_ms: The part that belongs to none of its operators: tensors brought into another order, or
            from one precision to another [ms].
        resolution: Of the networks in which it takes that [px]; 0 is any.
    """

    layer: Layer
    ms: float
    other_ms: float
    resolution: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """A whole network that was timed.

    Attributes:
        layers: In execution order.
        latency_ms: Measured unprofiled [ms].
        uncertainty: Standard error over latency.
    """

    layers: tuple[Layer, ...]
    latency_ms: float
    uncertainty: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Layers, and the constant that a network takes beside them [ms]."""

    rows: tuple[LayerLatency, ...]
    intercept_ms: float


def assign_nodes(names: Sequence[str], layers: Sequence[Layer]) -> list[tuple[str, bool]]:
    """Assign nodes of a profile to layers.

    A node named after a tensor, `layer/operator`, whatever stands before or behind, is that layer's; so
    are the conversions of that tensor between precisions. ONNX Runtime's own nodes (reorders, transposes)
    run between their producer and their consumer: those that bring a tensor back belong to the layer before
    them, those that prepare one to the layer behind, as do those before the first layer.

    Args:
        names: Of the nodes, in execution order.
        layers: Of the network, in execution order.

    Returns:
        For every node the name of its layer, and whether the node is one of its operators.
    """
    known = {layer.name for layer in layers}
    owners = [_owner(name, known) for name in names]
    for place, owner in _nameless_convolutions(names, layers):
        owners[place] = owner
    named = [place for place, owner in enumerate(owners) if owner]
    assigned = []
    for place, (name, owner) in enumerate(zip(names, owners, strict=True)):
        if owner:
            assigned.append((owner, not any(word in name for word in CONVERSIONS)))
            continue
        before = [owners[other] for other in named if other < place]
        behind = [owners[other] for other in named if other > place]
        prefers_behind = name.startswith("ReorderInput")
        choice = (behind[:1] or before[-1:]) if prefers_behind else (before[-1:] or behind[:1])
        assigned.append((choice[0] if choice else "", False))
    return assigned


def _owner(node: str, known: set[str]) -> str:
    for word in node.split():
        head, slash, _ = word.partition("/")
        if slash and head in known:
            return head
    return ""


def _nameless_convolutions(names: Sequence[str], layers: Sequence[Layer]) -> Iterator[tuple[int, str]]:
    """Places and layers of quantised convolutions whose names are lost, which ONNX Runtime 1.19 does."""
    places = [place for place, name in enumerate(names) if name.startswith("QLinearConv")]
    owners = [
        layer.name for layer in layers for operator in lower(layer) if isinstance(operator, Convolution)
    ]
    if len(places) == len(owners):  # all of them, and a chain of layers runs in its order
        yield from zip(places, owners, strict=True)


def layer_shares(profiles: Sequence[Profile], layers: Sequence[Layer]) -> dict[str, tuple[float, float]]:
    """Shares of a network's node time: by layer name the layer's, and that of its `other`.

    Args:
        profiles: Sittings of one network; the median over them is taken.
        layers: Of that network.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    others: dict[str, list[float]] = defaultdict(list)
    for profile in profiles:
        total = sum(node.ms for node in profile.nodes) or 1.0
        whole = {layer.name: [0.0, 0.0] for layer in layers}
        assigned = assign_nodes([node.name for node in profile.nodes], layers)
        for node, (name, is_operator) in zip(profile.nodes, assigned, strict=True):
            if not name:
                continue  # no node of the profile tells its layer
            whole[name][0] += node.ms / total
            whole[name][1] += 0.0 if is_operator else node.ms / total
        for name, (share, other) in whole.items():
            shares[name].append(share)
            others[name].append(other)
    return {name: (float(np.median(shares[name])), float(np.median(others[name]))) for name in shares}


def attribute(profiled: Sequence[tuple[Network, Sequence[Profile]]], timed: Sequence[Network]) -> Attribution:
    """Work out what each layer takes.

    Args:
        profiled: Latin designs with the sittings of each.
        timed: Anchors; no hold-out may be among them.
    """
    raw: dict[Layer, list[tuple[float, float]]] = defaultdict(list)
    for network, profiles in profiled:
        shares = layer_shares(profiles, network.layers)
        for layer in network.layers:
            share, other = shares[layer.name]
            raw[layer].append((share * network.latency_ms, other * network.latency_ms))
    medians = {layer: np.median(np.array(pairs), axis=0) for layer, pairs in raw.items()}
    doubtful = (
        replace(network, uncertainty=hypot(network.uncertainty, DESIGN_DOUBT)) for network, _ in profiled
    )
    networks = [*doubtful, *timed]
    factors, intercept = fit_factors({layer: float(pair[0]) for layer, pair in medians.items()}, networks)
    rows = [
        LayerLatency(layer, float(pair[0] * factors[layer]), float(pair[1] * factors[layer]))
        for layer, pair in medians.items()
    ]
    return Attribution(tuple(rows), intercept)


def attribute_by_work(networks: Sequence[Network]) -> Attribution:
    """Work out what each layer takes where profiles tell nothing of layers, from whole networks alone.

    Prices of arithmetic, memory and operators are fitted first, and tell what each layer takes by its work;
    then the same is fitted as to shares of a profile, with more freedom for single layers.

    Args:
        networks: Designs and anchors, which hold every layer; no hold-out may be among them.
    """
    layers = tuple(dict.fromkeys(layer for network in networks for layer in network.layers))
    names = tuple(FEATURES)
    features = {layer: sum_features(lower(layer), names) for layer in layers}
    sums = np.array([sum(features[layer] for layer in network.layers) for network in networks])
    model = fit_operator_model(sums, np.array([one.latency_ms for one in networks]), names)
    base = {layer: max(float(features[layer] @ model.ms_per_unit), LEAST_WORK_MS) for layer in layers}
    factors, intercept = fit_factors(base, networks, layer_sd=WORK_LAYER_SD)
    return Attribution(
        tuple(LayerLatency(layer, base[layer] * factors[layer], 0.0) for layer in layers), intercept
    )


def fit_factors(
    base: Mapping[Layer, float], networks: Sequence[Network], *, layer_sd: float = LAYER_SD
) -> tuple[dict[Layer, float], float]:
    """Fit a constant and a factor for each layer so that sums meet the times of whole networks.

    Bayesian linear regression on relative errors with normal priors: a common scale near 1, a constant near
    0, near 0 also what each operator and each parameter takes beside, and small deviations of the layers.

    Args:
        base: What each layer takes by its share [ms].
        networks: Designs and anchors.
        layer_sd: How far a layer may be expected from its share.

    Returns:
        Factors of the layers, and the constant [ms].

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 3.3 (in its dual form).
    """
    latency = np.array([network.latency_ms for network in networks])
    typical = float(np.median(latency))
    places = {layer: place for place, layer in enumerate(base)}
    counts = np.zeros((len(networks), len(base)))
    for row, network in zip(counts, networks, strict=True):
        np.add.at(row, [places[layer] for layer in network.layers], 1.0)
    base_ms = np.array(list(base.values()))
    beside_ms = _as_latency(counts, typical, [[len(lower(one)), layer_parameters(one)] for one in base])
    parts = counts * base_ms
    columns = np.column_stack(
        [parts.sum(axis=1), np.full(len(networks), typical), counts @ beside_ms, parts]
    ) / latency.reshape(-1, 1)
    prior = np.array([SCALE_SD, CONSTANT_SD, OPERATORS_SD, PARAMETERS_SD, *[layer_sd] * len(base)]) ** 2
    noise = np.array([network.uncertainty for network in networks]) ** 2 + MODEL_SD**2
    covariance = (columns * prior) @ columns.T + np.diag(noise)
    solution = prior * (columns.T @ np.linalg.solve(covariance, 1.0 - columns[:, 0]))
    scale, constant, *beside = solution[:4]
    added = beside_ms @ beside / np.maximum(base_ms, 1e-9)  # a layer without a time is refused later
    factors = 1.0 + scale + added + solution[4:]
    return dict(zip(base, np.maximum(factors, LEAST_FACTOR).tolist(), strict=True)), float(constant) * typical


def _as_latency(counts: Floats, typical_ms: float, amounts: Sequence[Sequence[float]]) -> Floats:
    """Amounts of the layers `(layers, k)` such that a usual network's, summed, are a usual latency [ms]."""
    values = np.array(amounts, dtype=np.float64)
    return np.asarray(values * (typical_ms / np.median(counts @ values, axis=0)))
