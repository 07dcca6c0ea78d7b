"""What stands in a table is what was measured, whatever the machine's speed was meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, NodeTime, Profile, Visit
from ofa_nas.errors import DeviceError
from ofa_nas.latency.lint import lint_table
from ofa_nas.latency.profile import Networks
from ofa_nas.latency.references import REFERENCE, reference_architectures, reference_name
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.simulated_board import CONSTANT_MS, ENVIRONMENT, MODEL, SPACE, true_ms

PROTOCOL = MeasuringProtocol(rounds=9, max_rounds=9)
SWING = 0.2  # of the machine's speed, up and down
PERIOD = 40.0  # visits
SHARING = replace(SPACE, resolutions=(29, 30))  # but for the stem, they have the same layers
DEARER = {29: 0.8, 30: 1.2}  # what those of the last stage take there


def layer_ms(layer: Layer, arch: Architecture) -> float:
    return MODEL.layer_ms(layer) * (DEARER.get(arch.resolution, 1.0) if layer.in_size <= 8 else 1.0)


def visits(names: list[str], space: SearchSpace, *, swing: float) -> Iterator[Visit]:
    """As the agent visits them: in random order, while the machine becomes slower and faster."""
    rng = np.random.default_rng(0)
    for turn in range(PROTOCOL.rounds):
        for place, name in enumerate(rng.permutation(names)):
            speed = 1.0 + swing * np.sin((turn * len(names) + place) / PERIOD)
            arch = space.parse(str(name).removeprefix(REFERENCE))
            ms = speed * (CONSTANT_MS + sum(layer_ms(layer, arch) for layer in space.layers(arch)))
            yield Visit(str(name), (ms,) * 5, (ms,) * 5, spoilt=False, throttled=False)


def profile_of(arch: Architecture) -> Profile:
    nodes = [NodeTime(f"{layer.name}/conv", "Conv", layer_ms(layer, arch)) for layer in SPACE.layers(arch)]
    return Profile(str(arch), tuple(nodes), 0)


def table_of(
    profile: Callable[[Architecture], Profile],
    space: SearchSpace = SPACE,
    *,
    swing: float = SWING,
    provider: str = "",
) -> LatencyTable:
    networks = Networks.draw(space, space.resolutions, seed=0, provider=provider)
    profiles = [profile(space.parse(name)) for name in networks.profiled]
    references = [reference_name(arch) for arch in reference_architectures(space)]
    visited = visits([*references, *networks.names], space, swing=swing)
    session = Session.of(networks.designs, [*profiles, *visited], PROTOCOL)
    told = {"provider": provider} if provider else {}
    info = DeviceInfo.from_json({**ENVIRONMENT, **told}, name="simulated")
    protocol = replace(PROTOCOL, provider=provider)
    return make_table(space, session, info=info, protocol=protocol, precision="fp32")


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return table_of(profile_of)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_layer_without_a_node_is_named_with_its_resolutions(is_named: bool) -> None:
    last = [layer.name for layer in SPACE.layers(SPACE.largest)][-1]

    def without(arch: Architecture) -> Profile:
        nodes = profile_of(arch).nodes
        kept = [node for node in nodes if node.name.partition("/")[0] != last]
        silent = [replace(node, ms=0.0) for node in nodes]
        return replace(profile_of(arch), nodes=tuple(kept if is_named else silent))

    name, sizes = (last, "24, 32 px") if is_named else ("stem", "24 px")  # its size differs at each
    with pytest.raises(DeviceError, match=rf"layer {name} \(.*\) has no time at {sizes}: the profiles"):
        table_of(without)


def test_a_machine_that_changes_its_speed_leaves_a_true_table(table: LatencyTable) -> None:
    assert table.measured
    found = [(one.measured_ms, one.architecture) for one in table.measured.holdouts]
    level = np.median([ms / true_ms(SPACE.parse(text)) for ms, text in found])
    assert level == pytest.approx(1.0, abs=SWING / 2)
    for holdout in table.measured.holdouts:
        exact = level * true_ms(SPACE.parse(holdout.architecture))
        assert holdout.measured_ms == pytest.approx(exact, rel=0.03)
        assert holdout.predicted_ms == pytest.approx(exact, rel=0.03)


@pytest.fixture(scope="module")
def uneven() -> LatencyTable:
    return table_of(profile_of, SHARING, swing=0.0)


def test_a_layer_of_several_resolutions_may_cost_differently_in_each(uneven: LatencyTable) -> None:
    assert uneven.measured
    for size in SHARING.resolutions:
        error = uneven.measured.errors(resolution=size)
        assert error.mape < 0.002
        assert abs(error.bias) < 0.002


def test_what_is_read_again_predicts_the_same(uneven: LatencyTable, tmp_path: Path) -> None:
    uneven.save(tmp_path / "uneven.json")
    loaded = LatencyTable.load(tmp_path / "uneven.json")
    encoding = Encoding.of(SHARING)
    genes = encoding.sample(50, np.random.default_rng(1))
    predicted = [loaded.latency_ms(SHARING, arch) for arch in encoding.decode(genes)]
    before = [uneven.latency_ms(SHARING, arch) for arch in encoding.decode(genes)]
    assert predicted == pytest.approx(before, abs=1e-4)
    assert predicted == pytest.approx(loaded.cost_table(encoding).total(genes).tolist())
    assert lint_table(loaded, space=SHARING, others=()) == ()


def test_references_are_at_the_level_of_the_others(table: LatencyTable) -> None:
    assert table.measured
    own = {reference_name(arch): true_ms(arch) for arch in reference_architectures(SPACE)}
    assert table.measured.references.keys() == own.keys()
    ratios = [ms / own[name] for name, ms in table.measured.references.items()]
    others = [one.measured_ms / true_ms(SPACE.parse(one.architecture)) for one in table.measured.holdouts]
    assert ratios == pytest.approx([float(np.median(others))] * len(ratios), rel=0.03)


def test_it_counts_each_network_once(table: LatencyTable) -> None:
    assert table.measured
    networks = Networks.draw(SPACE, SPACE.resolutions, seed=0)
    assert table.measured.networks == len(networks.names) + len(table.measured.references)
    assert len(set(networks.names)) == len(networks.names)
    assert set(networks.profiled) <= set(networks.names)


def test_a_provider_that_runs_networks_as_one_node_has_a_true_table() -> None:
    def profile(arch: Architecture) -> Profile:
        nodes = NodeTime("fused", "Whole", 0.75, elsewhere=True), NodeTime("x", "Softmax", 0.25)
        return Profile(str(arch), nodes, 0)

    table = table_of(profile, provider="openvino")
    assert table.error
    assert table.error.spearman
    assert table.error.spearman > 0.99
    assert table.error.mape < 0.01
    assert (table.provider, table.device.runtime) == ("openvino", "onnxruntime 1.31.1, openvino")
    assert "openvino leaves 25% of the time to the CPU: Softmax." in table.notes
    assert not lint_table(table, space=SPACE)
    assert not [note for note in table_of(profile_of).notes if "to the CPU" in note]
