"""fp16 and int8 files compute nearly the same, and what int8 would spoil stays in fp32."""

from collections.abc import Iterable
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization.calibrate import TensorsData

import ofa_nas.export.precision
from ofa_nas.activity import Activity
from ofa_nas.data import Normalization
from ofa_nas.errors import DataError, FileError
from ofa_nas.export.card import Quantization
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.export.precision import (
    MOST_DISTORTION,
    QuantizedModel,
    agreement,
    distortion,
    operator_groups,
    quantize_subnet,
    to_half,
)
from ofa_nas.quantization import find_ranges
from ofa_nas.supernet.checkpoint import load_supernet
from tests.small_supernet import SmallSupernet

PLAIN = Normalization()


@pytest.fixture(scope="module")
def fp32(small: SmallSupernet) -> onnx.ModelProto:
    supernet, card = load_supernet(small.files)
    own = model_card(small.files.name, card, card.space.parse("24/5x2.3x3/3x3"), {})
    return export_subnet(supernet, own, calibration=small.calibration)[1]


def last(records: Iterable[object]) -> QuantizedModel:
    *trials, made = records
    assert all(isinstance(one, Activity) and 0 < one.done <= one.total for one in trials)
    assert isinstance(made, QuantizedModel)
    return made


def with_loud_channel(model: onnx.ModelProto, *, times: float) -> onnx.ModelProto:
    """The same function, but one channel between expansion and depthwise convolution is much louder."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    factors = {"s0b0/expand.weight": times, "s0b0/expand.bias": times, "s0b0/depthwise.weight": 1 / times}
    for tensor in changed.graph.initializer:
        if tensor.name in factors:
            values = np.array(numpy_helper.to_array(tensor))
            values[0] *= factors[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed


def test_half_precision_halves_the_file_and_keeps_its_ends(
    fp32: onnx.ModelProto, small: SmallSupernet
) -> None:
    half = to_half(fp32)
    assert {one.data_type for one in half.graph.initializer} == {TensorProto.FLOAT16}
    assert list(half.graph.input) == list(fp32.graph.input)
    assert list(half.graph.output) == list(fp32.graph.output)
    assert list(half.metadata_props) == list(fp32.metadata_props)
    sizes = [sum(len(one.raw_data) for one in model.graph.initializer) for model in (half, fp32)]
    assert 2 * sizes[0] == sizes[1]
    wanted, found = (OrtModel(model, PLAIN).logits(small.held_out.images) for model in (fp32, half))
    assert 0.0 < distortion(found, wanted) < 1e-4
    assert np.abs(found - wanted).max() < 1e-2 * np.abs(wanted).max()


def test_weights_beyond_half_precision_are_refused(fp32: onnx.ModelProto) -> None:
    with pytest.raises(
        FileError, match=r"a weight of .*e\+\d+ is beyond half precision; export fp32 or int8"
    ):
        to_half(with_loud_channel(fp32, times=1e7))


def test_groups_hold_every_operator_once_and_begin_with_weights(fp32: onnx.ModelProto) -> None:
    groups = operator_groups(fp32)
    operators = {node.name: node.op_type for node in fp32.graph.node if node.op_type != "Constant"}
    assert [name for group in groups for name in group] == list(operators)
    assert all(operators[group[0]] in {"Conv", "Gemm", "Flatten"} for group in groups)
    assert len(groups) > 10


def test_int8_says_what_it_costs_on_images_that_gave_no_range(
    fp32: onnx.ModelProto, small: SmallSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[bytes] = set()

    def note(model: onnx.ModelProto, images: npt.NDArray[np.float32], *, method: str) -> TensorsData:
        seen.update(map(np.ndarray.tobytes, images))
        return find_ranges(model, images, method=method)

    monkeypatch.setattr(ofa_nas.export.precision, "find_ranges", note)
    made = last(quantize_subnet(fp32, small.calibration, PLAIN))
    model, found = made.model, made.quantization
    ranging = OrtModel(fp32, PLAIN).inputs(small.calibration[::2]).numpy()
    assert 8 <= len(seen) <= len(ranging)
    assert seen <= set(map(np.ndarray.tobytes, ranging))
    assert found.images == len(small.calibration) // 2
    judging = small.calibration[1::2]
    logits, wanted = (OrtModel(one, PLAIN).logits(judging) for one in (model, fp32))
    assert found.distortion == pytest.approx(distortion(logits, wanted))
    assert found.agreement == agreement(logits, wanted) > 0.8
    assert Quantization.from_document(asdict(found) | {"kept": list(found.kept)}) == found


def test_too_few_images_are_refused(fp32: onnx.ModelProto, small: SmallSupernet) -> None:
    with pytest.raises(DataError, match="7 calibration images: int8 needs 8 or more"):
        list(quantize_subnet(fp32, small.calibration[:7], PLAIN))


@pytest.mark.slow
def test_the_method_with_the_least_distortion_is_taken(
    fp32: onnx.ModelProto, small: SmallSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa_nas.export.precision, "MOST_DISTORTION", 1.0)
    found = {}
    for method in ("minmax", "entropy", "percentile"):
        monkeypatch.setattr(ofa_nas.export.precision, "METHODS", (method,))
        found[method] = last(quantize_subnet(fp32, small.calibration, PLAIN)).quantization.distortion
    monkeypatch.undo()
    monkeypatch.setattr(ofa_nas.export.precision, "MOST_DISTORTION", 1.0)
    best = last(quantize_subnet(fp32, small.calibration, PLAIN)).quantization
    assert (best.method, best.distortion) == min(found.items(), key=lambda one: one[1])
    assert best.kept == ()


@pytest.mark.slow
def test_a_loud_channel_is_left_in_fp32_and_little_else(fp32: onnx.ModelProto, small: SmallSupernet) -> None:
    loud = with_loud_channel(fp32, times=300.0)
    wanted = OrtModel(fp32, PLAIN).logits(small.held_out.images)
    assert agreement(OrtModel(loud, PLAIN).logits(small.held_out.images), wanted) == 1.0
    plain = last(quantize_subnet(fp32, small.calibration, PLAIN))
    made = last(quantize_subnet(loud, small.calibration, PLAIN))
    usual, found = plain.quantization, made.quantization
    assert {"s0b0/expand", "s0b0/depthwise"} <= set(found.kept)
    assert found.distortion <= max(MOST_DISTORTION, 1.2 * usual.distortion)
    kept = {one.name for one in made.model.graph.initializer if one.data_type == TensorProto.FLOAT}
    assert "s0b0/expand.weight" in kept
    assert len(found.kept) <= len(usual.kept) + 6
    held = small.held_out.images
    logits = [OrtModel(one, PLAIN).logits(held) for one in (plain.model, made.model)]
    assert agreement(logits[1], wanted) >= agreement(logits[0], wanted) - 0.05


def test_a_damaged_record_of_quantization_is_refused() -> None:
    good = asdict(Quantization("minmax", 0.01, 0.9, 20, ("a/b",)))
    wrongs: list[object] = [
        None,
        [],
        {},
        good | {"kept": "a/b"},
        good | {"images": "many"},
        good | {"more": 1},
    ]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError)):
            Quantization.from_document(wrong)
    assert replace(Quantization.from_document(good | {"kept": ["a/b"]}), kept=()).kept == ()
