"""What the agent really runs, and what it tells of that: warm-up, visits, sentinel, profiles, sessions."""

import glob
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ofa_nas.devices import MeasuringProtocol, agent
from tests.devices.recorded_sessions import Recorder, copying_models, path_with_vcgencmd, record_sessions

PROTOCOL = MeasuringProtocol(pinned=False, rounds=4, max_rounds=4, passes=1, visit_ms=0.0, retries=0)
WARM_UP = 20  # runs, where each takes the same: two windows
VISIT = 1 + PROTOCOL.visit_runs  # runs


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """On a board that tells no temperature, and a frequency only where a test writes it below `tmp_path`."""
    monkeypatch.setattr(agent, "CORE_FOLDER", f"{tmp_path}/cpu%d/")
    monkeypatch.setattr(glob, "glob", lambda _: [])
    return record_sessions(monkeypatch)


def visited(recorder: Recorder, models: int) -> list[str]:
    """Names in the order of visits, those of the sentinel's own among them."""
    runs = recorder.runs[models * WARM_UP :]
    visits = [runs[start : start + VISIT] for start in range(0, len(runs), VISIT)]
    assert all(one == [one[0]] * VISIT for one in visits)
    return [one[0] for one in visits]


def test_as_usual_it_measures_no_less_than_is_promised() -> None:
    usual = MeasuringProtocol()
    assert min(usual.rounds, usual.max_rounds, usual.profile_skip, usual.warm_up_windows) >= 10
    assert (usual.threads, usual.pinned, usual.spinning) == (1, True, False)
    assert usual.visit_runs >= 5
    assert usual.visit_ms >= 50
    assert usual.profile_runs >= 50
    assert 1 <= usual.sentinel_every <= 10
    assert 0 < usual.sentinel_tolerance <= 0.03
    assert 0 < usual.interval <= 0.015
    assert 1 <= usual.retries <= 3


