"""Half precision and 8 bits: what is converted, what is left alone, and the evidence for it."""

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from ofa_nas.activity import Activity
from ofa_nas.data import Normalization
from ofa_nas.errors import DataError, FileError
from ofa_nas.export.card import Quantization
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.quantization import METHODS, find_ranges, quantize_by_ranges
from ofa_nas.training.evaluate import Images

MOST_DISTORTION = (
    0.01  # a signal 20 dB above its noise; networks all of whose layers quantise well have 0.007
)
LEAST_GAIN = 0.05  # of the distortion: what leaving operators in fp32 must take away to be worth their time
RANGE_IMAGES, JUDGING_IMAGES, LEAST_IMAGES = 64, 200, 8
Logits = npt.NDArray[np.float32]
Group = tuple[str, ...]  # names of nodes


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and activations in half precision; the model's inputs and outputs stay fp32.

    ONNX Runtime's own converter. Processors without half precision arithmetic compute the result in fp32,
    between conversions.

    Args:
        model: fp32; it stays as it is.

    Raises:
        FileError: A weight is beyond what half precision holds.
    """
    largest = max(
        (float(np.abs(onnx.numpy_helper.to_array(one)).max()) for one in model.graph.initializer), default=0.0
    )
    if largest > float(np.finfo(np.float16).max):
        raise FileError(f"a weight of {largest:.3g} is beyond half precision; export fp32 or int8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that become the least that half precision holds
        half = ONNXModel(convert_float_to_float16(deepcopy(model), keep_io_types=True))
    half.topological_sort()
    del half.model.graph.value_info[:]
    onnx.checker.check_model(half.model, full_check=True)
    result: onnx.ModelProto = half.model
    return result


def operator_groups(model: onnx.ModelProto) -> list[Group]:
    """Names of nodes that are quantised or left in fp32 together: one with weights and what follows it."""
    groups: list[list[str]] = []
    for node in model.graph.node:
        if node.op_type in {"Conv", "Gemm"} or not groups:
            groups.append([])
        if node.op_type != "Constant":
            groups[-1].append(node.name)
    return [tuple(group) for group in groups]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedModel:
    """An int8 model, and how it was made."""

    model: onnx.ModelProto
    quantization: Quantization


def quantize_subnet(
    model: onnx.ModelProto, images: Images, normalization: Normalization
) -> Iterator[Activity | QuantizedModel]:
    """Quantise a network to int8 and leave in fp32 what costs too much.

    Every method finds ranges on some images, and the one with the least distortion of the logits on others is
    taken. While the distortion is above `MOST_DISTORTION`, operators stay in fp32: each group is tried with
    the next one, for a tensor stays in fp32 only if what makes it and what reads it do; then pairs are added
    in the order of what they gain, if that takes `LEAST_GAIN` of the distortion, and those groups that need
    not be among them are quantised after all.

    Args:
        model: fp32 with a batch of one.
        images: `(n, S, S, 3)` uint8 calibration images.
        normalization: Of the network.

    Yields:
        Activities, then the int8 model.

    Raises:
        DataError: There are too few images.
    """
    if len(images) < LEAST_IMAGES:
        raise DataError(
            f"{len(images)} calibration images: int8 needs {LEAST_IMAGES} or more, one half for ranges, the "
            "other to judge them"
        )
    ranging, judging = _halves(images)
    judge = _Judge(model, judging, normalization)
    inputs = np.ascontiguousarray(judge.fp32.inputs(ranging).numpy())
    best: tuple[_Outcome, str, TensorsData] | None = None
    for done, method in enumerate(METHODS, start=1):
        ranges = find_ranges(model, inputs, method=method)
        outcome = judge.judge(ranges, ())
        if best is None or outcome.distortion < best[0].distortion:
            best = outcome, method, ranges
        yield Activity("quantising, finding ranges", done, len(METHODS))
    assert best is not None
    outcome, method, ranges = best
    if outcome.distortion > MOST_DISTORTION:
        for record in _leave_out(judge, ranges, outcome, operator_groups(model)):
            if isinstance(record, Activity):
                yield record
            else:
                outcome = record
    kept = tuple(name for group in outcome.groups for name in group)
    quantization = Quantization(method, outcome.distortion, outcome.agreement, len(judging), kept)
    yield QuantizedModel(outcome.model, quantization)


@dataclass(frozen=True, slots=True)
class _Outcome:
    model: onnx.ModelProto
    groups: tuple[Group, ...]
    distortion: float
    agreement: float


class _Judge:
    """Quantises one network in many ways, and compares each with the fp32 network on the same images."""

    def __init__(self, model: onnx.ModelProto, images: Images, normalization: Normalization) -> None:
        self.model, self.images, self.normalization = model, images, normalization
        self.fp32 = OrtModel(model, normalization)
        self.wanted = self.fp32.logits(images)

    def judge(self, ranges: TensorsData, groups: Sequence[Group]) -> _Outcome:
        kept = [name for group in groups for name in group]
        model = quantize_by_ranges(self.model, ranges, keep=kept)
        found = OrtModel(model, self.normalization).logits(self.images)
        return _Outcome(model, tuple(groups), distortion(found, self.wanted), agreement(found, self.wanted))


def _leave_out(
    judge: _Judge, ranges: TensorsData, start: _Outcome, groups: Sequence[Group]
) -> Iterator[Activity | _Outcome]:
    """Neighbours by what they gain, each if it helps; then those back whose neighbour alone was to blame."""
    pairs = list(pairwise(groups))
    alone: list[tuple[float, tuple[Group, Group]]] = []
    for done, pair in enumerate(pairs, start=1):
        alone.append((judge.judge(ranges, pair).distortion, pair))
        yield Activity("quantising, finding what to leave in fp32", done, len(pairs))
    best = start
    for left, pair in sorted(alone, key=lambda one: one[0]):
        if best.distortion <= MOST_DISTORTION or left > (1.0 - LEAST_GAIN) * start.distortion:
            break
        trial = judge.judge(ranges, list(dict.fromkeys([*best.groups, *pair])))
        if trial.distortion <= (1.0 - LEAST_GAIN) * best.distortion:
            best = trial
    for group in best.groups:
        trial = judge.judge(ranges, [other for other in best.groups if other != group])
        if trial.distortion <= max(MOST_DISTORTION, best.distortion):
            best = trial
    yield best


def distortion(found: Logits, wanted: Logits) -> float:
    """Squared error of logits `(n, K)` over the variance of the wanted ones along the classes."""
    spread = wanted - wanted.mean(axis=1, keepdims=True)
    return float(((found - wanted) ** 2).sum() / max(float((spread**2).sum()), 1e-30))


def agreement(found: Logits, wanted: Logits) -> float:
    """Share of rows of logits `(n, K)` with the same largest entry."""
    return float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())


def _halves(images: Images) -> tuple[Images, Images]:
    """Images for ranges and others to judge on, both spread over all: data sets are sorted by class."""
    first, second = images[::2], images[1::2]
    return _spread(first, RANGE_IMAGES), _spread(second, JUDGING_IMAGES)


def _spread(images: Images, count: int) -> Images:
    rows = np.linspace(0, len(images) - 1, num=min(count, len(images))).round().astype(int)
    return np.asarray(images[rows])
