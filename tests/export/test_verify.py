"""Checks look at the file itself, and a broken promise is told."""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from ofa_nas.accuracy import Top1
from ofa_nas.data import Normalization
from ofa_nas.devices import MeasuringProtocol, agent, open_device
from ofa_nas.errors import VerificationError
from ofa_nas.export.comparison import compare_with_torch
from ofa_nas.export.interface import FileForm, with_batch
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.export.precision import to_half
from ofa_nas.export.verify import (
    check_accuracy,
    check_latency,
    check_memory,
    check_numerics,
    check_size,
    time_file,
)
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import reference_models
from ofa_nas.onnx_writer import write_model
from ofa_nas.precisions import FP16
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.supernet.supernet import Subnet
from tests.small_supernet import SmallSupernet

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


def test_numerics_hold_for_the_file_and_not_for_a_spoilt_one(
    exported: tuple[Subnet, onnx.ModelProto], small: SmallSupernet
) -> None:
    subnet, model = exported
    check = check_numerics(OrtModel(model, Normalization()), subnet, small.held_out.images)
    assert check.is_met
    assert check.measured < 1e-4
    for index in range(len(model.graph.initializer)):
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(model)
        tensor = spoilt.graph.initializer[index]
        values = np.array(numpy_helper.to_array(tensor))
        values[0] += 0.5
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        found = check_numerics(OrtModel(spoilt, Normalization()), subnet, small.held_out.images)
        assert not found.is_met, tensor.name
    assert tensor.name == "classifier/linear.bias"  # so one logit of each image is off
    logits = OrtModel(model, Normalization()).logits(small.held_out.images[:8])
    assert found.measured == pytest.approx(0.5 / np.abs(logits).max(), rel=1e-3)


def test_a_dynamic_file_that_takes_one_image_only_is_refused(
    exported: tuple[Subnet, onnx.ModelProto], small: SmallSupernet
) -> None:
    subnet, model = exported
    file = OrtModel(FileForm(batch=None).apply(model, Normalization()), Normalization())
    assert check_numerics(file, subnet, small.held_out.images[:1]).is_met
    broken = with_batch(model, None)
    ends = broken.graph.node[-1]
    shape = numpy_helper.from_array(np.array([1, 10]), "shape")
    broken.graph.initializer.append(shape)
    broken.graph.node.append(helper.make_node("Reshape", ["flat", "shape"], [ends.output[0]], name="fixed"))
    ends.output[0] = "flat"
    file = OrtModel(broken, Normalization())
    held_out = small.held_out
    with pytest.raises(VerificationError, match=r"ONNX Runtime refuses the model: .*fixed"):
        check_numerics(file, subnet, held_out.images)
    with pytest.raises(VerificationError, match=r"ONNX Runtime refuses the model: .*fixed"):
        list(compare_with_torch(file, subnet, held_out))


def test_half_precision_is_held_against_weights_that_were_rounded_alike(
    exported: tuple[Subnet, onnx.ModelProto], small: SmallSupernet
) -> None:
    subnet, images = deepcopy(exported[0]), small.held_out.images
    classifier = subnet.get_parameter("layers.classifier.linear.weight")
    classifier.data.mul_(2e-6)  # to where half precision has few digits left
    subnet.get_parameter("layers.classifier.linear.bias").data.mul_(2e-6)
    half = to_half(write_model(subnet.walk, subnet.folded_weights(), name="half", metadata={}))
    file = OrtModel(half, Normalization())
    with torch.inference_mode():
        wanted = subnet(file.inputs(images[:8])).numpy()
    assert np.abs(file.logits(images[:8]) - wanted).max() > 1e-2 * np.abs(wanted).max()
    check = check_numerics(file, subnet, images, precision=FP16)
    assert check.is_met
    assert check.measured < 1e-3
    assert "the same rounded weights in fp32" in check.note
    classifier.data[0].mul_(1.5)
    assert not check_numerics(file, subnet, images, precision=FP16).is_met


def test_a_wrong_normalization_breaks_numerics(
    exported: tuple[Subnet, onnx.ModelProto], small: SmallSupernet
) -> None:
    subnet, model = exported
    right, shifted = Normalization(), Normalization(mean=(120.0, 127.0, 127.0))
    file = OrtModel(model, right)
    file.normalization = shifted
    expected = OrtModel(model, right).logits(small.held_out.images[:8])
    assert np.abs(file.logits(small.held_out.images[:8]) - expected).max() > 1e-3
    assert check_numerics(OrtModel(model, shifted), subnet, small.held_out.images).is_met  # both alike


@pytest.mark.parametrize(("limit", "is_met"), [(None, True), (1.96, True), (1.89, False)])
def test_a_latency_budget_is_broken_when_the_whole_interval_is_above_it(
    limit: float | None, is_met: bool
) -> None:
    median, tail = check_latency(
        MEASURED, (), predicted=1.5, limit=limit, device="host", where="this machine"
    )
    assert (median.measured, median.predicted, median.is_met) == (2.0, 1.5, is_met)
    assert ("over the budget of" in median.note) == (not is_met)
    assert median.exceeds_budget == (limit is not None)  # 2 ms are above both, one of them within the noise
    assert (tail.quantity, tail.measured, tail.is_met) == ("latency_p90", 2.5, True)