def test_a_model_is_warmed_up_until_two_windows_of_ten_agree(recorder: Recorder) -> None:
    windows = [20.0, 15.0, 14.5, 14.4]  # the last two differ by less than 2 %
    recorder.takes_ms = lambda _, before: windows[min(before // 10, 3)]
    records = list(agent.time_models(copying_models(2), PROTOCOL))
    assert Counter(recorder.runs[:80]) == {"m0": 40, "m1": 40}  # both, before anything is timed
    assert recorder.runs.count("m1") == 40 + 4 * VISIT
    assert {ms for record in records for ms in record["wall_ms"]} == {14.4}


@pytest.mark.parametrize("windows", [1, 3])
def test_a_model_that_never_settles_is_warmed_up_so_many_windows(windows: int, recorder: Recorder) -> None:
    recorder.takes_ms = lambda _, before: 10.0 + 5 * (before // 10 % 2)
    list(agent.time_models(copying_models(2), replace(PROTOCOL, warm_up_windows=windows)))
    assert recorder.runs.count("m1") == 10 * windows + 4 * VISIT


def test_the_first_run_of_a_visit_is_discarded(recorder: Recorder) -> None:
    """It is slow, for another model has run since."""
    recorder.takes_ms = lambda name, _: 10.0 if recorder.runs[-1:] == [name] else 70.0
    records = list(agent.time_models(copying_models(3), replace(PROTOCOL, sentinel_every=1)))
    assert len(records) == 12
    for record in records:
        assert record["wall_ms"] == record["cpu_ms"] == [10.0] * 5
    assert len(recorder.runs) == 3 * WARM_UP + 2 * 12 * VISIT


@pytest.mark.parametrize(("takes_ms", "runs"), [(3.0, 17), (8.0, 7), (10.0, 5), (30.0, 5)])
def test_a_visit_has_as_many_runs_and_lasts_as_long_as_asked(
    takes_ms: float, runs: int, recorder: Recorder
) -> None:
    recorder.takes_ms = lambda *_: takes_ms
    records = list(agent.time_models(copying_models(2), replace(PROTOCOL, visit_ms=50.0)))
    assert [record["wall_ms"] for record in records] == [[takes_ms] * runs] * 8
    assert recorder.runs.count("m1") == WARM_UP + 4 * (1 + runs)


@pytest.mark.usefixtures("recorder")
def test_every_round_has_an_order_of_its_own_that_the_seed_repeats() -> None:
    models = copying_models(8)
    protocol = replace(PROTOCOL, rounds=6, max_rounds=6)

    def orders(seed: int) -> list[tuple[str, ...]]:
        records = list(agent.time_models(models, replace(protocol, seed=seed)))
        assert [record["round"] for record in records] == [turn for turn in range(6) for _ in models]
        return [tuple(record["model"] for record in records[start : start + 8]) for start in range(0, 48, 8)]

    first = orders(seed=0)
    assert all(sorted(order) == [model.name for model in models] for order in first)
    assert len(set(first)) == 6
    assert all(len({order[place] for order in first}) > 1 for place in range(8))
    assert orders(seed=0) == first
    assert set(orders(seed=1)).isdisjoint(first)


@pytest.mark.parametrize(("every", "places"), [(3, [3, 7, 10]), (8, [8]), (10, [8]), (1, [*range(1, 16, 2)])])
def test_the_sentinel_runs_after_so_many_visits_and_after_a_rounds_last(
    every: int, places: list[int], recorder: Recorder
) -> None:
    protocol = replace(PROTOCOL, sentinel_every=every)
    records = list(agent.time_models(copying_models(8), protocol))
    visits = visited(recorder, 8)
    length = 8 + len(places)
    assert len(visits) == 4 * length
    for turn in range(4):
        own = visits[turn * length : (turn + 1) * length]
        assert [own[place] for place in places] == ["m0"] * len(places)
        others = [name for place, name in enumerate(own) if place not in places]
        assert others == [record["model"] for record in records[turn * 8 : (turn + 1) * 8]]


@pytest.mark.parametrize(("factor", "is_spoilt"), [(1.02, False), (1.05, True), (0.95, True)])
def test_a_sentinel_that_strays_spoils_the_visits_before_it(
    factor: float, is_spoilt: bool, recorder: Recorder
) -> None:
    recorder.takes_ms = lambda *_: 10.0 * (factor if len(recorder.runs) >= 2 * WARM_UP + 18 * 5 else 1.0)
    records = list(agent.time_models(copying_models(2), replace(PROTOCOL, rounds=6, max_rounds=6)))
    assert [record["spoilt"] for record in records] == [False] * 10 + [is_spoilt] * 2
    assert not any(record["throttled"] for record in records)


def test_visits_before_a_sentinel_that_strays_are_repeated(recorder: Recorder) -> None:
    last = 2 * WARM_UP + 5 * 3 * VISIT  # runs before the last round
    recorder.takes_ms = lambda *_: 10.0 + (last <= len(recorder.runs) < last + 3 * VISIT)
    protocol = replace(PROTOCOL, rounds=6, max_rounds=6, retries=1, cool_s=0.0)
    records = list(agent.time_models(copying_models(2), protocol))
    assert [record["wall_ms"] for record in records] == [[10.0] * 5] * 12
    assert not any(record["spoilt"] for record in records)
    assert len(recorder.runs) == last + 2 * 3 * VISIT


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(
    ("bits", "is_throttled"),
    [("0x0", False), ("0x1", True), ("0x2", True), ("0x4", True), ("0x8", True), ("0x50000", False)],
)
def test_the_throttle_bits_of_this_moment_mark_a_visit(
    bits: str, is_throttled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_with_vcgencmd(tmp_path, ["0x0", "0x0", bits, "0x0"]))
    records = list(agent.time_models(copying_models(1), PROTOCOL))
    assert [record["throttled"] for record in records] == [False, False, is_throttled, False]
    assert [record["spoilt"] for record in records] == [False, False, is_throttled, False]


@pytest.mark.parametrize(("mhz", "is_throttled"), [(1800, False), (1780, False), (1500, True), (600, True)])
def test_a_frequency_below_its_top_marks_a_visit(
    mhz: int, is_throttled: bool, recorder: Recorder, tmp_path: Path
) -> None:
    core = min(agent._own_cores(), default=0)
    file = tmp_path / f"cpu{core}" / "cpufreq" / "scaling_cur_freq"
    file.parent.mkdir(parents=True)
    file.write_text("1800000\n", encoding="ascii")

    def slow_down() -> None:
        is_slow = WARM_UP + 4 * VISIT < len(recorder.runs) <= WARM_UP + 6 * VISIT  # third of four visits
        file.write_text(f"{mhz if is_slow else 1800}000\n", encoding="ascii")

    recorder.after_run = slow_down
    records = list(agent.time_models(copying_models(1), PROTOCOL))
    assert [record["throttled"] for record in records] == [False, False, is_throttled, False]


@pytest.mark.parametrize(("heat_c", "is_throttled"), [(79.9, False), (80.0, True)])
def test_heat_at_which_the_board_slows_down_marks_a_visit(
    heat_c: float,
    is_throttled: bool,
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "zone" / "temp"
    file.parent.mkdir()
    found = {agent.THERMAL_ZONES: [f"{file.parent}/"]}
    monkeypatch.setattr(glob, "glob", lambda pattern: found.get(pattern, []))

    def heat_up() -> None:
        is_hot = WARM_UP + 4 * VISIT < len(recorder.runs) <= WARM_UP + 6 * VISIT  # third of four visits
        file.write_text(f"{1000 * (heat_c if is_hot else 60.0):.0f}\n", encoding="ascii")

    recorder.after_run = heat_up
    records = list(agent.time_models(copying_models(1), PROTOCOL))
    assert [record["throttled"] for record in records] == [False, False, is_throttled, False]
    assert [record["spoilt"] for record in records] == [False, False, is_throttled, False]


def test_visits_of_a_throttled_board_are_repeated_once_it_has_cooled(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.takes_ms = lambda *_: 10.0 + (WARM_UP + VISIT < len(recorder.runs) <= WARM_UP + 4 * VISIT)
    monkeypatch.setenv("PATH", path_with_vcgencmd(tmp_path, ["0x0", "0x4", "0x0"]))
    protocol = replace(PROTOCOL, retries=1, sentinel_tolerance=1.0)
    records = list(agent.time_models(copying_models(1), protocol))
    assert len(records) == 4
    assert not any(record["throttled"] or record["spoilt"] for record in records)
    assert {ms for record in records for ms in record["wall_ms"]} == {10.0}  # not the slow ones
    assert len(visited(recorder, 1)) == 2 * 5


def test_runs_before_a_profile_are_dropped_from_it(recorder: Recorder) -> None:
    protocol = replace(PROTOCOL, profile_skip=10, profile_runs=3, profile_sittings=2)
    recorder.node_us = lambda number: 9000 if number < 10 else 1000 + number
    records = list(agent.profile_models(copying_models(2), protocol))
    assert recorder.runs == (["m0"] * 13 + ["m1"] * 13) * 2
    assert [len(record["nodes"]) for record in records] == [1] * 4
    for record in records:
        assert record["nodes"][0]["ms"] == pytest.approx(np.percentile([1.010, 1.011, 1.012], 30))


def test_inputs_are_random_normal_without_denormals(recorder: Recorder) -> None:
    for seed in (0, 1):
        list(agent.time_models(copying_models(1), replace(PROTOCOL, seed=seed)))
    first, last = recorder.inputs[0], recorder.inputs[-1]
    for values in (first, last):
        assert values.dtype == np.float32
        assert abs(values.mean()) < 0.15
        assert values.std() == pytest.approx(1.0, abs=0.1)
        assert np.mean(np.abs(values) < 1.96) == pytest.approx(0.95, abs=0.03)
        assert np.abs(values[values != 0]).min() >= np.finfo(np.float32).tiny
    half = len(recorder.inputs) // 2
    assert all(np.array_equal(one, first) for one in recorder.inputs[:half])
    assert not np.array_equal(first, last)


def test_a_run_writes_where_its_output_was_bound_before(recorder: Recorder) -> None:
    models = copying_models(2)
    list(agent.time_models(models, PROTOCOL))
    list(agent.profile_models(models, replace(PROTOCOL, profile_runs=5, profile_sittings=1)))
    assert all(before == behind != 0 for before, behind in recorder.outputs)
    assert len(set(recorder.outputs)) <= len(recorder.sessions)  # one place a session


@pytest.mark.parametrize("threads", [1, 2])
def test_sessions_are_sequential_with_all_optimisations_arena_and_pattern(
    threads: int, recorder: Recorder
) -> None:
    protocol = replace(PROTOCOL, threads=threads, profile_runs=2, profile_sittings=1)
    list(agent.time_models(copying_models(1), protocol))
    list(agent.profile_models(copying_models(1), protocol))
    assert len(recorder.sessions) == 2
    for session in recorder.sessions:
        options = session.get_session_options()
        assert options.enable_mem_pattern
        assert options.enable_cpu_mem_arena
        assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
        assert session.get_providers() == ["CPUExecutionProvider"]
