"""Check an exported file itself: numerics, accuracy, latency and memory, each beside what was predicted."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from onnxruntime.transformers.float16 import convert_np_to_float16

from ofa_nas.accuracy import Top1
from ofa_nas.data import Pixels
from ofa_nas.devices import HOST, Device, MeasuringProtocol, Model, Profile, open_device
from ofa_nas.export.check import Check
from ofa_nas.export.ort_model import PLAIN, OrtModel
from ofa_nas.figures import format_amount, format_share
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import Timed, time_among_references
from ofa_nas.onnx_writer import write_model
from ofa_nas.precisions import FP16, FP32
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Subnet

NUMERIC_TOLERANCE = 1e-4  # of the largest logit; what fp32 in another order of summation may differ by
# Half precision: beside the same rounded weights, 3e-7 where fp32 computes them; the rest is for processors
# that compute in half precision. int8 has none: its classes are compared.
TOLERANCES = {FP32: NUMERIC_TOLERANCE, FP16: 1e-2}
NUMERIC_IMAGES = 8


def check_numerics(
    file: OrtModel,
    subnet: Subnet,
    images: Pixels,
    *,
    precision: str = FP32,
) -> Check:
    """Largest difference of the file's logits from the subnet's, relative to the largest logit.

    Half precision is held against fp32 arithmetic with weights that were rounded alike. What rounding costs
    differs from network to network (0.2 % of the largest logit in efficientnet_lite, up to 4 % in those that
    hardly learnt anything); agreement and drop of accuracy tell whether it is too much.

    Args:
        file: The exported file.
        subnet: The calibrated subnet that it was written from.
        images: `(n, S, S, 3)` uint8; a few are used.
        precision: Of the file; a key of `TOLERANCES`.
    """
    few = images[:NUMERIC_IMAGES]
    own = file.logits(few, at_once=NUMERIC_IMAGES)
    inputs, tolerance = file.inputs(few), TOLERANCES[precision]
    if precision == FP16:
        expected, beside = _rounded_logits(subnet, inputs), "those of the same rounded weights in fp32"
    else:
        with torch.inference_mode():
            expected, beside = subnet(inputs).numpy(), "torch's"
    error = float(np.abs(own - expected).max() / np.abs(expected).max())
    return Check(
        "numerics",
        error,
        None,
        "fraction",
        error <= tolerance,
        f"logits against {beside}, {len(few)} images, allowed {tolerance:g}",
    )


def _rounded_logits(subnet: Subnet, inputs: torch.Tensor) -> npt.NDArray[np.float32]:
    """Logits `(n, K)` in fp32 of weights in half precision, for inputs `(n, C, R, R)`."""
    weights = {
        name: convert_np_to_float16(one).astype(np.float32) for name, one in subnet.folded_weights().items()
    }
    model = OrtModel(write_model(subnet.walk, weights, name="rounded", metadata={}), PLAIN)
    rows = [model.session.run([model.output], {model.image: one[None].numpy()})[0] for one in inputs]
    return np.concatenate(rows)


def check_accuracy(
    found: Top1,
    *,
    predicted: float | None,
    half_width: float,
    least: float | None = None,
    of: str = "held-out images",
) -> Check:
    """Measured beside predicted accuracy; a miss of the predictor's interval is told, and breaks no promise.

    An accuracy that was asked is missed when the whole 90 % interval lies below it.

    Args:
        found: Of all images.
        predicted: By the predictor, a fraction.
        half_width: Of the predictor's 90 % interval; 0 where it gives none.
        least: That was asked, a fraction; None where none was.
        of: Which images they are, for people.
    """
    low, high = found.interval
    note = f"{found.images} {of}, ± {100 * found.half_width:.1f} points"
    if predicted is not None and half_width and not low - half_width <= predicted <= high + half_width:
        note += "; outside the predictor's interval"
    is_met, is_below = True, False
    if least is not None and found.accuracy < least:
        is_met, is_below = high >= least, True
        note += f"; {100 * (least - found.accuracy):.3g} points below the {100 * least:.6g}% that was asked"
    return Check("accuracy", found.accuracy, predicted, "fraction", is_met, note, exceeds_budget=is_below)


def check_latency(
    found: Measurement,
    stale: Sequence[str],
    *,
    predicted: float | None,
    limit: float | None,
    device: str,
    where: str,
) -> list[Check]:
    """Measured beside predicted latency, median and 90th percentile.

    The budget is broken when the whole 95 % interval of the median lies above it.

    Args:
        found: At the speed at which the table was measured; as it is where the table is stale.
        stale: Why the table's milliseconds are not those of the device any more; nothing if they are.
        predicted: By the table [ms].
        limit: Budget [ms].
        device: See `Check`.
        where: It was timed, for people.
    """
    is_met, exceeds = limit is None or found.low_ms <= limit, _exceeds(found.latency_ms, limit)
    note = f"median of {found.runs} runs, {where}"
    note += ", noisy" if found.noisy else ""
    if stale:
        note += f"; the table is stale: {'; '.join(stale)}: measure it anew (ofa-nas profile)"
    note += "" if is_met else _over(found.latency_ms, limit, "ms")
    return [
        Check("latency", found.latency_ms, predicted, "ms", is_met, note, device, exceeds),
        Check("latency_p90", found.p90_ms, None, "ms", is_met=True, note="of the same runs", device=device),
    ]


def _exceeds(measured: float, limit: float | None) -> bool:
    return limit is not None and measured > limit


def _over(value: float | None, limit: float | None, unit: str, *, which: str = "") -> str:
    """By how much a figure is above its budget, for the end of a note; empty where it is not."""
    if value is None or limit is None or value <= limit:
        return ""
    return f"; {which}over the budget of {format_amount(limit, unit)} by {format_share(value / limit - 1.0)}"


def time_file(
    file: OrtModel,
    device: Device,
    protocol: MeasuringProtocol,
    *,
    space: SearchSpace,
    references: Mapping[str, float],
    precision: str = FP32,
    changes: tuple[str, ...] = (),
) -> tuple[Measurement, tuple[str, ...]]:
    """Time a file on a device, among the reference networks of a latency table.

    Args:
        file: The exported file.
        device: Where.
        protocol: How.
        space: Of the references.
        references: What they took for the table, by name [ms]; empty for no table.
        precision: Of the references.
        changes: What of the environment is not as it was for the table.

    Returns:
        The measurement, at the table's speed unless the table is stale; and why it is.
    """
    *_, timed = time_among_references(
        [Model("subnet", file.timed())],
        device,
        space=space,
        then_ms=references,
        precision=precision,
        protocol=protocol,
        changes=changes,
    )
    assert isinstance(timed, Timed)
    return timed.judged["subnet"], timed.stale


def check_memory(
    file: OrtModel, address: str, *, predicted: float | None, limit: float | None
) -> list[Check]:
    """Two measured peaks beside liveness, for which alone the budget holds.

    The first is the most bytes of activations that ONNX Runtime asked for at once, on this machine if the
    device's ONNX Runtime does not tell, and liveness again if none does; the second is what a process on the
    device gains by loading and running the file, weights and all, if its system tells.

    Args:
        file: The exported file.
        address: Of the device.
        predicted: Liveness [bytes].
        limit: Budget [bytes].

    Raises:
        DeviceError: The device refuses the model.
    """
    profile = _profile(file, address)
    asked = profile if profile.peak_bytes else _profile(file, HOST)
    peak, place = float(asked.peak_bytes), "" if asked is not profile else _on(address)
    note = f"requested by ONNX Runtime{place}; predicted is liveness"
    if not peak:
        peak, note = predicted or 0.0, "liveness, for this ONNX Runtime does not tell what it requests"
    is_met = limit is None or predicted is None or predicted <= limit
    exceeds = _exceeds(peak, limit)
    note += _over(predicted, limit, "bytes") or _over(peak, limit, "bytes", which="as measured ")
    checks = []
    if peak:
        checks.append(Check("peak_memory", peak, predicted, "bytes", is_met, note, exceeds_budget=exceeds))
    if profile.resident_bytes:
        note = f"what a process{_on(address)} gains by loading and running the file"
        growth = float(profile.resident_bytes)
        checks.append(Check("resident_memory", growth, None, "bytes", is_met=True, note=note))
    return checks


def _profile(file: OrtModel, address: str) -> Profile:
    device = open_device(address)
    protocol = MeasuringProtocol(profile_sittings=1, profile_runs=3, profile_skip=1, resident=True)
    profile = next(iter(device.profile([Model("subnet", file.timed())], protocol)))
    device.forget()
    return profile


def _on(address: str) -> str:
    return "" if address == HOST else f" on {address}"


def check_size(size: int, *, predicted: float | None, limit: float | None) -> Check:
    """Bytes of the file beside those of its weights."""
    is_met = limit is None or predicted is None or predicted <= limit
    exceeds, note = _exceeds(size, limit), "predicted are the weights alone"
    note += _over(predicted, limit, "bytes") or _over(size, limit, "bytes", which="as measured ")
    return Check("file_size", float(size), predicted, "bytes", is_met, note, exceeds_budget=exceeds)


def check_macs(space: SearchSpace, arch: Architecture, *, limit: float) -> Check:
    """Multiply-accumulates of the architecture whose numerics the file was found to have."""
    count = float(network_macs(space, arch))
    exceeds, note = count > limit, "counted from the architecture" + _over(count, limit, "MACs")
    return Check("macs", count, count, "MACs", not exceeds, note, exceeds_budget=exceeds)
