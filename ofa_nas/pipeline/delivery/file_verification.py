"""Check an exported file: against its subnet and images, on its device, beside what it was chosen for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ofa_nas.accuracy import Top1
from ofa_nas.activity import Activity
from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import (
    HOST,
    Answering,
    Device,
    MeasuringProtocol,
    check_address,
    describe_address,
    describe_threads,
    open_device,
    provider_of,
)
from ofa_nas.devices.provided import provided_name, split_provider, with_provider
from ofa_nas.devices.quiet import quiet
from ofa_nas.errors import BudgetError, VerificationError
from ofa_nas.export.answers import check_answers
from ofa_nas.export.card import ModelCard, PredictedLatency, read_model
from ofa_nas.export.check import Check
from ofa_nas.export.comparison import TorchAgreement, check_comparison, compare_with_torch
from ofa_nas.export.export import exact_bytes
from ofa_nas.export.ort_model import OrtModel, count_correct_in_file
from ofa_nas.export.verify import (
    TOLERANCES,
    check_accuracy,
    check_latency,
    check_macs,
    check_memory,
    check_numerics,
    check_size,
    time_file,
)
from ofa_nas.figures import format_ms
from ofa_nas.latency.verification import find_changes_of_machine
from ofa_nas.pipeline.delivery.original import find_original
from ofa_nas.pipeline.evaluating.evaluation import DrawnImages
from ofa_nas.pipeline.searching.promise import LatencyPromise, Promise
from ofa_nas.precisions import FP16, FP32
from ofa_nas.search.budgets import Budget
from ofa_nas.supernet.supernet import Subnet


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file and its checks.

    Attributes:
        path: The ONNX file.
        card: What the file says of itself.
        checks: In the order of the report.
        threads: Of ONNX Runtime on the first device on which the file was timed.
        unchecked: What could not be checked, and why; a sentence each.
    """

    path: Path
    card: ModelCard
    checks: tuple[Check, ...]
    threads: int = 1
    unchecked: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether every promise holds."""
        return all(check.is_met for check in self.checks)

    @property
    def exceeds_budget(self) -> bool:
        """Whether a measured figure misses its budget or what was asked, though its promise may be kept."""
        return any(check.exceeds_budget for check in self.checks)

    def measured(self) -> dict[str, float | dict[str, float]]:
        """Measured figures by name, as the JSON output has them; latencies by device; `exceeds_budget`."""
        names = {
            "accuracy": "accuracy",
            "agreement": "agreement",
            "accuracy_drop": "accuracy_drop",
            "peak_memory": "planned_ort_bytes",
            "resident_memory": "rss_max_bytes",
            "file_size": "weight_bytes",
            "macs": "macs",
        }
        figures: dict[str, float | dict[str, float]] = {
            names[check.quantity]: check.measured for check in self.checks if check.quantity in names
        }
        for quantity in ("latency", "latency_p90"):
            found = {check.device: check.measured for check in self.checks if check.quantity == quantity}
            figures |= {f"{quantity}_ms": found} if found else {}
        return figures | {"exceeds_budget": self.exceeds_budget}


def verify_file(
    path: str | Path,
    *,
    supernet: str | Path | None = None,
    device: str | None = None,
    budgets: Sequence[Budget] = (),
    least_accuracy: float | None = None,
    images: PackedImages | None = None,
    threads: int = 1,
) -> Iterator[Activity | Delivery]:
    """Check an exported file from what it says of itself; without its supernet, what can be checked still is.

    Args:
        path: ONNX file.
        supernet: Where it came from; None for the shipped one that the file names.
        device: Address of where to time it; None for this machine when the file was predicted for it, and for
            nowhere otherwise.
        budgets: That it must keep.
        least_accuracy: Top-1 that it must reach, a fraction; None for any.
        images: To judge it by, as `images_for` gives them; None for some that nothing was trained on or
            chosen by, if there are any.
        threads: Of ONNX Runtime.

    Raises:
        FileError: The file is no export of this tool.
        CheckpointError: The supernet that was given is not there, or the one that was found is damaged.
        ConfigError: The device is no address.
        BudgetError: A latency is limited, and the file would not be timed; or an accuracy is asked, and there
            are no images to judge it by.
    """
    path = Path(path)
    card = ModelCard.from_model(read_model(path), path)
    is_ours = any(one.device == HOST for one in card.latencies)
    address = device or (HOST if is_ours else "")
    if address:
        check_address(address, "--device")
    if not address and any(budget.name == "latency" for budget in budgets):
        raise BudgetError(
            "a latency budget needs a device to time the file on: add --device host, or ssh://USER@HOST"
        )
    yield Activity("loading the supernet")
    original = find_original(path, card, None if supernet is None else str(supernet), given=images)
    if least_accuracy is not None and original.held_out is None:
        raise BudgetError(
            f"--accuracy {100 * least_accuracy:.6g}%: {original.missing[-1]}; give the supernet that "
            f"{path} came from with --supernet, beside which its images lie, or images with --data"
        )
    limit_ms = next((budget.limit for budget in budgets if budget.name == "latency"), None)
    meant = _meant(card, address)
    timed = LatencyPromise(meant, limit_ms, address=address, threads=threads)
    missing = (*original.missing, *(_why_not_compared(card, address) if address and not meant else ()))
    promise = Promise(
        figures={**card.predicted, **exact_bytes(card)},
        half_width=card.predicted.get("accuracy_half_width", 0.0),
        latencies=(timed,) if address else (),
        budgets=tuple(budgets),
        least_accuracy=least_accuracy,
    )
    for record in check_file(path, original.subnet, promise, held_out=original.held_out):
        if isinstance(record, Delivery):
            yield replace(record, unchecked=(*missing, *record.unchecked))
        else:
            yield record


def _meant(card: ModelCard, address: str) -> PredictedLatency | None:
    """The prediction for the device at an address: that of its name, else the first of another machine.

    Those for another execution provider are not comparable; None where all are.
    """
    name = provided_name(*split_provider(address))
    comparable = [one for one in card.latencies if one.provider in (None, provider_of(address))]

    def distance(one: PredictedLatency) -> tuple[bool, bool]:
        return one.device != name, one.device == HOST

    return min(comparable, key=distance, default=None)


def _why_not_compared(card: ModelCard, address: str) -> Iterator[str]:
    """A sentence for each prediction, all of which are for other execution providers than the address."""
    place, provider = split_provider(address)
    for one in card.latencies:
        yield (
            f"latency not compared: {format_ms(one.latency_ms)} predicted on {one.device} is for "
            f"{one.provider or 'the CPU'}, {address} for {provider or 'the CPU'}: "
            f"--device {with_provider(place, one.provider or '')}"
        )


def check_file(
    path: Path,
    subnet: Subnet | None,
    promise: Promise,
    *,
    held_out: PackedImages | None,
    named: Path | None = None,
) -> Iterator[Activity | Delivery]:
    """Check a file against its subnet and its promise; what needs a subnet or images is left out without.

    Args:
        path: To read.
        subnet: That it was exported from.
        promise: To keep.
        held_out: Images to classify.
        named: Where the file will be, for messages and the delivery; None where it is there already.

    Raises:
        VerificationError: Numerics are off.
    """
    model = read_model(path)
    path = named or path
    card = ModelCard.from_model(model, path)
    file = OrtModel(model, card.normalization, name=str(path))
    checks: list[Check] = []
    unchecked: list[str] = []
    for record in _judge_classes(file, card, subnet, promise, held_out=held_out):
        if isinstance(record, Activity):
            yield record
        else:
            checks.append(record)
    for one in promise.latencies:
        if one.address:
            yield Activity(f"timing on {describe_address(one.timed_on)}")
            with quiet(one.timed_on):
                device = open_device(one.timed_on)
                timed = _latency(file, device, card, one)
                answers, reasons = _answers(file, device, card, one, name=timed[0].device)
            checks += [*timed, *answers]
            unchecked += reasons
    yield Activity("measuring memory")
    place = next((one.timed_on for one in promise.latencies if one.timed_on not in ("", HOST)), HOST)
    with quiet(place):
        memory = check_memory(
            file,
            place,
            predicted=promise.figures.get("peak_activation_bytes"),
            limit=promise.limit("peak_memory"),
        )
    told = " of a processor with half precision; others compute in fp32" * (card.form.precision == FP16)
    if card.quantization and card.quantization.kept:
        told = f"; {len(card.quantization.kept)} operators stay in fp32: ofa-nas show names them"
    checks += [replace(one, note=one.note + told * (one.quantity == "peak_memory")) for one in memory]
    predicted, limit = promise.figures.get("weight_bytes"), promise.limit("model_size")
    checks.append(check_size(len(file.content), predicted=predicted, limit=limit))
    macs = promise.limit("macs")
    if macs is not None:
        checks.append(check_macs(card.space, card.arch, limit=macs))
    yield Delivery(path, card, tuple(checks), promise.threads, tuple(unchecked))


def _judge_classes(
    file: OrtModel,
    card: ModelCard,
    subnet: Subnet | None,
    promise: Promise,
    *,
    held_out: PackedImages | None,
) -> Iterator[Activity | Check]:
    """Numerics, agreement and accuracy, as far as there are a subnet and images."""
    if held_out is None:
        return
    precision = card.form.precision
    if subnet is not None and precision in TOLERANCES:
        yield Activity("comparing with torch")
        numerics = check_numerics(file, subnet, held_out.images, precision=precision)
        if not numerics.is_met:
            coarse = ", this processor's half precision is too coarse for it (export fp32)"
            raise VerificationError(
                f"{card.arch}: the file's logits differ from the supernet's by {numerics.measured:.2g} of "
                "the largest; either the file was changed"
                f"{coarse if precision == FP16 else ''}, or this is a bug of ofa-nas"
            )
        yield numerics
    found = Top1(0, 1)
    if subnet is None or precision == FP32:
        for found in count_correct_in_file(file, held_out):
            yield Activity("classifying images", found.images, len(held_out))
    else:
        compared = TorchAgreement()
        for compared in compare_with_torch(file, subnet, held_out):
            yield Activity("classifying images, beside torch", compared.images, len(held_out))
        yield from check_comparison(compared)
        found = compared.top_1
    accuracy = check_accuracy(
        found,
        predicted=promise.figures.get("accuracy"),
        half_width=promise.half_width,
        least=promise.least_accuracy,
        of=f"images of {held_out.data}" if isinstance(held_out, DrawnImages) else "held-out images",
    )
    is_of_fp32 = precision != FP32 and accuracy.predicted is not None
    yield replace(accuracy, note=f"{accuracy.note}; predicted of fp32") if is_of_fp32 else accuracy


def _answers(
    file: OrtModel, device: Device, card: ModelCard, promise: LatencyPromise, *, name: str
) -> tuple[list[Check], list[str]]:
    """The check of what a device answers, or why there is none; neither for this process's ONNX Runtime."""
    if promise.timed_on == HOST:
        return [], []
    where = describe_address(promise.timed_on)
    if not isinstance(device, Answering):
        return [], [f"answers of {where} not compared: its backend has no method logits"]
    check = check_answers(
        file,
        device,
        MeasuringProtocol(threads=promise.threads),
        precision=card.form.precision,
        provider=provider_of(promise.timed_on),
        name=name,
        where=where,
    )
    device.forget()
    return [check], []


def _latency(file: OrtModel, device: Device, card: ModelCard, promise: LatencyPromise) -> list[Check]:
    table = promise.table
    changes = find_changes_of_machine(table, device.info().environment) if table and table.measured else ()
    measured, stale = time_file(
        file,
        device,
        MeasuringProtocol(threads=promise.threads),
        space=card.space,
        references=promise.references,
        precision=card.form.precision,
        changes=changes,
    )
    is_of_one = card.form.batch in (1, None)
    predicted = promise.predicted if is_of_one else None  # tables are of one image
    where = f"{describe_address(promise.timed_on)}, {describe_threads(promise.threads)}"
    where += " (the table does not tell its own)" if table and table.device.threads is None else ""
    where += "" if is_of_one else f", {card.form.batch} images at once"
    if predicted and predicted.device != promise.address:
        where += f", predicted for {predicted.device} ({predicted.provenance})"
    return check_latency(
        measured,
        stale,
        predicted=predicted.latency_ms if predicted else None,
        limit=promise.limit_ms,
        device=predicted.device if predicted else promise.address,
        where=where,
    )