def test_a_file_beside_a_stale_table_is_judged_by_the_milliseconds_of_now(
    exported: tuple[Subnet, onnx.ModelProto],
) -> None:
    subnet, model = exported
    file, device = OrtModel(model, Normalization()), open_device("host")
    protocol = MeasuringProtocol(rounds=3, max_rounds=3, visit_ms=1.0, retries=0)
    plain, stale = time_file(file, device, protocol, space=subnet.space, references={})
    assert stale == ()
    then = {model.name: 1e-6 for model in reference_models(subnet.space)}
    now, stale = time_file(file, device, protocol, space=subnet.space, references=then)
    assert now.latency_ms > plain.latency_ms / 10.0  # it would be a hundredth at the table's speed
    note = check_latency(now, stale, predicted=None, limit=None, device="host", where="here")[0].note
    assert "the table is stale: the references take" in note
    assert "measure it anew (ofa-nas profile)" in note
    assert "stale" not in check_latency(now, (), predicted=None, limit=None, device="", where="")[0].note
    changes = ("governor was 'a', is 'b'",)
    _, stale = time_file(file, device, protocol, space=subnet.space, references={}, changes=changes)
    assert stale == changes


def test_memory_and_size_are_those_of_the_file(exported: tuple[Subnet, onnx.ModelProto]) -> None:
    subnet, model = exported
    file = OrtModel(model, Normalization())
    weights = float(sum(map(weight_bytes, subnet.walk)))
    size = check_size(len(file.content), predicted=weights, limit=weights)
    assert size.is_met
    assert size.exceeds_budget  # graph and names come on top of the weights
    assert not check_size(len(file.content), predicted=weights, limit=size.measured).exceeds_budget
    assert size.measured == len(model.SerializeToString())
    assert weights < size.measured < 1.5 * weights + 20_000
    assert not check_size(len(file.content), predicted=weights, limit=weights - 1).is_met
    liveness = float(max(map(peak_bytes, subnet.walk)))
    memory, resident = check_memory(file, "host", predicted=liveness, limit=liveness)
    assert memory.is_met
    assert resident.quantity == "resident_memory"
    assert resident.measured > weights + 0.9 * liveness
    assert 0.9 * liveness <= memory.measured <= 1.6 * liveness
    assert not check_memory(file, "host", predicted=liveness, limit=liveness - 1)[0].is_met
    assert memory.exceeds_budget == (memory.measured > liveness)
    tight = check_memory(file, "host", predicted=1.0, limit=memory.measured - 1)[0]
    assert (tight.is_met, tight.exceeds_budget) == (True, True)
    assert "; as measured over the budget of " in tight.note
    assert not check_memory(file, "host", predicted=1.0, limit=2 * memory.measured)[0].exceeds_budget


def test_an_onnxruntime_that_tells_no_peak_has_liveness_in_its_place(
    exported: tuple[Subnet, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before 1.28 do not tell, nor do execution providers."""

    def read(events: Sequence[agent.Json], skip: int) -> agent.Json:
        return {**told(events, skip), "peak_bytes": 0}

    told = agent.read_profile
    monkeypatch.setattr(agent, "read_profile", read)
    subnet, model = exported
    file, liveness = OrtModel(model, Normalization()), float(max(map(peak_bytes, subnet.walk)))
    memory, resident = check_memory(file, "host", predicted=liveness, limit=liveness)
    assert (memory.measured, memory.is_met, resident.quantity) == (liveness, True, "resident_memory")
    assert memory.note == "liveness, for this ONNX Runtime does not tell what it requests"
    assert not check_memory(file, "host", predicted=liveness, limit=liveness - 1)[0].is_met
    assert [one.quantity for one in check_memory(file, "host", predicted=None, limit=None)] == [
        "resident_memory"
    ]


def test_an_accuracy_beyond_both_intervals_is_told_and_breaks_nothing() -> None:
    found = Top1(60, 100)
    assert found.half_width == pytest.approx(0.0796, abs=1e-4)
    near = check_accuracy(found, predicted=0.69, half_width=0.02)
    far = check_accuracy(found, predicted=0.72, half_width=0.02)
    assert near.is_met
    assert far.is_met
    assert "outside the predictor's interval" in far.note
    assert "outside" not in near.note


@pytest.mark.parametrize(
    ("least", "is_met", "is_below"),
    [(None, True, False), (0.6, True, False), (0.601, True, True), (0.66, True, True), (0.7, False, True)],
)
def test_an_accuracy_that_was_asked_is_missed_where_the_whole_interval_lies_below(
    least: float | None, is_met: bool, is_below: bool
) -> None:
    found = Top1(60, 100)
    assert found.interval[1] == pytest.approx(0.6769, abs=1e-4)
    check = check_accuracy(found, predicted=None, half_width=0.0, least=least)
    assert (check.is_met, check.exceeds_budget) == (is_met, is_below)
    assert ("below" in check.note) == is_below


def test_how_far_an_accuracy_is_below_what_was_asked_is_told() -> None:
    note = check_accuracy(Top1(60, 100), predicted=None, half_width=0.0, least=0.7).note
    assert note.endswith("points; 10 points below the 70% that was asked")
    assert check_accuracy(Top1(20, 20), predicted=None, half_width=0.0, least=1.0).is_met


def test_the_interval_of_a_file_that_errs_nowhere_is_not_empty() -> None:
    found = Top1(20, 20)
    assert found.interval == pytest.approx((0.8808, 1.0), abs=1e-4)
    assert "± 6.0 points" in check_accuracy(found, predicted=None, half_width=0.0).note
    assert "outside" not in check_accuracy(found, predicted=0.9, half_width=0.01).note
    assert "outside" in check_accuracy(found, predicted=0.86, half_width=0.02).note
    none = Top1(0, 20)
    assert "outside" not in check_accuracy(none, predicted=0.1, half_width=0.0).note
    assert "outside" in check_accuracy(none, predicted=0.14, half_width=0.02).note
