"""Where latencies are of int8 networks, it is int8 networks that are timed, against int8 references."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
import pytest

import ofa_nas.pipeline.delivery.file_verification
from ofa_nas.devices import AnyModel, DeviceInfo, MeasuringProtocol, Profile, Visit
from ofa_nas.errors import TableError
from ofa_nas.export.interface import FileForm
from ofa_nas.latency.references import Timed, reference_architectures, reference_name
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.delivery.deliver import deliver
from ofa_nas.pipeline.delivery.file_verification import Delivery
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.finalists import time_architectures
from ofa_nas.pipeline.searching.promise import LatencyPromise, Place, Promise, promise_of
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.precisions import FP32, INT8
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, exact_table

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0)


@dataclass(slots=True)
class Listener:
    """A device that takes 2 ms for everything, and remembers what it was sent."""

    quantized: dict[str, bool] = field(default_factory=dict)

    def info(self) -> DeviceInfo:
        return DeviceInfo("listener", "none", 1, "none", {})

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        for model in models:
            kinds = {node.op_type for node in onnx.load_from_string(model.content).graph.node}
            self.quantized[model.name] = "QuantizeLinear" in kinds
        for _ in range(protocol.rounds):
            for model in models:
                runs = (2.0,) * protocol.visit_runs
                yield Visit(model.name, runs, runs, spoilt=False, throttled=False)

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        raise NotImplementedError

    def forget(self) -> None:
        pass


def table_of(tiny: SearchSpace, precision: str) -> LatencyTable:
    table = exact_table(tiny)
    assert table.measured
    names = [reference_name(arch, precision=precision) for arch in reference_architectures(tiny)]
    measured = replace(table.measured, references=dict.fromkeys(names, 1.0))
    return replace(table, held=measured, device=replace(table.device, precision=precision))


@pytest.mark.parametrize("precision", [FP32, INT8])
def test_finalists_are_of_the_precision_of_their_table(precision: str, tiny: SearchSpace) -> None:
    device, table = Listener(), table_of(tiny, precision)
    stream = time_architectures([tiny.smallest], device, space=tiny, table=table, protocol=FAST)
    *_, timed = stream
    assert isinstance(timed, Timed)
    assert device.quantized.keys() == {
        str(tiny.smallest),
        *(table.measured.references if table.measured else ()),
    }
    assert set(device.quantized.values()) == {precision == INT8}
    assert timed.slowdown == pytest.approx(2.0)  # references are known by their names, precision and all
    assert timed.at_table_speed[str(tiny.smallest)].latency_ms == pytest.approx(1.0)


@pytest.mark.parametrize("precision", [FP32, INT8])
def test_a_file_is_timed_against_references_of_its_precision(
    precision: str, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, table = Listener(), table_of(tiny, precision)
    monkeypatch.setattr(ofa_nas.pipeline.delivery.file_verification, "open_device", lambda _: device)
    promise = Promise(figures={}, latencies=(LatencyPromise.of(table, 1.0, place=Place("host")),))
    stream = deliver(
        small.files, tiny.smallest, promise, output=tmp_path / "subnet.onnx", form=FileForm(precision)
    )
    *_, delivery = stream
    assert isinstance(delivery, Delivery)
    assert len(device.quantized) > 3
    assert set(device.quantized.values()) == {precision == INT8}
    latency = next(check for check in delivery.checks if check.quantity == "latency")
    assert latency.measured == pytest.approx(2.0)  # as it is: the references tell that the table is stale
    assert "the references take 2.000 times as long as they did" in latency.note


def test_a_device_has_a_table_for_each_precision(tiny: SearchSpace) -> None:
    for precision, name in ((FP32, "rpi4"), (INT8, "rpi4_int8")):
        *_, table = device_table("rpi4", tiny, precision=precision)
        assert isinstance(table, LatencyTable)
        assert (table.name, table.device.precision) == (name, precision)
        own = replace(table_of(tiny, precision), name="my-board")
        own.save(named_table_path(tiny, "my-board", precision=precision))
    for precision in (FP32, INT8):
        *_, table = device_table("my-board", tiny, precision=precision)
        assert isinstance(table, LatencyTable)
        assert table.device.precision == precision


def test_a_table_of_another_precision_is_refused_with_what_would_be_right(tiny: SearchSpace) -> None:
    with pytest.raises(
        TableError, match=r"rpi4_int8 is of int8 .* will be fp32: give --precision int8, or a"
    ):
        list(device_table("rpi4_int8", tiny))
    path = named_table_path(tiny, "elsewhere")
    table_of(tiny, FP32).save(path)
    with pytest.raises(
        TableError, match=r"exact is of fp32 .* int8: .*profile --precision int8 measures one"
    ):
        list(device_table(str(path), tiny, precision=INT8))


def test_costs_of_a_search_are_those_of_its_precision(small: SmallSupernet, tiny: SearchSpace) -> None:
    estimators = Estimators.load(small.name, table_of(tiny, INT8), precision=INT8)
    candidate = estimators.candidates(estimators.encoding.encode([tiny.middle]))[0]
    layers = list(tiny.layers(tiny.middle))
    assert candidate.weight_bytes == sum(weight_bytes(layer, INT8) for layer in layers)
    assert candidate.weight_bytes < sum(map(weight_bytes, layers)) / 2
    assert candidate.peak_activation_bytes == max(peak_bytes(layer, INT8) for layer in layers)
    promise = promise_of(small.files, tiny.middle, table=None, precision=INT8)
    assert promise.figures == pytest.approx(candidate.figures())
    fp32 = Estimators.load(small.name).candidates(estimators.encoding.encode([tiny.middle]))[0]
    assert candidate.accuracy == fp32.accuracy  # nothing is taken off silently: it is told


def test_a_file_is_not_timed_on_another_machine_than_that_of_its_table(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, table = Listener(), table_of(tiny, FP32)
    assert table.measured
    there = replace(table, held=replace(table.measured, environment={"cpu": "Cortex-A72"}))
    monkeypatch.setattr(ofa_nas.pipeline.delivery.file_verification, "open_device", lambda _: device)
    promise = Promise(figures={}, latencies=(LatencyPromise.of(there, 1.0, place=Place("host")),))
    path = tmp_path / "subnet.onnx"
    with pytest.raises(TableError, match=r"was measured on another machine .* cpu was 'Cortex-A72'"):
        list(deliver(small.files, tiny.smallest, promise, output=path))
    assert not device.quantized
    assert not path.exists()
