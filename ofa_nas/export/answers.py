"""Whether a device gives the answers that this machine gives: the same file, the same inputs, two logits."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ofa_nas.devices import Answering, MeasuringProtocol, Model
from ofa_nas.devices.host import Host
from ofa_nas.errors import DeviceError
from ofa_nas.export.check import Check
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.export.verify import TOLERANCES
from ofa_nas.precisions import INT8

# Of the range of the logits: for rounding that is left to the device. In efficientnet_lite's middle subnet,
# fp32 with all tensors rounded to half precision is off by 0.001, to bfloat16 by 0.009; int8 that is computed
# in fp32 between its conversions by 0.014, and int8 whose products saturate, which is wrong, by 0.17.
ROUNDING_TOLERANCE = 0.05


def answer_tolerance(precision: str, provider: str) -> float:
    """How far logits of a device may be off, as a share of the range of this machine's logits.

    ONNX Runtime's own kernels on a CPU compute what the file says: as far as in `check_numerics`, but for
    int8, where a step of rounding is passed on. Other providers may choose half precision by themselves.

    Args:
        precision: Of the file.
        provider: That the device runs it with, empty for ONNX Runtime's own on the CPU.
    """
    return ROUNDING_TOLERANCE if provider or precision == INT8 else TOLERANCES[precision]


def check_answers(
    file: OrtModel,
    device: Answering,
    protocol: MeasuringProtocol,
    *,
    precision: str,
    provider: str,
    name: str,
    where: str,
) -> Check:
    """Share of made-up inputs that a device gives the class of this machine, and how far logits differ.

    Only the difference decides: of two classes that are nearly alike, rounding may choose either.

    Args:
        file: The exported file.
        device: Where.
        protocol: How the file is timed there.
        precision: Of the file.
        provider: Of the device's address; empty for ONNX Runtime's own on the CPU.
        name: Of the device, for `Check`.
        where: The device is, for people.

    Raises:
        DeviceError: It refuses the model, or gives logits of other classes.
    """
    model = Model("subnet", file.timed())
    own = _logits(device, model, protocol)
    expected = _logits(Host(), model, replace(protocol, threads=1, provider=""))
    if own.shape != expected.shape:
        raise DeviceError(f"{where}: answered with {_shape(own)}, the file has {_shape(expected)}")
    return judge_answers(
        own, expected, tolerance=answer_tolerance(precision, provider), name=name, where=where
    )


def judge_answers(
    own: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    *,
    tolerance: float,
    name: str,
    where: str,
) -> Check:
    """Hold logits `(n, K)` of a device against those of this machine; see `check_answers`.

    Args:
        own: `(n, K)` of the device.
        expected: `(n, K)` of this machine, all finite.
        tolerance: Largest difference, as a share of the range of `expected`.
        name: Of the device, for `Check`.
        where: The device is, for people.
    """
    whole = np.asarray(np.isfinite(own).all(axis=1))
    same = np.logical_and(whole, own.argmax(axis=1) == expected.argmax(axis=1))
    note = f"same class on {where} as on this machine: {same.sum()} of {len(same)} made-up inputs; "
    if not whole.all():
        note += f"{len(whole) - whole.sum()} of its answers hold what is no number"
        is_met = False
    else:
        error = float(np.abs(own - expected).max() / (np.ptp(expected) or 1.0))
        is_met = error <= tolerance
        note += f"logits differ by at most {error:.2g} of their range, allowed {tolerance:g}"
    if not is_met:
        note += f": {where} does not compute what the file says, accuracy as checked here does not hold there"
    return Check("answers", float(same.mean()), None, "fraction", is_met, note, name)


def _logits(device: Answering, model: Model, protocol: MeasuringProtocol) -> npt.NDArray[np.float64]:
    (found,) = device.logits([model], protocol)
    return np.array(found.logits, dtype=np.float64)


def _shape(logits: npt.NDArray[np.float64]) -> str:
    return f"{len(logits)} rows of {logits.shape[-1]} logits"
