"""Measuring with real ONNX Runtime sessions, and the agent on its own."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.devices import MeasuringProtocol, Model, agent, open_device
from ofa_nas.devices.job import pack_model
from ofa_nas.errors import DeviceError
from ofa_nas.latency.attribution import assign_nodes, layer_shares
from ofa_nas.latency.references import write_network
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.precision import peak_bytes
from ofa_nas.space.search_space import SearchSpace

FAST = MeasuringProtocol(
    rounds=3, max_rounds=3, visit_ms=0.0, retries=0, profile_runs=5, profile_skip=2, profile_sittings=2
)


def model_of(space: SearchSpace, arch: Architecture) -> Model:
    layers = list(space.layers(arch))
    weights = random_weights(layers, np.random.default_rng(0))
    return Model(str(arch), write_model(layers, weights).SerializeToString())


def test_host_tells_what_it_is() -> None:
    info = open_device("host").info()
    assert info.name == "host"
    assert info.cpu
    assert info.cores >= 1
    assert "CPUExecutionProvider" in info.environment["providers"]
    json.dumps(info.environment, allow_nan=False)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"temperature_c": 81.0}, "81 degrees C: let it cool"),
        ({"throttled": "0x1"}, "the supply voltage"),
    ],
)
def test_a_host_in_no_state_to_be_measured_is_refused_as_a_board_is(
    state: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = {"frequency_mhz": 0.0, "temperature_c": 45.0, "hot_c": 80.0, "throttled": ""}
    monkeypatch.setattr(agent, "probe_state", lambda: calm | state)
    with pytest.raises(DeviceError, match=f"^host: {told}"):
        open_device("host").info()


def test_a_busy_host_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([{0: 0, 1: 0}, {0: 20, 1: 10}])
    monkeypatch.setattr(agent, "_busy_ticks", lambda: next(ticks))
    assert "busy with something else: load 1.5" in open_device("host").info().environment["warnings"]


def test_models_that_do_not_fit_are_refused_on_the_host(
    tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tiny, tiny.smallest)
    monkeypatch.setattr(agent, "free_bytes", lambda: 2 * len(model.content) - 1)
    for models in ([model], [pack_model(model)]):
        for measure in (open_device("host").time, open_device("host").profile):
            with pytest.raises(DeviceError, match=r"^host: the models need \d+ MiB of memory"):
                next(iter(measure(models, FAST)))


def test_every_model_is_visited_in_every_round(tiny: SearchSpace) -> None:
    models = [model_of(tiny, tiny.smallest), model_of(tiny, tiny.largest)]
    visits = list(open_device("host").time(models, FAST))
    assert sorted(visit.model for visit in visits) == sorted([models[0].name, models[1].name] * 3)
    for visit in visits:
        assert len(visit.wall_ms) == len(visit.cpu_ms) >= FAST.visit_runs
        assert min(visit.wall_ms) > 0


def test_visits_go_on_until_settled_or_at_the_cap(tiny: SearchSpace) -> None:
    models = [model_of(tiny, tiny.smallest)]
    restless = replace(FAST, max_rounds=6, interval=-1.0)  # visits may take equally long, to the digit
    settled = replace(FAST, max_rounds=6, interval=1e9)
    assert [len(list(open_device("host").time(models, one))) for one in (restless, settled)] == [6, 3]


def test_more_models_than_are_held_take_turns_in_every_pass(tiny: SearchSpace) -> None:
    models = [Model(f"{number}", model_of(tiny, tiny.smallest).content) for number in range(7)]
    protocol = replace(FAST, rounds=5, max_rounds=5, passes=2, held=3)
    visits = [visit.model for visit in open_device("host").time(models, protocol)]
    assert sorted(visits) == sorted([model.name for model in models] * 5)
    first, second = visits[: 7 * 2], visits[7 * 2 :]  # two rounds, then three
    for part, rounds in ((first, 2), (second, 3)):
        assert Counter(part) == dict.fromkeys((model.name for model in models), rounds)
        groups = [set(part[start : start + 3 * rounds]) for start in range(0, len(part), 3 * rounds)]
        assert [len(group) for group in groups] == [3, 3, 1]
    assert {frozenset(first[:6])} != {frozenset(second[:9])}  # drawn anew


def test_rounds_beyond_the_least_are_for_models_that_are_not_settled(tiny: SearchSpace) -> None:
    models = [model_of(tiny, tiny.smallest), model_of(tiny, tiny.largest)]
    never = replace(FAST, max_rounds=5, interval=-1.0)
    records = list(agent.time_models(models, never))
    assert Counter(record["round"] for record in records) == dict.fromkeys(range(5), 2)
    settled = [{**record, "wall_ms": [1.0]} for record in records if record["model"] == models[0].name]
    left = agent.time_models(models, replace(FAST, max_rounds=5, interval=1e-9), settled)
    assert {record["model"] for record in left} == {models[1].name}


def test_spoilt_visits_are_repeated_a_bounded_number_of_times(tiny: SearchSpace) -> None:
    models = [model_of(tiny, tiny.smallest)]
    strict = replace(FAST, rounds=8, max_rounds=8, sentinel_tolerance=-1.0, retries=2, cool_s=0.0)
    visits = list(open_device("host").time(models, strict))
    assert len(visits) == 8
    assert visits[-1].spoilt
    assert not visits[0].spoilt


def test_heat_spoils_visits(tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"frequency_mhz": 0.0, "temperature_c": 70.0, "hot_c": 70.0, "throttled": "0x0"}
    monkeypatch.setattr(agent, "probe_state", lambda: state)
    visits = list(open_device("host").time([model_of(tiny, tiny.smallest)], FAST))
    assert [(visit.spoilt, visit.throttled) for visit in visits] == [(True, True)] * FAST.rounds


def test_a_group_that_is_wholly_slower_than_the_one_before_is_throttled(
    tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    frequencies = iter([1800.0] + [1000.0] * 99)
    state = {"temperature_c": 45.0, "hot_c": 80.0, "throttled": "0x0"}
    monkeypatch.setattr(agent, "probe_state", lambda: {**state, "frequency_mhz": next(frequencies)})
    models = [Model(f"{number}", model_of(tiny, tiny.smallest).content) for number in range(2)]
    alone = replace(FAST, held=1, rounds=1, max_rounds=1, passes=1)
    records = list(agent.time_models(models, alone))
    assert [record["throttled"] for record in records] == [False, True]
    first = [records[0]]
    assert [record["throttled"] for record in agent.time_models(models, alone, first)] == [True]  # resumed


def test_a_boost_at_the_beginning_does_not_spoil_the_rest() -> None:
    course, state = agent.Course([], []), {"temperature_c": 45.0, "hot_c": 80.0, "throttled": ""}
    found = [
        course.judge(1.0, {**state, "frequency_mhz": mhz}, 0.03)["throttled"]
        for mhz in [4600.0, *[4200.0] * 4, 3000.0]
    ]
    assert found == [False, True, True, False, False, True]


def test_a_model_whose_visits_were_mostly_spoilt_is_not_settled(tiny: SearchSpace) -> None:
    models = [model_of(tiny, tiny.smallest)]
    protocol = replace(FAST, max_rounds=5, interval=1e9)
    for spoilt, left in (((True, True, False), 2), ((True, False, False), 0), ((True,) * 3, 2)):
        done = [
            {"model": models[0].name, "round": turn, "wall_ms": [1.0], "cpu_ms": [1.0], "spoilt": one}
            for turn, one in enumerate(spoilt)
        ]
        assert len(list(agent.time_models(models, protocol, done))) == left


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite", "mobilenet_v3"])
def test_every_layer_finds_nodes_of_its_own_in_a_profile(name: str) -> None:
    space = SearchSpace.load(name)
    arch = space.smallest
    profiles = list(open_device("host").profile([model_of(space, arch)], FAST))
    assert len(profiles) == FAST.profile_sittings
    layers = list(space.layers(arch))
    nodes = profiles[0].nodes
    assigned = assign_nodes([node.name for node in nodes], layers)
    assert {owner for owner, is_operator in assigned if is_operator} == {layer.name for layer in layers}
    strangers = [node for node, (_, known) in zip(nodes, assigned, strict=True) if not known]
    assert {node.operator for node in strangers} <= {"ReorderInput", "ReorderOutput", "GlobalAveragePool"}
    liveness = max(map(peak_bytes, layers))
    assert 0.9 * liveness <= profiles[0].peak_bytes <= 1.6 * liveness


def test_a_process_gains_at_least_the_weights_when_it_is_asked(tiny: SearchSpace) -> None:
    model = model_of(tiny, tiny.largest)
    asking = replace(FAST, profile_sittings=1, resident=True)
    (told,) = open_device("host").profile([model], asking)
    (untold,) = open_device("host").profile([model], replace(asking, resident=False))
    assert len(model.content) < told.resident_bytes < 100 * 2**20
    assert untold.resident_bytes == 0


@pytest.mark.parametrize(
    "name",
    ["tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in ("efficientnet_lite", "mobilenet_v3"))],
)
def test_every_node_of_an_int8_profile_is_its_layers(name: str) -> None:
    space = SearchSpace.load(name)
    layers = list(space.layers(space.smallest))
    model = write_network(space, space.smallest, np.random.default_rng(0), name="m", precision="int8")
    profile, *_ = open_device("host").profile([model], FAST)
    assigned = assign_nodes([node.name for node in profile.nodes], layers)
    assert {owner for owner, is_operator in assigned if is_operator} == {layer.name for layer in layers}
    order = {layer.name: place for place, layer in enumerate(layers)}
    places = [order[owner] for owner, _ in assigned]
    assert places == sorted(places)  # a chain of layers runs in its order, and so do its conversions
    kinds = {(node.operator, known) for node, (_, known) in zip(profile.nodes, assigned, strict=True)}
    assert {operator for operator, known in kinds if known} >= {"QLinearConv", "QLinearAdd", "QGemm"}
    strangers = {operator for operator, known in kinds if not known}
    assert strangers >= {"QuantizeLinear", "DequantizeLinear", "Transpose"}
    assert strangers <= {"QuantizeLinear", "DequantizeLinear", "Transpose", "HardSigmoid", "Mul"}
    shares = layer_shares([profile], layers)
    assert sum(share for share, _ in shares.values()) == pytest.approx(1.0)
    assert all(other <= share for share, other in shares.values())


@pytest.mark.parametrize("spinning", [False, True])
def test_threads_wait_as_the_protocol_says(tiny: SearchSpace, spinning: bool) -> None:
    runner = agent.Runner(model_of(tiny, tiny.smallest), replace(FAST, threads=2, spinning=spinning))
    options = runner.session.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))


def test_a_refused_model_is_named() -> None:
    with pytest.raises(DeviceError, match="refuses model broken"):
        list(open_device("host").time([Model("broken", b"no model")], FAST))


@pytest.mark.parametrize("address", ["host://elsewhere", "agent"])
def test_wrong_addresses_are_refused(address: str) -> None:
    with pytest.raises(DeviceError):
        open_device(address)


def test_unknown_backend_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(DeviceError, match="this machine is host"):
        open_device("toaster://kitchen")


def test_percentile_over_runs_drops_the_first() -> None:
    event = {"cat": "Node", "name": "stem/act_nchwc_kernel_time", "args": {"op_name": "Conv"}}
    events = [{**event, "dur": duration} for duration in [900, 900, *range(10, 21)]]
    found = agent.read_profile([{"cat": "Session", "name": "model_run", "dur": 1}, *events], skip=2)
    assert found["nodes"] == [{"name": "stem/act_nchwc", "operator": "Conv", "ms": 0.013}]


def test_bootstrap_interval_holds_the_median_and_repeats() -> None:
    values = np.random.default_rng(0).normal(10.0, 1.0, 50).tolist()
    low, high = agent.bootstrap_interval(values)
    assert low < np.median(values) < high
    assert (low, high) == agent.bootstrap_interval(values)
    assert agent.interval_width([2.0] * 10) == 0.0


def test_agent_needs_nothing_of_this_tool_and_old_python_reads_it(tmp_path: Path) -> None:
    import ast

    source = Path(agent.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))
    assert "ofa_nas" not in source
    alone = tmp_path / "agent.py"
    alone.write_text(source, encoding="utf-8")
    command = [
        sys.executable,
        "-I",
        "-c",
        "import runpy, sys; print(runpy.run_path(sys.argv[1])['probe']()['cpu'])",
    ]
    done = subprocess.run([*command, str(alone)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
