"""From a chosen architecture to an ONNX file on the disk that was checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import HOST, MeasuringProtocol, describe_threads, is_address, open_device
from ofa_nas.errors import BudgetError, CheckpointError, ConfigError, VerificationError
from ofa_nas.export.export import (
    ModelCard,
    PredictedLatency,
    export_subnet,
    model_card,
    read_model,
    save_model,
)
from ofa_nas.export.verify import (
    Check,
    FileAccuracy,
    ModelFile,
    check_accuracy,
    check_latency,
    check_macs,
    check_memory,
    check_numerics,
    check_size,
    count_correct_in_file,
    time_file,
)
from ofa_nas.files import replacing
from ofa_nas.pipeline.images import supernet_images
from ofa_nas.pipeline.promise import LatencyPromise, Promise
from ofa_nas.search.budgets import Budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_peak_bytes, layer_weight_bytes
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.evaluate import calibrated_subnet


@dataclass(frozen=True, slots=True)
class Stage:
    """What is going on, and how far: `done` of `total` steps, 0 of 0 where it is one step."""

    name: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file and its checks.

    Attributes:
        path: The ONNX file.
        card: What the file says of itself.
        checks: In the order of the report.
    """

    path: Path
    card: ModelCard
    checks: tuple[Check, ...]

    @property
    def is_met(self) -> bool:
        """Whether every promise holds."""
        return all(check.is_met for check in self.checks)

    @property
    def exceeds_budget(self) -> bool:
        """Whether a measured figure is above its budget, though its promise may be kept."""
        return any(check.exceeds_budget for check in self.checks)

    def measured(self) -> dict[str, float | dict[str, float]]:
        """Measured figures by name, as the JSON output has them; latencies by device; `exceeds_budget`."""
        names = {
            "accuracy": "accuracy",
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


def deliver(
    files: SupernetFiles, arch: Architecture, promise: Promise, *, output: Path
) -> Iterator[Stage | Delivery]:
    """Export an architecture and check the file; the last record is the delivery.

    Raises:
        CheckpointError: The supernet or its images are missing or damaged.
        VerificationError: The file does not compute what the supernet does; it is not written.
    """
    yield Stage("loading the supernet")
    supernet, card = load_supernet(files)
    calibration = supernet_images(files.calibration, "calibration")
    held_out = supernet_images(files.held_out, "held-out")
    yield Stage("extracting and calibrating")
    own = replace(
        model_card(files.name, card, arch, {**promise.figures, "accuracy_half_width": promise.half_width}),
        latencies=tuple(one.predicted for one in promise.latencies if one.predicted),
    )
    subnet, model = export_subnet(supernet, own, calibration=calibration.images)
    with replacing(output) as temporary:  # whatever goes wrong, an older file stays
        save_model(temporary, model)
        for record in check_file(temporary, subnet, promise, held_out=held_out):
            last = record
            if isinstance(record, Stage):
                yield record
    assert isinstance(last, Delivery)
    yield replace(last, path=output)


def verify_file(
    path: Path,
    *,
    supernet: str | None,
    device: str | None,
    budgets: Sequence[Budget],
    threads: int = 1,
) -> Iterator[Stage | Delivery]:
    """Check an exported file from what it says of itself; its supernet must be at hand.

    Args:
        path: ONNX file.
        supernet: Where it came from; None for the shipped one that the file names.
        device: Address of where to time it; None for this machine when the file was predicted for it, and for
            nowhere otherwise.
        budgets: That it must keep.
        threads: Of ONNX Runtime.

    Raises:
        FileError: The file is no export of this tool.
        CheckpointError: The supernet that it names is not here, or is another one by now.
        ConfigError: The device is no address.
        BudgetError: A latency is limited, and the file would not be timed.
    """
    card = ModelCard.from_model(read_model(path), path)
    is_ours = any(one.device == HOST for one in card.latencies)
    address = device or (HOST if is_ours else "")
    if address and not is_address(address):
        raise ConfigError(
            f"--device {address[:80]}: a file is timed on a device, not by a table: give host, or "
            "ssh://USER@HOST for a board"
        )
    if not address and any(budget.name == "latency" for budget in budgets):
        raise BudgetError(
            "a latency budget needs a device to time the file on: add --device host, or ssh://USER@HOST"
        )
    files = find_source(path, card, supernet)
    yield Stage("loading the supernet")
    network, found = load_supernet(files)
    if found.sha256 != card.supernet_sha256:
        raise CheckpointError(
            f"{path} was exported from another version of the supernet {card.supernet}: "
            f"{card.supernet_sha256[:12]}, not {found.sha256[:12]}"
        )
    calibration = supernet_images(files.calibration, "calibration")
    subnet = calibrated_subnet(
        network, card.arch, images=calibration.images, normalization=card.normalization
    )
    layers = list(card.space.layers(card.arch))
    exact = {
        "peak_activation_bytes": float(max(map(layer_peak_bytes, layers))),
        "weight_bytes": float(sum(map(layer_weight_bytes, layers))),
    }
    limit_ms = next((budget.limit for budget in budgets if budget.name == "latency"), None)
    timed = LatencyPromise(_meant(card, address), limit_ms, address=address)
    promise = Promise(
        figures={**card.predicted, **exact},
        half_width=card.predicted.get("accuracy_half_width", 0.0),
        latencies=(timed,) if address else (),
        budgets=tuple(budgets),
        threads=threads,
    )
    yield from check_file(path, subnet, promise, held_out=supernet_images(files.held_out, "held-out"))


def _meant(card: ModelCard, address: str) -> PredictedLatency | None:
    """The prediction for the device at an address: that of its name, else the first of another machine."""

    def distance(one: PredictedLatency) -> tuple[bool, bool]:
        return one.device != address, one.device == HOST

    return min(card.latencies, key=distance, default=None)


def find_source(path: Path, card: ModelCard, supernet: str | None) -> SupernetFiles:
    """The supernet that a file came from.

    Args:
        path: Of the file.
        card: Of the file.
        supernet: Where it is; None for the shipped one that the file names.

    Raises:
        CheckpointError: It is not there.
    """
    try:
        return SupernetFiles.find(supernet or card.supernet)
    except CheckpointError as error:
        if supernet is not None:
            raise
        raise CheckpointError(
            f"{path} was exported from the supernet {card.supernet!r}, which does not ship; "
            "give its .safetensors file with --supernet"
        ) from error


def check_file(
    path: Path, subnet: Subnet, promise: Promise, *, held_out: PackedImages
) -> Iterator[Stage | Delivery]:
    """Check a file against its subnet and its promise.

    Raises:
        VerificationError: Numerics are off.
    """
    model = read_model(path)
    card = ModelCard.from_model(model, path)
    file = ModelFile(model, card.normalization)
    limits = {budget.name: budget.limit for budget in promise.budgets}
    predicted = promise.figures
    yield Stage("comparing with torch")
    numerics = check_numerics(file, subnet, held_out.images)
    if not numerics.is_met:
        raise VerificationError(
            f"{card.arch}: the file's logits differ from torch's by {numerics.measured:.2g} of the largest; "
            "either the file was changed, or this is a bug of ofa-nas"
        )
    checks = [numerics]
    found = FileAccuracy(0, 1)
    for found in count_correct_in_file(file, held_out):
        yield Stage("classifying held-out images", found.images, len(held_out))
    checks.append(check_accuracy(found, predicted=predicted.get("accuracy"), half_width=promise.half_width))
    for one in promise.latencies:
        if one.address:
            yield Stage(f"timing on {_where(one.address)}")
            checks += _latency(file, card, one, threads=promise.threads)
    yield Stage("measuring memory")
    checks += check_memory(
        file,
        next((one.address for one in promise.latencies if one.address != HOST and one.address), HOST),
        predicted=predicted.get("peak_activation_bytes"),
        limit=limits.get("peak_memory"),
    )
    checks.append(check_size(file, predicted=predicted.get("weight_bytes"), limit=limits.get("model_size")))
    if "macs" in limits:
        checks.append(check_macs(card.space, card.arch, limit=limits["macs"]))
    yield Delivery(path, card, tuple(checks))


def _where(address: str) -> str:
    return "this machine" if address == HOST else address


def _latency(file: ModelFile, card: ModelCard, promise: LatencyPromise, *, threads: int) -> list[Check]:
    device = open_device(promise.address)
    measured, factor = time_file(
        file,
        device,
        MeasuringProtocol(threads=threads),
        space=card.space,
        references=promise.references,
    )
    device.forget()
    predicted = promise.predicted
    where = _where(promise.address)
    if predicted and predicted.device != promise.address:
        where += f", predicted for {predicted.device} ({predicted.provenance})"
    if not promise.are_threads_known:
        where += f", with {describe_threads(threads)} (the table does not tell its own)"
    return check_latency(
        measured,
        factor,
        predicted=predicted.latency_ms if predicted else None,
        limit=promise.limit_ms,
        device=predicted.device if predicted else promise.address,
        where=where,
    )
