"""What a verification demands, on times that were really measured; and the history in a table's file."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.errors import ConfigError, TableError
from ofa_nas.latency.measured import Holdout
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.table_writer import append_verification
from ofa_nas.latency.verification import (
    Verification,
    draw_fresh,
    find_changes,
    judge_errors,
    macs_linear_ms,
    marks_of,
)
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.simulated_board import ENVIRONMENT, simulated_table

# Hold-outs of efficientnet_lite at 144 px on an AMD EPYC, onnxruntime 1.31.1, one thread:
# measured, predicted, by MACs [ms], uncertainty.
RECORDED = (
    (1.6509, 1.6555, 1.6986, 0.0145),
    (1.3534, 1.3714, 1.3686, 0.0240),
    (1.5579, 1.6232, 1.6390, 0.0243),
    (1.7176, 1.7451, 1.7755, 0.0201),
    (2.1010, 2.0665, 2.0986, 0.0124),
    (1.4936, 1.4993, 1.5293, 0.0266),
    (1.7922, 1.7734, 1.7606, 0.0091),
    (2.0800, 2.1032, 2.0834, 0.0148),
    (2.2532, 2.2675, 2.2583, 0.0149),
    (1.2526, 1.2775, 1.2856, 0.0119),
    (1.4771, 1.4750, 1.4641, 0.0154),
    (1.4978, 1.5258, 1.5082, 0.0169),
    (1.9138, 1.9016, 1.9096, 0.0067),
    (1.9890, 1.9229, 1.9466, 0.0081),
    (1.5829, 1.6117, 1.6529, 0.0211),
    (1.6805, 1.7176, 1.7356, 0.0083),
    (1.5376, 1.5603, 1.5813, 0.0090),
    (1.6594, 1.6721, 1.6308, 0.0065),
    (1.8835, 1.9169, 1.9553, 0.0159),
    (1.7170, 1.7226, 1.6669, 0.0183),
)
MADE_BY = {"made_on": "2026-11-23T10:00:00+00:00", "command": "ofa-nas verify-table host", "seed": 3}


def verification(change: Callable[[int, float], float] = lambda _, ms: ms, **fields: Any) -> Verification:
    """The recorded networks, their predictions changed by number and value."""
    networks = tuple(
        Holdout(f"network {number}", measured, change(number, predicted), by_macs, uncertainty)
        for number, (measured, predicted, by_macs, uncertainty) in enumerate(RECORDED)
    )
    usual = Verification("host", networks, 1.0, (), (), 0, 0, MADE_BY)
    return replace(usual, **fields)


def exact(errors: list[float]) -> Verification:
    """Twenty networks, 1, 2, … ms, with these errors first and none behind."""
    padded = errors + [0.0] * (20 - len(errors))
    networks = tuple(
        Holdout(f"network {number}", ms, ms * (1.0 + error), None, 0.0)
        for number, (ms, error) in enumerate(zip(np.arange(1.0, 21.0), padded, strict=True))
    )
    return replace(verification(), networks=networks)


def broken(found: Verification) -> set[str]:
    return {one.name for one in found.criteria if not one.is_met}


def test_a_really_measured_table_passes() -> None:
    found = verification()
    assert (found.passed, found.faults, found.stale) == (True, (), ())
    assert found.table.mape == pytest.approx(0.0143, abs=2e-4)
    assert found.macs_linear is not None
    assert found.macs_linear.mape == pytest.approx(0.0214, abs=2e-4)
    assert found.noise_floor == pytest.approx(np.mean([row[3] for row in RECORDED]) * np.sqrt(2 / np.pi))


def test_prices_that_are_all_too_high_fail_by_their_bias() -> None:
    found = verification(lambda _, ms: 1.3 * ms)
    assert broken(found) == {"within_10", "within_5", "bias", "macs_linear"}  # the ranks are the same
    assert "bias +31.0%, at most ±2% allowed" in found.faults


def test_shuffled_predictions_fail_by_their_ranks() -> None:
    order = np.random.default_rng(0).permutation(len(RECORDED))
    assert "spearman" in broken(verification(lambda number, _: RECORDED[order[number]][1]))


def test_what_macs_tell_as_well_is_not_worth_a_table() -> None:
    assert broken(verification(lambda number, _: RECORDED[number][2])) == {"macs_linear"}


def test_a_table_without_anchors_is_not_held_against_macs() -> None:
    found = exact([])
    assert found.passed
    assert found.macs_linear is None
    assert "macs_linear" not in {one.name for one in found.criteria}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.2], set()),
        ([0.2, -0.2], {"within_10"}),
        ([0.06, -0.06, 0.06, -0.06], set()),
        ([0.06, -0.06, 0.06, -0.06, 0.06], {"within_5"}),
        ([0.0199] * 20, set()),
        ([0.0201] * 20, {"bias"}),
        ([-0.0201] * 20, {"bias"}),
    ],
)
def test_every_limit_is_where_it_should_be(errors: list[float], expected: set[str]) -> None:
    assert broken(exact(errors)) == expected


@pytest.mark.parametrize(("rank", "expected"), [(0.951, set()), (0.949, {"spearman"}), (None, {"spearman"})])
def test_ranks_must_be_nearly_those_that_were_measured(rank: float | None, expected: set[str]) -> None:
    found = judge_errors(replace(verification().table, spearman=rank), None)
    assert {one.name for one in found if not one.is_met} == expected


def test_another_level_of_the_references_makes_a_table_stale_but_not_wrong() -> None:
    assert verification(speed=1.029).stale == ()
    found = verification(speed=0.96)
    assert found.passed
    assert found.stale == ("the references take 0.960 times as long as they did",)


def test_another_environment_or_an_error_of_a_lint_fails() -> None:
    changed = verification(changes=("governor was 'performance', is 'powersave'",))
    assert broken(changed) == {"environment"}
    assert changed.stale == changed.changes
    assert broken(verification(lint=("missing: 3 layers have no row",))) == {"lint"}


def test_changes_are_those_that_a_table_stands_and_falls_with() -> None:
    assert find_changes(ENVIRONMENT, ENVIRONMENT) == ()
    assert find_changes(ENVIRONMENT, {**ENVIRONMENT, "system": "Linux 6.6", "python": "3.13"}) == ()
    keys = "board", "cpu", "cores", "architecture", "governor", "frequencies_mhz", "fastest_core_mhz"
    for key in (*keys, "onnxruntime"):
        (change,) = find_changes(ENVIRONMENT, {**ENVIRONMENT, key: "another"})
        assert change == f"{key} was {ENVIRONMENT[key]!r}, is 'another'"
    assert find_changes({}, ENVIRONMENT) == ()
    older = {key: value for key, value in ENVIRONMENT.items() if key != "fastest_core_mhz"}
    assert find_changes(older, ENVIRONMENT) == ()


def test_fresh_networks_are_unknown_different_and_of_every_resolution(tiny: SearchSpace) -> None:
    first = draw_fresh(tiny, 30, np.random.default_rng(0), known=())
    known = {str(arch) for arch in first}
    second = draw_fresh(tiny, 30, np.random.default_rng(0), known=known)
    assert len(known) == len({str(arch) for arch in second}) == 30
    assert known.isdisjoint(map(str, second))
    assert draw_fresh(tiny, 30, np.random.default_rng(0), known=()) == first
    assert [arch.resolution for arch in first] == [24, 32] * 15


def test_a_space_without_so_many_fresh_networks_is_refused(tiny: SearchSpace) -> None:
    small = tiny.keep_largest(kernel_sizes=1, expand_ratios=1)
    assert small.cardinality == 8
    with pytest.raises(ConfigError, match="tiny has 8 architectures at these resolutions, and only 7"):
        draw_fresh(small, 20, np.random.default_rng(0), known={str(small.largest)})


def test_the_line_through_macs_comes_back_from_the_holdouts(tiny: SearchSpace) -> None:
    held = simulated_table().measured
    assert held
    half = replace(held, holdouts=held.holdouts[::2])
    left = [one for one in held.holdouts if one not in half.holdouts]
    found = macs_linear_ms(tiny, half, [tiny.parse(one.architecture) for one in left])
    assert found is not None
    assert found == pytest.approx(np.array([one.macs_ms for one in left]), abs=1e-5)
    alone = replace(held, holdouts=held.holdouts[:1])
    assert macs_linear_ms(tiny, alone, [tiny.smallest]) is None


def test_a_verification_is_appended_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    simulated_table().save(path)
    before, table = path.read_text(encoding="utf-8"), LatencyTable.load(path)
    first, second = verification(speed=1.2), verification(lambda _, ms: 1.3 * ms, changes=("cpu was 'a'",))
    append_verification(path, first, verified=table)
    append_verification(path, second, verified=table)
    after = path.read_text(encoding="utf-8")
    assert after.startswith(before.rstrip("}\n"))
    loaded = LatencyTable.load(path)
    assert loaded.history == (first, second)
    assert marks_of(loaded) == ("failed", "stale")
    assert marks_of(replace(loaded, history=(second, first))) == ("stale",)
    told = json.loads(after)["history"]
    assert [one["passed"] for one in told] == [True, False]
    assert told[1]["figures"]["table"] == asdict(second.table)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text(encoding="utf-8") == after


def test_a_table_that_was_replaced_meanwhile_keeps_its_own_history(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    table = simulated_table()
    simulated_table(seed=1).save(path)
    before = path.read_bytes()
    with pytest.raises(TableError, match="was replaced while it was verified"):
        append_verification(path, verification(), verified=table)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"speed": -1.0}, r"history\[0\].speed: expected a number"),
        ({"changes": "all"}, "changes: expected a list of strings"),
        ({"device": "\x1b[2J"}, r"history\[0\]: expected printable texts"),
        ({"networks": []}, r"history\[0\]\.networks: expected a list of one object or more"),
        ({"mood": 1}, r"history\[0\].mood: is not known here"),
    ],
)
def test_a_damaged_history_is_refused(change: dict[str, object], told: str, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    simulated_table().save(path)
    append_verification(path, verification(), verified=LatencyTable.load(path))
    document = json.loads(path.read_text(encoding="utf-8"))
    document["history"][0].update(change)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(TableError, match=told):
        LatencyTable.load(path)
