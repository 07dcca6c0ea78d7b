"""What stands in a table is what was measured, whatever the machine's speed was meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, NodeTime, Profile, Visit
from ofa_nas.errors import DeviceError
from ofa_nas.latency.profile import Networks
from ofa_nas.latency.references import REFERENCE, reference_architectures, reference_name
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.architecture import Architecture
from tests.pipeline.simulated_board import ENVIRONMENT, MODEL, SPACE, true_ms

PROTOCOL = MeasuringProtocol(rounds=9, max_rounds=9)
SWING = 0.2  # of the machine's speed, up and down
PERIOD = 40.0  # visits


def visits(names: list[str]) -> Iterator[Visit]:
    """As the agent visits them: in random order, while the machine becomes slower and faster."""
    rng = np.random.default_rng(0)
    for turn in range(PROTOCOL.rounds):
        for place, name in enumerate(rng.permutation(names)):
            speed = 1.0 + SWING * np.sin((turn * len(names) + place) / PERIOD)
            ms = speed * true_ms(SPACE.parse(str(name).removeprefix(REFERENCE)))
            yield Visit(str(name), (ms,) * 5, (ms,) * 5, spoilt=False, throttled=False)


def profile_of(arch: Architecture) -> Profile:
    nodes = [NodeTime(f"{layer.name}/conv", "Conv", MODEL.layer_ms(layer)) for layer in SPACE.layers(arch)]
    return Profile(str(arch), tuple(nodes), 0)


def table_of(profile: Callable[[Architecture], Profile]) -> LatencyTable:
    networks = Networks.draw(SPACE, SPACE.resolutions, seed=0)
    profiles = [profile(SPACE.parse(name)) for name in networks.profiled]
    references = [reference_name(arch) for arch in reference_architectures(SPACE)]
    session = Session.of(networks.designs, [*profiles, *visits([*references, *networks.names])], PROTOCOL)
    info = DeviceInfo.from_json(ENVIRONMENT, name="simulated")
    return make_table(SPACE, session, info=info, protocol=PROTOCOL, precision="fp32")


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
