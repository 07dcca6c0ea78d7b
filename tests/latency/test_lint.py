"""Each lint catches a table that is wrong as a public one was, and passes a good one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.devices import MeasuringProtocol
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.lint import (
    Rows,
    find_copied,
    find_exact_sums,
    find_fast_kernels,
    find_floor,
    find_missing,
    find_nonpositive,
    lint_table,
    table_rows,
)
from ofa_nas.latency.measured import Holdout, Measured
from ofa_nas.latency.roofline import RooflineModel
from ofa_nas.latency.shelf import Shelf
from ofa_nas.latency.table import LatencyTable, TableDevice
from ofa_nas.space.costs import full_depth
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

SPACE = SearchSpace.load("mobilenet_v3")
SIZE = 128
BOARD = RooflineModel(10.0, 1.5, 3.0, 0.005)
OTHER_BOARD = RooflineModel(40.0, 3.0, 2.0, 0.001)


def layers_of(space: SearchSpace) -> list[Layer]:
    turns = range(9)
    return list(
        dict.fromkeys(layer for turn in turns for layer in space.layers(full_depth(space, SIZE, turn)))
    )


def measured_rows(model: RooflineModel, *, seed: int = 0) -> dict[tuple[int, Layer], float]:
    """Rows as a board would show them: a roofline with 2 % of noise."""
    rng = np.random.default_rng(seed)
    return {
        (0, layer): model.layer_ms(layer) * float(np.exp(0.02 * rng.normal())) for layer in layers_of(SPACE)
    }


def holdouts(rows: Rows, *, noise: float) -> tuple[Holdout, ...]:
    rng = np.random.default_rng(3)
    encoding = Encoding.of(replace(SPACE, resolutions=(SIZE,)))
    found = []
    for arch in encoding.decode(encoding.sample(20, rng)):
        predicted = sum(rows[0, layer] for layer in SPACE.layers(arch))
        measured = 1.7 + 1.05 * predicted * float(np.exp(noise * rng.normal()))
        found.append(Holdout(str(arch), round(measured, 6), round(predicted, 6), predicted, 0.01))
    return tuple(found)


def as_table(rows: Rows, judges: Sequence[Holdout], *, name: str = "board") -> LatencyTable:
    measured = Measured(
        space=SPACE.name,
        digest=SPACE.digest,
        classes=SPACE.classes,
        resolutions=(SIZE,),
        intercepts_ms=(0.1,),
        rows=tuple(LayerLatency(layer, ms, 0.0) for (_, layer), ms in rows.items()),
        holdouts=tuple(judges),
        seed=0,
        noisy=0,
        throttled=0,
        networks=len(judges),
        protocol=MeasuringProtocol(),
        environment={},
        references={},
    )
    device = TableDevice(name, "some cores", 4, "onnxruntime", 1)
    return LatencyTable(name, device, measured, measured.errors(), (), (), {})


GOOD = measured_rows(BOARD)
JUDGES = holdouts(GOOD, noise=0.01)


def test_a_good_table_passes_every_check() -> None:
    other = as_table(measured_rows(OTHER_BOARD, seed=1), JUDGES, name="other")
    assert lint_table(as_table(GOOD, JUDGES), others=[other]) == ()


@pytest.mark.parametrize("path", sorted(asset_folder("latency_tables").glob("*.json")), ids=lambda p: p.name)
def test_what_ships_passes(path: Path) -> None:
    assert lint_table(LatencyTable.load(path)) == ()


def test_rows_without_time_are_found() -> None:  # as in TF-NAS's table of a phone's processor
    wrong = dict(GOOD)
    for key in list(wrong)[5:9]:
        wrong[key] = 0.0
    (found,) = find_nonpositive(wrong)
    assert found.is_error
    assert found.message.startswith(f"4 of {len(GOOD)} rows are not above 0 ms: mbconv 40-")
    assert "and 1 more" in found.message
    assert find_nonpositive(GOOD) == []
    assert [one.is_error for one in find_nonpositive({**GOOD, next(iter(GOOD)): float("nan")})] == [True]


def test_missing_layers_are_found() -> None:  # as in ProxylessNAS's
    wrong = {key: ms for key, ms in GOOD.items() if key[1].in_size != 16}
    (found,) = find_missing(wrong, SPACE, (SIZE,))
    gone = len(GOOD) - len(wrong)
    assert found.is_error
    assert f"{gone} layers of mobilenet_v3 have no row" in found.message
    assert find_missing(GOOD, SPACE, (SIZE,)) == []


def test_missing_layers_of_one_resolution_are_found() -> None:
    by_size = {(SIZE, layer): ms for (_, layer), ms in GOOD.items()}
    assert find_missing(by_size, SPACE, (SIZE,)) == []
    assert len(find_missing(by_size, SPACE, (SIZE, 160))) == 1


def test_a_space_that_is_not_here_is_said() -> None:
    table = as_table(GOOD, JUDGES)
    assert table.measured
    foreign = replace(table, held=replace(table.measured, space="somebody_s"))
    (found,) = lint_table(foreign, others=[])
    assert (found.rule, found.is_error) == ("missing", False)
    changed = replace(table, held=replace(table.measured, digest="0" * 12))
    assert [one.rule for one in lint_table(changed, others=[])] == ["missing"]
    assert lint_table(changed, space=SPACE, others=[]) == ()


@pytest.mark.parametrize(("factor", "told"), [(1.0, "those of phone"), (1.3, "those of phone times 1.3")])
def test_values_of_another_device_are_found(factor: float, told: str) -> None:  # as in DynamicOFA's
    phone = measured_rows(OTHER_BOARD, seed=2)
    copied = {key: round(factor * ms, 6) for key, ms in phone.items()}
    (found,) = find_copied(copied, {"phone": phone})
    assert found.message.endswith(told)
    partly = {key: copied[key] if place % 3 else GOOD[key] for place, key in enumerate(copied)}
    assert len(find_copied(partly, {"phone": phone})) == 1
    assert find_copied(GOOD, {"phone": phone}) == []
    assert find_copied({}, {"phone": phone}) == []


def test_a_table_is_not_compared_with_one_of_the_same_device() -> None:
    table = as_table(GOOD, JUDGES)
    assert lint_table(table, others=[table]) == ()
    assert [one.rule for one in lint_table(as_table(GOOD, JUDGES, name="new"), others=[table])] == ["copied"]


def test_a_floor_above_compute_is_found() -> None:  # as of eager mode: 9 ms for whatever block
    eager = {key: ms + 9.0 for key, ms in GOOD.items()}
    (found,) = find_floor(eager)
    assert not found.is_error
    assert found.message.startswith("9.11 ms of every row")
    assert find_floor(GOOD) == []


@pytest.mark.parametrize("space", ["mobilenet_v3", "conv1d"])
def test_a_cheap_pooling_hides_no_floor(space: str) -> None:
    layers = layers_of(SearchSpace.load(space))
    eager = {(0, layer): BOARD.layer_ms(layer) + 9.0 for layer in layers}
    (pooling,) = (key for key in eager if key[1].name == "head_pool")
    eager[pooling] = 0.001
    assert [one.rule for one in find_floor(eager)] == ["floor"]


def test_a_large_kernel_that_is_faster_is_found() -> None:
    wrong = dict(GOOD)
    key = next(key for key in GOOD if key[1].kernel_size == 7)
    wrong[key] *= 0.4
    (found,) = find_fast_kernels(wrong)
    assert found.message.startswith("1 of ")
    assert "7 px" in found.message
    assert find_fast_kernels(GOOD) == []
    assert find_fast_kernels(wrong, noise=0.9) == []
    noisy = [replace(one, uncertainty=0.4) for one in JUDGES]  # three times its mean error excuses all of it
    told = [[one.rule for one in lint_table(as_table(wrong, some), others=[])] for some in (JUDGES, noisy)]
    assert told == [["kernel"], []]


def test_holdouts_that_nobody_measured_are_found() -> None:  # as in HELP's FBNet column of a Raspberry Pi
    (found,) = find_exact_sums(holdouts(GOOD, noise=0.0))
    assert "20 hold-outs are sums" in found.message
    assert find_exact_sums(JUDGES) == []
    assert find_exact_sums(holdouts(GOOD, noise=0.0)[:4]) == []  # a line passes through few anyway
    assert [one.rule for one in lint_table(as_table(GOOD, holdouts(GOOD, noise=0.0)), others=[])] == [
        "exact-sums"
    ]


def test_an_estimated_table_has_no_rows_to_look_at() -> None:
    estimated = next(table for table in Shelf.shipped().tables.values() if table.provenance == "estimated")
    assert table_rows(estimated) == {}
    assert lint_table(estimated) == ()
