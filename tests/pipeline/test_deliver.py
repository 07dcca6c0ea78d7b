"""Files that leave were checked; what fails a check does not stay."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import ofa_nas.pipeline.delivery.deliver
import ofa_nas.pipeline.delivery.file_verification
from ofa_nas.activity import Activity
from ofa_nas.devices import DeviceInfo
from ofa_nas.devices.host import Host
from ofa_nas.errors import BudgetError, CheckpointError, FileError, VerificationError
from ofa_nas.export.card import ModelCard, PredictedLatency, read_model
from ofa_nas.export.check import Check
from ofa_nas.export.interface import FileForm
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.shelf import find_table
from ofa_nas.pipeline.delivery.deliver import deliver, save_model
from ofa_nas.pipeline.delivery.file_verification import Delivery, verify_file
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.searching.cheapest import search_cheapest
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.promise import LatencyPromise, Place, Promise, promise_of, promise_of_result
from ofa_nas.pipeline.searching.search import Goal, SearchResult, search_supernet
from ofa_nas.precisions import FP16, INT8
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet, save_supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from tests.small_supernet import SmallSupernet, exact_table

MEASURED = Measurement(
    model="subnet",
    latency_ms=2.0,
    low_ms=1.9,
    high_ms=2.1,
    p90_ms=2.5,
    runs=500,
    noisy=False,
    throttled=False,
)


def middle_weight_bytes(space: SearchSpace) -> int:
    return sum(map(weight_bytes, space.layers(space.middle)))


def export_to(output: Path, files: SupernetFiles, *budgets: Budget) -> Delivery:
    space = SupernetCard.load(files.card).space
    figures = {"accuracy": 0.5, "weight_bytes": float(middle_weight_bytes(space))}
    promise = Promise(figures=figures, half_width=0.1, budgets=budgets)
    *activities, delivery = deliver(files, space.middle, promise, output=output)
    assert isinstance(delivery, Delivery)
    assert all(isinstance(one, Activity) and one.done <= one.total for one in activities)
    return delivery


def spoil_and_save(path: Path, model: onnx.ModelProto) -> None:
    """What a bug of the writer would leave: one weight is off."""
    tensor = model.graph.initializer[4]
    values = np.array(numpy_helper.to_array(tensor))
    values[0] += 0.1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    save_model(path, model)


def test_a_delivery_measures_every_figure_it_can(small: SmallSupernet, tmp_path: Path) -> None:
    delivery = export_to(tmp_path / "out" / "subnet.onnx", small.files)
    assert [check.quantity for check in delivery.checks] == [
        "numerics",
        "accuracy",
        "peak_memory",
        "resident_memory",
        "file_size",
    ]
    assert delivery.is_met
    measured = delivery.measured()
    assert measured.keys() == {
        "accuracy",
        "planned_ort_bytes",
        "rss_max_bytes",
        "weight_bytes",
        "exceeds_budget",
    }
    assert not measured["exceeds_budget"]
    assert isinstance(measured["accuracy"], float)
    assert measured["accuracy"] > 0.3
    assert measured["weight_bytes"] == delivery.path.stat().st_size
    assert delivery.card.supernet_sha256 == SupernetCard.load(small.files.card).sha256


def test_a_promise_is_what_a_search_would_predict(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    table = exact_table(tiny)
    estimators = Estimators.load(small.name, table)
    candidate = estimators.candidates(estimators.encoding.encode([tiny.middle]))[0]
    promise = promise_of(small.files, tiny.middle, table=table, place=Place("host", 2))
    assert promise.figures == pytest.approx(candidate.figures())
    assert promise.half_width == candidate.half_width > 0.0
    (latency,) = promise.latencies
    assert latency.predicted
    assert (latency.predicted.device, latency.predicted.provenance, promise.threads) == (
        "exact",
        "measured",
        2,
    )
    assert latency.predicted.latency_ms == pytest.approx(candidate.latencies_ms["exact"])
    files = small.copy_to(tmp_path / "copy")
    files.predictor.unlink()
    without = promise_of(files, tiny.middle, table=None)
    assert promise.figures.items() > without.figures.items()
    assert promise.figures.keys() - without.figures.keys() == {"accuracy"}
    assert (without.half_width, without.latencies) == (0.0, ())


def test_a_search_promises_each_device_its_own_latency(small: SmallSupernet, tiny: SearchSpace) -> None:
    board = replace(exact_table(tiny), name="board")
    assert board.measured
    board = replace(board, held=replace(board.measured, references={"one": 3.0}))
    estimators = Estimators.load(small.name, board, exact_table(tiny))
    memory = Budget("peak_memory", 1e6, "bytes")
    *_, result = search_supernet(estimators, [Budget("latency", 4.0, "ms", "exact"), memory])
    assert isinstance(result, SearchResult)
    promise = promise_of_result(result, estimators, places={"board": Place("ssh://pi", 3)})
    assert (promise.figures, promise.threads) == (result.chosen.figures(), 3)
    assert promise.budgets == (memory,)
    first, second = promise.latencies
    assert first.predicted == PredictedLatency("board", "measured", result.chosen.latencies_ms["board"], "")
    assert (first.limit_ms, first.references, first.address) == (None, {"one": 3.0}, "ssh://pi")
    assert second.predicted == PredictedLatency("exact", "measured", result.chosen.latencies_ms["exact"], "")
    assert (second.limit_ms, second.references, second.address) == (4.0, {}, "")


def test_a_search_for_an_accuracy_promises_it(small: SmallSupernet) -> None:
    estimators = Estimators.load(small.name)
    goal = Goal(Cost("macs"), 0.3)
    *_, cheapest = search_cheapest(estimators, [], goal)
    *_, best = search_supernet(estimators, [])
    assert isinstance(cheapest, SearchResult)
    assert isinstance(best, SearchResult)
    promised, free = (promise_of_result(one, estimators, places={}) for one in (cheapest, best))
    assert (promised.least_accuracy, free.least_accuracy) == (0.3, None)


@pytest.mark.slow
def test_a_latency_over_its_budget_breaks_the_promise_of_that_device_alone(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    promise = Promise(
        figures={},
        latencies=tuple(
            LatencyPromise(PredictedLatency(name, "measured", 1.0), limit_ms=limit, address="host")
            for name, limit in (("loose", 1e6), ("tight", 1e-6))
        ),
    )
    *_, delivery = deliver(small.files, tiny.smallest, promise, output=tmp_path / "subnet.onnx")
    assert isinstance(delivery, Delivery)
    assert [check.device for check in delivery.checks if not check.is_met] == ["tight"]
    assert [one.device for one in delivery.card.latencies] == ["loose", "tight"]


def test_a_broken_budget_is_not_met_and_the_file_stays(small: SmallSupernet, tmp_path: Path) -> None:
    space = SupernetCard.load(small.files.card).space
    exact = Budget("model_size", middle_weight_bytes(space), "bytes")
    kept = export_to(tmp_path / "a.onnx", small.files, exact)
    assert kept.is_met
    assert kept.exceeds_budget
    assert kept.measured()["exceeds_budget"]
    tight = Budget("model_size", middle_weight_bytes(space) - 1, "bytes")
    delivery = export_to(tmp_path / "b.onnx", small.files, tight)
    assert not delivery.is_met
    assert [check.quantity for check in delivery.checks if not check.is_met] == ["file_size"]
    assert delivery.path.is_file()


def test_a_file_that_computes_something_else_is_not_kept(
    small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa_nas.pipeline.delivery.deliver, "save_model", spoil_and_save)
    older = tmp_path / "subnet.onnx"
    older.write_bytes(b"an older file")
    with pytest.raises(VerificationError, match=r"the file's logits differ from the supernet's by "):
        export_to(older, small.files)
    assert older.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [older]


def test_messages_name_the_file_that_was_asked_for(
    small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, names = tmp_path / "subnet.onnx", []

    class Named(OrtModel):
        def __init__(self, *arguments: Any, name: str = "", **options: Any) -> None:
            names.append(name)
            super().__init__(*arguments, name=name, **options)

    def fill(path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(ofa_nas.pipeline.delivery.file_verification, "OrtModel", Named)
    export_to(output, small.files)
    assert set(names) == {str(output)}
    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(FileError) as caught:
        export_to(output, small.files)
    assert str(caught.value) == f"{output}: cannot be written: No space left on device"


def test_stopping_during_the_checks_leaves_nothing(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    stream = deliver(small.files, tiny.middle, Promise(figures={}), output=tmp_path / "subnet.onnx")
    while next(stream) != Activity("comparing with torch"):
        pass
    assert len(list(tmp_path.iterdir())) == 1
    del stream  # the last reference: the generator is closed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["calibration", "held-out"])
def test_missing_images_are_named_and_nothing_is_left(
    what: str, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    (files.calibration if what == "calibration" else files.held_out).unlink()
    with pytest.raises(CheckpointError, match=f"the supernet's {what} images are missing; ofa-nas train"):
        export_to(tmp_path / "subnet.onnx", files)
    assert not (tmp_path / "subnet.onnx").exists()


def verify(path: Path, files: SupernetFiles, *budgets: Budget, device: str | None = None) -> Delivery:
    *_, delivery = verify_file(path, supernet=str(files.weights), device=device, budgets=budgets)
    assert isinstance(delivery, Delivery)
    return delivery


def test_verifying_again_finds_the_same(small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    first = export_to(path, small.files)
    again = verify(path, small.files)
    assert again.card == first.card
    assert again.measured()["accuracy"] == first.measured()["accuracy"]
    assert again.is_met


def test_verifying_finds_a_weight_that_was_changed(small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    export_to(path, small.files)
    spoil_and_save(path, read_model(path))
    with pytest.raises(VerificationError, match="the file's logits differ"):
        verify(path, small.files)
    assert path.is_file()  # it is the user's


def test_without_its_supernet_a_file_is_checked_as_far_as_it_goes(
    small: SmallSupernet, tmp_path: Path
) -> None:
    path, files = tmp_path / "subnet.onnx", small.copy_to(tmp_path / "run")
    first = export_to(path, small.files)
    supernet, card = load_supernet(files)
    supernet.get_parameter("layers.classifier.linear.bias").data.add_(0.5)
    save_supernet(files, supernet, card)
    again = verify(path, files)  # its images are still those of the same data
    (reason,) = again.unchecked
    assert "subnet.onnx is of another version of the supernet supernet: " in reason
    assert again.measured()["accuracy"] == first.measured()["accuracy"]
    assert not [check for check in again.checks if check.quantity == "numerics"]
    *_, alone = verify_file(path, supernet=None, device=None, budgets=())
    assert isinstance(alone, Delivery)
    reasons = " ".join(alone.unchecked)
    assert "the supernet 'supernet', which does not ship; give its .safetensors file" in reasons
    assert "accuracy not measured: no images of shapes are at hand" in reasons
    assert [check.quantity for check in alone.checks] == ["peak_memory", "resident_memory", "file_size"]
    assert alone.is_met


def test_a_supernet_that_was_given_must_be_there(small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    export_to(path, small.files)
    with pytest.raises(CheckpointError, match="nope"):
        list(verify_file(path, supernet="nope", device=None, budgets=()))


def test_a_supernet_that_is_not_the_files_is_refused_by_name(small: SmallSupernet, tmp_path: Path) -> None:
    path, files = tmp_path / "subnet.onnx", small.copy_to(tmp_path / "run")
    export_to(path, small.files)
    own = r"was exported from the supernet supernet \(shapes, 10 classes\)"
    with pytest.raises(CheckpointError, match=own + r", not from ofa-imagenet \(imagenet, 1000 classes\)"):
        list(verify_file(path, supernet="ofa-imagenet", device=None, budgets=()))
    supernet, card = load_supernet(files)
    supernet.get_parameter("layers.classifier.linear.bias").data.add_(0.5)
    save_supernet(files, supernet, replace(card, data="other"))
    with pytest.raises(CheckpointError, match=own + r", not from supernet \(other, 10 classes\)"):
        verify(path, files)


@pytest.mark.parametrize(("share", "is_met"), [(1.0, True), (0.99, False)])
def test_a_budget_of_macs_is_counted_in_verification(
    share: float, is_met: bool, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    export_to(path, small.files)
    space = SupernetCard.load(small.files.card).space
    macs = network_macs(space, space.middle)
    budget = Budget("macs", share * macs, "MACs")
    delivery = verify(path, small.files, budget)
    assert delivery.is_met == is_met


def test_a_latency_budget_needs_a_device_to_measure_it_on(small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    export_to(path, small.files)
    with pytest.raises(BudgetError, match="--device host"):
        verify(path, small.files, Budget("latency", 1e6, "ms"))


def test_a_damaged_file_is_refused(small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(FileError, match=r"subnet\.onnx: not a valid ONNX model"):
        verify(path, small.files)


INT8_PROMISE = Promise(figures={"accuracy": 0.5, "weight_bytes": 1.0, "peak_activation_bytes": 1.0})


@pytest.fixture(scope="module")
def int8(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """The middle subnet as an int8 file that takes any number of pixel images."""
    space, output = SupernetCard.load(small.files.card).space, tmp_path_factory.mktemp("int8") / "subnet.onnx"
    form = FileForm(INT8, batch=None, has_preprocessing=True)
    *_, delivery = deliver(small.files, space.middle, INT8_PROMISE, output=output, form=form)
    assert isinstance(delivery, Delivery)
    return delivery


def test_an_int8_file_is_compared_with_torch_class_by_class(int8: Delivery, small: SmallSupernet) -> None:
    quantities = [check.quantity for check in int8.checks]
    assert quantities[:3] == ["agreement", "accuracy_drop", "accuracy"]
    agreement, drop, accuracy = int8.checks[:3]
    assert agreement.measured > 0.8
    assert drop.measured == pytest.approx(export_accuracy(small, int8.card.space.middle) - accuracy.measured)
    assert accuracy.note.endswith("predicted of fp32")
    assert (accuracy.predicted, int8.card.predicted["accuracy"]) == (0.5, 0.5)


def export_accuracy(small: SmallSupernet, arch: Architecture) -> float:
    *_, found = evaluate(small.name, [str(arch)], data=None, images=None, seed=0)
    return found.top_1.accuracy


def test_what_an_int8_file_holds_is_counted_from_what_stays_in_fp32(int8: Delivery) -> None:
    card, layers = int8.card, list(int8.card.space.layers(int8.card.arch))
    assert card.quantization
    kept = frozenset(card.quantization.kept)
    sizes = sum(weight_bytes(layer, INT8, kept=kept) for layer in layers)
    assert card.predicted["weight_bytes"] == sizes < middle_weight_bytes(card.space) / 2
    peak = next(check for check in int8.checks if check.quantity == "peak_memory")
    assert peak.predicted == card.predicted["peak_activation_bytes"] > 1.0
    assert (f"; {len(kept)} operators stay in fp32" in peak.note) == bool(kept)


def test_the_file_holds_what_was_measured_of_it(int8: Delivery) -> None:
    card = ModelCard.from_model(read_model(int8.path), int8.path)
    assert card == int8.card
    figures = int8.measured()
    assert {key: figures[key] for key in card.measured if key != "threads"} == {
        key: value for key, value in card.measured.items() if key != "threads"
    }
    assert {"accuracy", "agreement", "accuracy_drop", "planned_ort_bytes"} <= card.measured.keys()
    assert figures["weight_bytes"] == int8.path.stat().st_size
    assert card.made_by["onnxruntime"]


def test_an_int8_file_is_verified_like_it_was_delivered(int8: Delivery, small: SmallSupernet) -> None:
    again = verify(int8.path, small.files)
    assert [check.quantity for check in again.checks] == [check.quantity for check in int8.checks]
    for first, second in zip(int8.checks[:3], again.checks[:3], strict=True):
        assert first.measured == second.measured
    assert (again.card, again.unchecked) == (int8.card, ())


def test_a_budget_is_that_of_the_int8_file(int8: Delivery, small: SmallSupernet) -> None:
    exact = int8.card.predicted["weight_bytes"]
    for share, is_met in ((1.0, True), (0.999, False)):
        checks = verify(int8.path, small.files, Budget("model_size", share * exact, "bytes")).checks
        assert next(check for check in checks if check.quantity == "file_size").is_met == is_met


def test_an_int8_file_that_lost_too_much_breaks_its_promise(
    int8: Delivery, small: SmallSupernet, tmp_path: Path
) -> None:
    path, model = tmp_path / "spoilt.onnx", read_model(int8.path)
    bias = next(one for one in model.graph.initializer if one.name == "classifier/linear.bias_quantized")
    values = np.array(numpy_helper.to_array(bias))
    values[3] += 1 << 28  # always the fourth class
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    save_model(path, model)
    found = verify(path, small.files)
    assert [check.quantity for check in found.checks if not check.is_met] == ["accuracy_drop"]


def test_half_precision_has_numerics_of_its_own_and_a_drop(small: SmallSupernet, tmp_path: Path) -> None:
    space = SupernetCard.load(small.files.card).space
    *_, delivery = deliver(
        small.files, space.middle, INT8_PROMISE, output=tmp_path / "half.onnx", form=FileForm(FP16)
    )
    assert isinstance(delivery, Delivery)
    assert delivery.is_met
    numerics, agreement, *_ = delivery.checks
    assert numerics.measured < 1e-2
    assert agreement.measured > 0.97
    assert delivery.card.predicted["weight_bytes"] == middle_weight_bytes(space) / 2


def test_a_file_of_a_batch_promises_no_latency_of_one_image(
    small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def time_file(file: OrtModel, *_: object, **__: object) -> tuple[Measurement, tuple[str, ...]]:
        timed.append(
            onnx.load_from_string(file.timed()).graph.input[0].type.tensor_type.shape.dim[0].dim_value
        )
        return MEASURED, ()

    monkeypatch.setattr(ofa_nas.pipeline.delivery.file_verification, "time_file", time_file)
    predicted = LatencyPromise(PredictedLatency("host", "measured", 1.0), address="host")
    promise = Promise(figures={}, latencies=(predicted,))
    space = SupernetCard.load(small.files.card).space
    for batch, wanted in ((4, None), (None, 1.0)):
        *_, delivery = deliver(
            small.files, space.smallest, promise, output=tmp_path / "b.onnx", form=FileForm(batch=batch)
        )
        assert isinstance(delivery, Delivery)
        latency = next(check for check in delivery.checks if check.quantity == "latency")
        assert latency.predicted == wanted
        assert ("4 images at once" in latency.note) == (batch == 4)
        assert "this machine, 1 thread" in latency.note
    assert timed == [4, 1]


class Addressed(Host):
    """A device that nothing is known of, but that answers as this machine."""

    def info(self) -> DeviceInfo:
        return DeviceInfo("x", "none", 1, "none", {})


@pytest.mark.parametrize(
    ("address", "provider", "where"),
    [("host", "cuda", "host+cuda"), ("host+cuda", "cuda", "host+cuda"), ("host", "", "host")],
)
def test_time_and_memory_of_a_file_are_those_of_its_tables_provider(
    small: SmallSupernet,
    tiny: SearchSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    provider: str,
    where: str,
) -> None:
    asked = []

    def opened(address: str) -> Addressed:
        asked.append(address)
        return Addressed()

    def memory(_: OrtModel, address: str, **__: object) -> list[Check]:
        asked.append(address)
        return [Check("peak_memory", 1.0, None, "bytes", is_met=True, note="")]

    room = ofa_nas.pipeline.delivery.file_verification
    monkeypatch.setattr(room, "open_device", opened)
    monkeypatch.setattr(room, "time_file", lambda *_, **__: (MEASURED, ()))
    monkeypatch.setattr(room, "check_memory", memory)
    table = exact_table(tiny)
    assert table.measured
    protocol = replace(table.measured.protocol, provider=provider)
    table = replace(table, held=replace(table.measured, protocol=protocol))
    promise = Promise(figures={}, latencies=(LatencyPromise.of(table, 1.0, place=Place(address)),))
    *_, delivery = deliver(small.files, tiny.smallest, promise, output=tmp_path / "subnet.onnx")
    assert isinstance(delivery, Delivery)
    assert asked == [where, where]
    assert [one.provider for one in delivery.card.latencies] == [provider]


def test_for_which_provider_an_estimated_table_predicts_nobody_knows() -> None:
    promise = LatencyPromise.of(find_table("rpi4")[1], 1.0)
    assert promise.predicted
    assert promise.predicted.provider is None


Predictions = Mapping[str, str | None]  # providers by the names of tables


@pytest.fixture
def verify_predicted(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Predictions, str], Delivery]:
    """Check a file for which tables predicted 1 ms, at an address that nobody asks anything."""

    def run(predictions: Predictions, device: str) -> Delivery:
        latencies = tuple(
            LatencyPromise(PredictedLatency(name, "measured", 1.0, provider))
            for name, provider in predictions.items()
        )
        path = tmp_path / "subnet.onnx"
        list(deliver(small.files, tiny.smallest, Promise(figures={}, latencies=latencies), output=path))
        room = ofa_nas.pipeline.delivery.file_verification
        memory = Check("peak_memory", 1.0, None, "bytes", is_met=True, note="")
        monkeypatch.setattr(room, "open_device", lambda _: Addressed())
        monkeypatch.setattr(room, "time_file", lambda *_, **__: (MEASURED, ()))
        monkeypatch.setattr(room, "check_memory", lambda *_, **__: [memory])
        return verify(path, small.files, device=device)

    return run


def latency_of(delivery: Delivery) -> Check:
    return next(one for one in delivery.checks if one.quantity == "latency")


@pytest.mark.parametrize(
    ("device", "predictions", "meant"),
    [
        ("host", {"rpi4": None, "host": "", "vino": "openvino"}, "host"),
        ("host+openvino", {"rpi4": None, "host": "", "host-openvino": "openvino"}, "host-openvino"),
        ("host+openvino", {"host": "", "vino": "openvino"}, "vino"),
        ("host+openvino", {"host": None, "rpi4": None}, "rpi4"),
        ("host+openvino", {"host": None, "host-openvino": None}, "host-openvino"),
        ("ssh://pi", {"host": None, "rpi4": None}, "rpi4"),
    ],
)
def test_a_file_is_held_against_what_was_predicted_for_the_address(
    device: str,
    predictions: Predictions,
    meant: str,
    verify_predicted: Callable[[Predictions, str], Delivery],
) -> None:
    found = verify_predicted(predictions, device)
    assert (latency_of(found).device, latency_of(found).predicted) == (meant, 1.0)
    assert found.unchecked == ()


def test_what_was_predicted_for_another_provider_is_no_comparison(
    verify_predicted: Callable[[Predictions, str], Delivery],
) -> None:
    found = verify_predicted({"host-openvino": "openvino"}, "host")
    assert (latency_of(found).device, latency_of(found).predicted) == ("host", None)
    told = "1 ms predicted on host-openvino is for openvino, host for the CPU: --device host+openvino"
    assert found.unchecked == (f"latency not compared: {told}",)
    found = verify_predicted({"pi": "", "pi-gpu": "cuda,device_id=1"}, "ssh+cuda://pi")
    assert (latency_of(found).device, latency_of(found).predicted) == ("ssh+cuda://pi", None)
    first, second = found.unchecked
    assert first.endswith("predicted on pi is for the CPU, ssh+cuda://pi for cuda: --device ssh://pi")
    assert second.endswith("ssh+cuda://pi for cuda: --device ssh+cuda,device_id=1://pi")


def test_a_file_whose_memory_nobody_tells_is_delivered(
    small: SmallSupernet, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = ofa_nas.pipeline.delivery.file_verification
    monkeypatch.setattr(room, "check_memory", lambda *_, **__: [])
    stream = deliver(small.files, tiny.smallest, Promise(figures={}), output=tmp_path / "subnet.onnx")
    *_, delivery = stream
    assert isinstance(delivery, Delivery)
    assert "peak_memory" not in {check.quantity for check in delivery.checks}


def test_files_may_be_named_by_text(small: SmallSupernet, tiny: SearchSpace, tmp_path: Path) -> None:
    path = str(tmp_path / "subnet.onnx")
    *_, made = deliver(small.files, tiny.smallest, Promise(figures={}), output=path)
    *_, again = verify_file(path, supernet=small.files.weights)
    assert isinstance(made, Delivery)
    assert isinstance(again, Delivery)
    assert again.path == made.path == Path(path)
