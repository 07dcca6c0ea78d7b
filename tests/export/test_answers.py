"""Answers of a device beside this machine's: real sessions of real networks, right ones and wrong ones."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ofa_nas.data import Normalization
from ofa_nas.devices import HOST, AnyModel, Logits, MeasuringProtocol, Model, agent, open_device
from ofa_nas.devices.host import Host
from ofa_nas.errors import DeviceError
from ofa_nas.export.answers import ROUNDING_TOLERANCE, answer_tolerance, check_answers, judge_answers
from ofa_nas.export.check import Check
from ofa_nas.export.interface import with_batch
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.references import write_network
from ofa_nas.precisions import FP16, FP32, INT8
from ofa_nas.space.search_space import SearchSpace

PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
PROTOCOL = MeasuringProtocol()


def network(space: SearchSpace, *, seed: int = 0, precision: str = FP32) -> onnx.ModelProto:
    model = write_network(
        space, space.middle, np.random.default_rng(seed), name="subnet", precision=precision
    )
    return onnx.load_from_string(model.content)


class OtherNetwork(Host):
    """A machine that runs another file than it was given."""

    def __init__(self, other: onnx.ModelProto) -> None:
        self.other = other

    def logits(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Logits]:
        yield from super().logits(
            [Model(one.name, self.other.SerializeToString()) for one in models], protocol
        )


def check(
    model: onnx.ModelProto, device: Host, *, precision: str = FP32, provider: str = "", threads: int = 1
) -> Check:
    return check_answers(
        OrtModel(model, PLAIN),
        device,
        replace(PROTOCOL, threads=threads),
        precision=precision,
        provider=provider,
        name="my-board",
        where="ssh://my-board",
    )


@pytest.mark.parametrize("precision", [FP32, INT8])
def test_the_same_file_gives_the_same_answers(tiny: SearchSpace, precision: str) -> None:
    found = check(network(tiny, precision=precision), Host(), precision=precision)
    assert (found.quantity, found.measured, found.is_met, found.device) == ("answers", 1.0, True, "my-board")
    assert found.note.startswith("same class on ssh://my-board as on this machine: 8 of 8 made-up inputs; ")


@pytest.mark.parametrize(("precision", "provider"), [(FP32, ""), (INT8, ""), (FP32, "cuda")])
def test_a_device_with_other_weights_breaks_the_promise(
    tiny: SearchSpace, precision: str, provider: str
) -> None:
    device = OtherNetwork(network(tiny, seed=1, precision=precision))
    found = check(network(tiny, precision=precision), device, precision=precision, provider=provider)
    assert not found.is_met
    assert found.note.endswith(
        ": ssh://my-board does not compute what the file says, accuracy as checked here does not hold there"
    )


def test_one_weight_that_is_off_by_a_little_is_found_in_fp32(tiny: SearchSpace) -> None:
    model, bent = network(tiny), network(tiny)
    weights = bent.graph.initializer[-1]
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] += 0.005
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    assert not check(model, OtherNetwork(bent)).is_met
    assert check(model, OtherNetwork(bent), provider="cuda").is_met  # as little as half precision may do


def test_a_device_with_other_classes_is_refused(tiny: SearchSpace) -> None:
    device = OtherNetwork(network(replace(tiny, classes=tiny.classes + 1)))
    told = rf"^ssh://my-board: answered with 8 rows of {tiny.classes + 1} logits, the file has 8 rows of"
    with pytest.raises(DeviceError, match=told):
        check(network(tiny), device)


@pytest.mark.parametrize("batch", [3, 8, 20, None])
def test_files_of_any_batch_are_asked_the_same(tiny: SearchSpace, batch: int | None) -> None:
    model = network(tiny)
    (expected,) = Host().logits([Model("subnet", model.SerializeToString())], PROTOCOL)
    (found,) = Host().logits([Model("subnet", OrtModel(with_batch(model, batch), PLAIN).timed())], PROTOCOL)
    assert len(found.logits) == agent.LOGIT_INPUTS
    assert np.allclose(found.logits, expected.logits, rtol=0, atol=1e-5)


def averaging(kind: int, shape: Sequence[int], value: float) -> Model:
    """A network that adds a value to the mean of its input; a value that is infinite spoils it."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["mean", "value"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, shape[3]))],
        [helper.make_tensor("value", TensorProto.FLOAT, (1,), [value])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Model("mean", model.SerializeToString())


def test_the_network_is_given_the_made_up_inputs() -> None:
    for kind, shape in ((TensorProto.FLOAT, (1, 3, 16, 12)), (TensorProto.UINT8, (1, 16, 12, 3))):
        is_pixels = kind == TensorProto.UINT8
        (found,) = Host().logits([averaging(kind, shape, 0.0)], PROTOCOL)
        means = agent.make_inputs(shape, is_pixels, PROTOCOL.seed).mean(axis=(1, 2), dtype=np.float64)
        assert np.allclose(found.logits, means, rtol=1e-5, atol=1e-5)


def test_what_is_no_number_is_kept_apart() -> None:
    (found,) = open_device(HOST).logits(  # type: ignore[attr-defined]
        [averaging(TensorProto.FLOAT, (1, 3, 8, 8), math.inf)], PROTOCOL
    )
    assert np.isnan(found.logits).all()
    expected = np.arange(16.0).reshape(8, 2)
    own = expected.copy()
    own[3, 0] = math.nan
    told = judge_answers(own, expected, tolerance=1.0, name="", where="there")
    assert (told.is_met, told.measured) == (False, 7 / 8)
    assert "7 of 8 made-up inputs; 1 of its answers hold what is no number: there does not" in told.note


def test_differences_count_as_shares_of_the_range_and_classes_as_they_are() -> None:
    expected = np.tile([0.0, 10.0, 9.9], (8, 1))
    own = expected.copy()
    own[0] = [0.0, 9.9, 10.0]  # alike but for rounding
    told = judge_answers(own, expected, tolerance=0.011, name="", where="there")
    assert (told.is_met, told.measured) == (True, 7 / 8)
    assert told.note.endswith("differ by at most 0.01 of their range, allowed 0.011")
    assert not judge_answers(own, expected, tolerance=0.009, name="", where="there").is_met
    level = np.full((8, 2), 3.0)  # of no range at all
    assert judge_answers(level, level, tolerance=1e-4, name="", where="there").is_met
    assert not judge_answers(level + 1, level, tolerance=1e-4, name="", where="there").is_met


def test_what_is_allowed_depends_on_precision_and_provider() -> None:
    assert answer_tolerance(FP32, "") == 1e-4
    assert answer_tolerance(FP16, "") == 1e-2
    assert answer_tolerance(INT8, "") == ROUNDING_TOLERANCE
    assert {answer_tolerance(one, "cuda") for one in (FP32, FP16, INT8)} == {ROUNDING_TOLERANCE}
