"""Tables: sums of their layers, round trips, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.activity import Activity
from ofa_nas.assets import asset_folder
from ofa_nas.devices import DeviceInfo, MeasuringProtocol, open_device
from ofa_nas.errors import ConfigError, TableError
from ofa_nas.latency.measured import judge
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.shelf import is_fresh, named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.costs import full_depth
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)


@pytest.fixture(scope="module")
def table(tiny: SearchSpace) -> LatencyTable:
    *progress, last = profile_device(open_device("host"), tiny, protocol=FAST)
    assert isinstance(last, LatencyTable)
    assert all(isinstance(one, Activity) and one.done <= one.total for one in progress)
    return last


@pytest.fixture(scope="module")
def document(table: LatencyTable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("table") / "host.json"
    table.save(path)
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_latency_is_the_sum_of_its_layers_and_a_constant(table: LatencyTable, encoding: Encoding) -> None:
    genes = encoding.sample(50, np.random.default_rng(0))
    space = encoding.space
    plain = [
        table.constant_ms(arch.resolution)
        + sum(table.layer_ms(layer, resolution=arch.resolution) for layer in space.layers(arch))
        for arch in encoding.decode(genes)
    ]
    assert table.cost_table(encoding).total(genes) == pytest.approx(plain)
    assert [table.latency_ms(space, arch) for arch in encoding.decode(genes)] == pytest.approx(plain)


def test_predictions_of_holdouts_are_those_of_the_table(table: LatencyTable, tiny: SearchSpace) -> None:
    assert table.measured
    for holdout in table.measured.holdouts:
        predicted = table.latency_ms(tiny, tiny.parse(holdout.architecture))
        assert predicted == pytest.approx(holdout.predicted_ms, abs=1e-5)


def test_every_layer_of_the_space_has_a_row_and_no_other(table: LatencyTable, tiny: SearchSpace) -> None:
    assert table.measured
    wanted = {
        layer
        for size in tiny.resolutions
        for turn in range(4)
        for layer in tiny.layers(full_depth(tiny, size, turn))
    }
    assert {row.layer for row in table.measured.rows} == wanted


def test_save_and_load_give_the_same_table(table: LatencyTable, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "host.json"
    table.save(path)
    loaded = LatencyTable.load(path)
    assert loaded.provenance == "measured"
    assert loaded.device == table.device
    assert loaded.error == table.error
    assert loaded.latency_ms(tiny, tiny.largest) == pytest.approx(
        table.latency_ms(tiny, tiny.largest), abs=1e-4
    )
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_a_table_names_the_networks_that_it_was_fitted_to(table: LatencyTable, tmp_path: Path) -> None:
    assert table.measured
    judges = {holdout.architecture for holdout in table.measured.holdouts}
    references = len(table.measured.references)
    assert len(set(table.measured.fitted)) == table.measured.networks - references - len(judges)
    assert judges.isdisjoint(table.measured.fitted)
    table.save(tmp_path / "host.json")
    loaded = LatencyTable.load(tmp_path / "host.json").measured
    assert loaded
    assert loaded.fitted == table.measured.fitted


def test_rows_stand_one_a_line_and_sorted(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    table.save(path)
    lines = [line.strip().rstrip(",") for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [line for line in lines if line.startswith('{"kind"')]
    assert table.measured
    assert len(rows) == len(table.measured.rows)
    assert rows == sorted(rows)


def test_foreign_layer_is_refused_with_what_the_table_holds(table: LatencyTable) -> None:
    space = SearchSpace.load("mobilenet_v3")
    with pytest.raises(TableError, match=r"layer stem \(conv 3-16-16.*tiny with 10 classes at 24, 32 px"):
        table.layer_ms(next(space.layers(space.smallest)))
    with pytest.raises(TableError, match="no resolution of mobilenet_v3"):
        table.narrow(space)
    with pytest.raises(TableError, match="resolution 40"):
        table.constant_ms(40)


def test_narrow_leaves_the_resolutions_that_were_measured(table: LatencyTable, tiny: SearchSpace) -> None:
    wide = replace(tiny, resolutions=(24, 28, 32, 40))
    assert table.narrow(wide) == tiny
    assert table.narrow(tiny) is tiny


def test_other_classes_are_refused(table: LatencyTable, tiny: SearchSpace) -> None:
    with pytest.raises(TableError, match="layer classifier"):
        table.latency_ms(tiny.with_classes(99), tiny.smallest)


def test_table_is_fresh_only_for_what_it_was_measured_for(table: LatencyTable, tiny: SearchSpace) -> None:
    info = open_device("host").info()
    assert table.measured
    assert is_fresh(table, tiny, info)
    assert not is_fresh(table, tiny, info, threads=2)
    assert not is_fresh(replace(table, held=replace(table.measured, resolutions=(24,))), tiny, info)
    assert not is_fresh(table, tiny.with_classes(99), info)
    assert not is_fresh(table, tiny, replace(info, onnxruntime="0.0.0"))
    moved = DeviceInfo(
        info.name, info.cpu, info.cores, info.onnxruntime, {**info.environment, "cpu": "another"}
    )
    assert not is_fresh(table, tiny, moved)
    assert named_table_path(tiny, "host") != named_table_path(tiny.with_classes(99), "host")


def told(document: dict[str, Any], path: Path, **protocol: object) -> Path:
    changed = {**document["protocol"], **protocol}
    path.write_text(json.dumps({**document, "protocol": changed}), encoding="utf-8")
    return path


def test_a_whole_number_serves_for_a_fraction_as_in_a_job(document: dict[str, Any], tmp_path: Path) -> None:
    table = LatencyTable.load(told(document, tmp_path / "t.json", visit_ms=50))
    assert table.measured
    assert table.measured.protocol == replace(FAST, visit_ms=50.0)


def test_before_tables_told_it_cores_were_not_chosen(document: dict[str, Any], tmp_path: Path) -> None:
    old = json.loads(json.dumps(document))
    del old["protocol"]["pinned"]
    table = LatencyTable.load(told(old, tmp_path / "t.json"))
    assert table.measured
    assert table.measured.protocol == replace(FAST, pinned=False)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("turbo", 1, r"t\.json: protocol\.turbo: 1 cannot be measured with; known are threads, "),
        ("rounds", "9", r"protocol\.rounds: '9' cannot be measured with"),
        ("rounds", True, r"protocol\.rounds: True cannot be measured with"),
        ("cool_s", 1e9, r"protocol\.cool_s: 1000000000\.0 cannot be measured with"),
        ("visit_runs", 2**40, r"protocol\.visit_runs: 1099511627776 cannot be measured with"),
        ("clock", "sun", "t.json: protocol: nobody can measure so; measure the table anew"),
        ("max_rounds", 1, "nobody can measure so"),
    ],
)
def test_a_protocol_that_nobody_can_measure_with_is_refused(
    key: str, value: object, message: str, document: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=message):
        LatencyTable.load(told(document, tmp_path / "t.json", **{key: value}))


def test_unknown_resolution_and_processor_time_of_threads_are_refused(tiny: SearchSpace) -> None:
    with pytest.raises(ConfigError, match="resolution 99 is not in tiny; it has 24, 32"):
        list(profile_device(open_device("host"), tiny, protocol=FAST, resolutions=[99]))
    protocol = replace(FAST, threads=2, clock="cpu")
    with pytest.raises(ConfigError, match="wall clock"):
        list(profile_device(open_device("host"), tiny, protocol=protocol))


def test_shipped_estimated_table_prices_any_space(tiny: SearchSpace, encoding: Encoding) -> None:
    table = LatencyTable.load(asset_folder("latency_tables") / "rpi4.json")
    assert table.provenance == "estimated"
    assert table.fastest_ms == pytest.approx(5.1, abs=0.05)
    assert table.narrow(tiny) is tiny
    genes = encoding.sample(5, np.random.default_rng(0))
    plain = [table.latency_ms(tiny, arch) for arch in encoding.decode(genes)]
    assert table.cost_table(encoding).total(genes) == pytest.approx(plain)


def test_error_figures_in_closed_form() -> None:
    figures = judge(np.array([1.02, 2.0, 2.7, 4.4]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert figures.mape == pytest.approx((0.02 + 0.0 + 0.1 + 0.1) / 4)
    assert figures.bias == pytest.approx((0.02 + 0.0 - 0.1 + 0.1) / 4)
    assert figures.worst == pytest.approx(0.1)
    assert (figures.p50, figures.p95) == pytest.approx((0.06, 0.1))
    assert judge(np.array([0.8, 1.0]), np.array([1.0, 1.0])).p95 == pytest.approx(0.19)  # whichever way
    assert figures.within_5 == 0.5
    assert figures.spearman == pytest.approx(1.0)
    assert judge(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])).spearman == pytest.approx(-1.0)


JUNK = st.sampled_from([None, True, "x", "", -1, 0, 1e300, 3.5, [], {}, [None], {"a": 1}, "measured", "NaN"])
ANY = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner)
)


@given(data=st.data())
def test_any_spoilt_table_is_one_error_that_names_the_file(
    data: st.DataObject, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoilt = json.loads(json.dumps(document))
    place: Any = spoilt
    for _ in range(data.draw(st.integers(1, 4))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        parent, key = place, data.draw(st.sampled_from(keys))
        place = parent[key]
        if not isinstance(place, dict | list) or not place:
            break
    if data.draw(st.booleans()) and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = data.draw(ANY)
    path = tmp_path_factory.mktemp("spoilt") / "table.json"
    path.write_text(json.dumps(spoilt), encoding="utf-8")
    try:
        LatencyTable.load(path)
    except TableError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - a change may also be harmless


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{}", '{"schema": 2}', "\ud800"])
def test_files_that_are_no_table_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(TableError, match=r"table\.json"):
        LatencyTable.load(path)


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("rows", 0, "ms"), 0.0, r"rows\[0\].ms"),
        (("rows", 0, "ms"), float("nan"), "not valid JSON: NaN is no number"),
        (("rows", 0, "color"), "red", "color: is not known here"),
        (("rows", 0, "resolution"), 40, r"rows\[0\].resolution: expected one of the resolutions, got 40"),
        (("intercepts_ms",), [1.0], "intercepts_ms: expected 2 numbers"),
        (("device", "precision"), "fp64", "precision: expected one of fp32, int8"),
        (("space", "classes"), "ten", "space.classes"),
        (("notes",), "none", "notes: expected a list of strings"),
        (("schema",), 2, "schema 2: made by a newer ofa-nas; this one reads 1: update ofa-nas$"),
        (("schema",), 0, "schema 0: made by an older ofa-nas; .*: measure it again: ofa-nas profile$"),
        (("schema",), 1.0, "schema: expected 1, got 1.0$"),
        (("device",), [], r"device: expected an object, got \[\]$"),
        (("rows",), [], "rows: expected a list of one object or more$"),
    ],
)
def test_the_wrong_key_is_named(
    keys: tuple[str | int, ...], value: object, told: str, document: dict[str, Any], tmp_path: Path
) -> None:
    spoilt: Any = json.loads(json.dumps(document))
    place = spoilt
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path = tmp_path / "table.json"
    path.write_text(json.dumps(spoilt), encoding="utf-8")
    with pytest.raises(TableError, match=told):
        LatencyTable.load(path)


def test_a_layer_may_stand_there_once_a_resolution(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**document, "rows": document["rows"] * 2}), encoding="utf-8")
    with pytest.raises(TableError, match="twice"):
        LatencyTable.load(path)


def test_noise_floor_is_what_exact_predictions_would_show(table: LatencyTable) -> None:
    assert table.measured
    rng = np.random.default_rng(0)
    holdouts = tuple(replace(one, uncertainty=0.03) for one in table.measured.holdouts)
    measured = replace(table.measured, holdouts=holdouts)
    exact = np.abs(rng.normal(0.0, 0.03, 100_000)).mean()
    assert measured.noise_floor() == pytest.approx(exact, rel=0.02)
    assert measured.noise_floor(resolution=24) == pytest.approx(exact, rel=0.02)


def test_one_visit_tells_nothing_of_the_noise(table: LatencyTable) -> None:
    assert table.measured
    first, *others = (replace(one, uncertainty=0.03) for one in table.measured.holdouts)
    once = replace(first, uncertainty=0.0, architecture=first.architecture.replace("24/", "32/", 1))
    measured = replace(table.measured, holdouts=(once, *others))
    assert measured.noise_floor() is None
    assert measured.noise_floor(resolution=32) is None


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        (("name",), "name"),
        (("device", "cpu"), "device"),
        (("device", "runtime"), "device"),
        (("notes", 0), "notes"),
        (("space", "name"), "space"),
    ],
)
def test_control_characters_never_reach_a_terminal(
    keys: tuple[str | int, ...], key: str, document: dict[str, Any], tmp_path: Path
) -> None:
    spoilt: Any = {**json.loads(json.dumps(document)), "notes": ["a note"]}
    place = spoilt
    for one in keys[:-1]:
        place = place[one]
    place[keys[-1]] = "a \x1b[31mred\x07 text"
    path = tmp_path / "table.json"
    path.write_text(json.dumps(spoilt), encoding="utf-8")
    with pytest.raises(TableError, match=rf"{key}: expected printable text, got 'a \\x1b\[31mred\\x07 text'"):
        LatencyTable.load(path)


@pytest.mark.parametrize("key", ["mape", "p50", "p95", "worst", "bias", "spearman", "within_5", "within_10"])
@pytest.mark.parametrize("of", ["holdouts", "macs_linear"])
def test_a_summary_that_is_not_that_of_the_holdouts_is_refused(
    of: str, key: str, document: dict[str, Any], tmp_path: Path
) -> None:
    path, validation = tmp_path / "edited.json", document["validation"]
    edited = {**validation, of: {**validation[of], key: validation[of][key] - 0.001}}
    path.write_text(json.dumps({**document, "validation": edited}))
    with pytest.raises(TableError, match=rf"edited.json: validation.{of}.{key}: expected .* hold-outs show"):
        LatencyTable.load(path)


def test_a_table_of_several_images_at_once_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({**document, "device": {**document["device"], "batch": 64}}))
    with pytest.raises(TableError, match=r"edited.json: device.batch: expected 1, .* got 64"):
        LatencyTable.load(path)


def test_a_table_that_could_not_be_read_is_not_written(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    device = table.device
    for wrong in (
        replace(device, threads=5000),
        replace(device, runtime="onnx\x1b[2J"),
        replace(device, cpu="one\ncore"),
    ):
        with pytest.raises(TableError, match=r"table.json: device"):
            replace(table, device=wrong).save(path)
    assert table.measured
    first, *others = table.measured.rows
    rows = (replace(first, ms=0.0, other_ms=0.0), *others)
    with pytest.raises(TableError, match=r"rows\[\d+\].ms: expected a number from 1e-06"):
        replace(table, held=replace(table.measured, rows=rows)).save(path)
    with pytest.raises(TableError, match="a figure is not a finite number"):
        replace(table, held=replace(table.measured, intercepts_ms=(float("nan"),))).save(path)
    assert not path.exists()
