"""Precision and threads of a profile: what was measured stands in the table, and where it lies."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ofa_nas.activity import Activity
from ofa_nas.devices import MeasuringProtocol, open_device
from ofa_nas.devices.job import PackedModel
from ofa_nas.errors import ConfigError
from ofa_nas.latency import profile, session
from ofa_nas.latency.profile import check_request, examined_for, profile_device
from ofa_nas.latency.references import reference_models, slowdown, write_network
from ofa_nas.latency.shelf import is_fresh
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.simulated_board import simulated_table

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)


@pytest.fixture(scope="module")
def networks() -> list[PackedModel]:
    """Filled with what the table is of."""
    return []


@pytest.fixture(scope="module")
def table(tiny: SearchSpace, networks: list[PackedModel]) -> LatencyTable:
    *told, last = profile_device(
        open_device("host"), tiny, protocol=FAST, resolutions=[24], precision="int8", written=networks
    )
    assert isinstance(last, LatencyTable)
    assert sum(one.name == "writing networks" for one in told if isinstance(one, Activity)) == len(networks)
    return last


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_networks_that_are_written_serve_other_threads(
    table: LatencyTable, networks: list[PackedModel], tiny: SearchSpace
) -> None:
    before = list(networks)
    *_, other = profile_device(
        open_device("host"),
        tiny,
        protocol=replace(FAST, threads=2),
        resolutions=[24],
        precision="int8",
        written=networks,
    )
    assert isinstance(other, LatencyTable)
    assert other.device.threads == 2
    assert [id(one) for one in networks] == [id(one) for one in before]
    assert other.measured
    assert table.measured
    assert set(other.measured.references) == set(table.measured.references)


@pytest.mark.slow
def test_an_int8_table_says_so_and_serves_no_fp32_search(
    table: LatencyTable, tiny: SearchSpace, tmp_path: Path
) -> None:
    info = open_device("host").info()
    table.save(tmp_path / "table.json")
    again = LatencyTable.load(tmp_path / "table.json")
    assert again.device == table.device
    assert again.device.precision == "int8"
    assert not is_fresh(again, tiny, info, precision="int8")  # of some of its resolutions
    assert again.measured
    whole = replace(again, held=replace(again.measured, resolutions=tiny.resolutions))
    assert is_fresh(whole, tiny, info, precision="int8")
    assert not is_fresh(whole, tiny, info)


def test_rounds_beyond_those_that_were_counted_are_told_as_such() -> None:
    steps = {"writing networks": 2, "timing": 6}
    found = [profile._progress(steps, "timing", done) for done in (1, 6, 7, 9)]
    assert [(one.done, one.total) for one in found] == [(3, 8), (8, 8), (8, 8), (8, 8)]
    assert [one.name for one in found] == ["timing"] * 2 + ["timing again what has not settled"] * 2


@pytest.mark.slow
def test_an_int8_table_holds_every_layer_and_references_of_its_own(
    table: LatencyTable, tiny: SearchSpace
) -> None:
    assert table.measured
    assert all(row.ms > 0 for row in table.measured.rows)
    assert table.latency_ms(tiny, replace(tiny.largest, resolution=24)) > 0
    names = {model.name for model in reference_models(tiny, precision="int8")}
    assert set(table.measured.references) == names
    assert names.isdisjoint(model.name for model in reference_models(tiny))
    fp32_now = {model.name: 5.0 for model in reference_models(tiny)}
    assert slowdown(fp32_now, table.measured.references) == 1.0  # nothing to compare


def test_int8_networks_are_really_quantised_and_the_same_every_time(tiny: SearchSpace) -> None:
    first, again, fp32 = (
        write_network(tiny, tiny.largest, np.random.default_rng(3), name="m", precision=precision)
        for precision in ("int8", "int8", "fp32")
    )
    assert first == again
    kinds = {node.op_type for node in onnx.load_from_string(first.content).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load_from_string(fp32.content).graph.node}


def test_unknown_precisions_and_threads_beyond_the_cores_are_refused(tiny: SearchSpace) -> None:
    with pytest.raises(ConfigError, match="precision int4: expected fp32 or int8"):
        check_request(tiny, FAST, (), precision="int4")
    info = replace(open_device("host").info(), cores=4)
    assert examined_for(4, info) == info
    with pytest.raises(ConfigError, match="5 threads, but host has 4 cores: ask for fewer"):
        examined_for(5, info)
    many = replace(FAST, threads=(os.cpu_count() or 1) + 1)
    with pytest.raises(ConfigError, match="cores: ask for fewer"):
        next(profile_device(open_device("host"), tiny, protocol=many))


@pytest.mark.parametrize(
    ("threads", "quota", "warned"),
    [(1, 1.5, False), (2, 2.0, True), (2, 2.5, True), (2, 3.0, False), (3, 3.5, True), (8, 0.0, False)],
)
def test_a_narrow_quota_is_warned_of_for_the_threads_that_are_asked_for(
    threads: int, quota: float, warned: bool
) -> None:
    environment = {"warnings": ["hot"], "cpu_quota": quota}
    info = replace(open_device("host").info(), cores=8, environment=environment)
    first, *others = examined_for(threads, info).environment["warnings"]
    assert first == "hot"
    assert [f"{quota:g} cores for --threads {threads}" in text for text in others] == [True] * warned
    if threads > 1:
        narrow = replace(info, environment={**environment, "cpu_quota": threads - 0.5})
        with pytest.raises(ConfigError, match=rf"^host: --threads {threads}, but a CPU quota of "):
            examined_for(threads, narrow)
    untold = replace(info, environment={})  # a backend of somebody else's
    assert examined_for(threads, untold) == untold


@pytest.mark.slow
def test_a_table_of_threads_tells_how_they_waited(table: LatencyTable) -> None:
    assert table.measured
    assert table.measured.protocol.spinning is False
    told = {}
    for threads, spinning in ((1, False), (2, False), (2, True)):
        protocol = replace(table.measured.protocol, threads=threads, spinning=spinning)
        notes = session._notes(replace(table.measured, protocol=protocol))
        told[threads, spinning] = any("not spinning" in note for note in notes)
    assert told == {(1, False): False, (2, False): True, (2, True): False}


def test_a_table_worse_than_macs_warns() -> None:
    measured = simulated_table().measured
    assert measured
    assert not [note for note in session._notes(measured) if "MACs" in note]
    holdouts = tuple(
        replace(one, predicted_ms=one.macs_ms or 0.0, macs_ms=one.predicted_ms) for one in measured.holdouts
    )
    (note,) = [note for note in session._notes(replace(measured, holdouts=holdouts)) if "MACs" in note]
    error, by_macs = measured.errors(by_macs=True).mape, measured.errors().mape
    told = f"off by {error:.1%} on average, a line through MACs by {by_macs:.1%};"
    assert note.startswith(f"Worse than MACs alone: {told}")
