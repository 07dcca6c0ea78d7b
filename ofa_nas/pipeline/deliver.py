"""From a chosen architecture to an ONNX file on the disk that was checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import HOST, MeasuringProtocol, is_address, open_device
from ofa_nas.errors import BudgetError, CheckpointError, ConfigError, VerificationError
from ofa_nas.export.export import ModelCard, export_subnet, model_card, read_model, save_model
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
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.images import supernet_images
from ofa_nas.predictors import load_predictor
from ofa_nas.search.budgets import Budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs, layer_peak_bytes, layer_weight_bytes
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
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

    def measured(self) -> dict[str, float]:
        """Measured figures by name, as the JSON output has them."""
        names = {
            "accuracy": "accuracy",
            "latency": "latency_ms",
            "latency_p90": "latency_p90_ms",
            "peak_memory": "planned_ort_bytes",
            "resident_memory": "rss_max_bytes",
            "file_size": "weight_bytes",
            "macs": "macs",
        }
        return {names[check.quantity]: check.measured for check in self.checks if check.quantity in names}


@dataclass(frozen=True, slots=True)
class Promise:
    """What a file was chosen for.

    Attributes:
        predicted: Figures by name, as `Candidate.predicted` gives them.
        half_width: Of the accuracy's 90 % interval; 0 where nobody knows.
        budgets: That it must keep.
        device: Of the predicted latency, empty without one.
        provenance: Of that device's table.
        threads: Of ONNX Runtime.
        references: What the reference networks took for that table, by name [ms]; empty where nobody knows.
        address: Of the device on which the file is timed: `host`, `ssh://…`; empty to time it nowhere.
    """

    predicted: Mapping[str, float]
    half_width: float = 0.0
    budgets: tuple[Budget, ...] = ()
    device: str = ""
    provenance: str = ""
    threads: int = 1
    references: Mapping[str, float] = field(default_factory=dict)
    address: str = ""


def promise_of(
    files: SupernetFiles,
    arch: Architecture,
    *,
    table: LatencyTable | None,
    threads: int,
    address: str = "",
) -> Promise:
    """What is predicted of an architecture that nobody searched; no accuracy where no predictor was fitted.

    Args:
        files: Of the supernet.
        arch: Of its space.
        table: That predicts the latency.
        threads: Of ONNX Runtime.
        address: Of the device on which the file will be timed; empty to time it nowhere.

    Raises:
        CheckpointError: The card or the predictor is wrong.
        TableError: The table does not hold one of its layers.
    """
    card = SupernetCard.load(files.card)
    encoding = Encoding.of(card.space)
    layers = list(encoding.space.layers(arch))
    predicted: dict[str, float] = {}
    half_width = 0.0
    if files.predictor.is_file():
        predictor = load_predictor(files.predictor, encoding, weights=card.sha256).predictor
        predicted["accuracy"] = float(predictor.predict(encoding.encode([arch]))[0])
        half_width = predictor.half_width
    if table is not None:
        predicted["latency_ms"] = table.latency_ms(encoding.space, arch)
    predicted |= {
        "peak_activation_bytes": max(map(layer_peak_bytes, layers)),
        "weight_bytes": sum(map(layer_weight_bytes, layers)),
        "macs": sum(map(layer_macs, layers)),
    }
    return Promise(
        predicted=predicted,
        half_width=half_width,
        device=table.name if table else "",
        provenance=table.provenance if table else "",
        threads=threads,
        references=table.measured.references if table and table.measured else {},
        address=address,
    )


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
        model_card(files.name, card, arch, {**promise.predicted, "accuracy_half_width": promise.half_width}),
        device=promise.device,
        latency_provenance=promise.provenance,
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
    address = device or (HOST if card.device == HOST else "")
    if address and not is_address(address):
        raise ConfigError(
            f"--device {address[:80]}: a file is timed on a device, not by a table: give host, or "
            "ssh://USER@HOST for a board"
        )
    if not address and any(budget.name == "latency" for budget in budgets):
        raise BudgetError(
            "a latency budget needs a device to time the file on: add --device host, or ssh://USER@HOST"
        )
    files = _source(path, card, supernet)
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
    promise = Promise(
        predicted={**card.predicted, **exact},
        half_width=card.predicted.get("accuracy_half_width", 0.0),
        budgets=tuple(budgets),
        device=card.device,
        provenance=card.latency_provenance,
        threads=threads,
        address=address,
    )
    yield from check_file(path, subnet, promise, held_out=supernet_images(files.held_out, "held-out"))


def _source(path: Path, card: ModelCard, supernet: str | None) -> SupernetFiles:
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
    predicted = promise.predicted
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
    if promise.address:
        yield Stage(f"timing on {_where(promise)}")
        checks += _latency(file, card, promise)
    yield Stage("measuring memory")
    checks += check_memory(
        file,
        open_device(HOST),
        predicted=predicted.get("peak_activation_bytes"),
        limit=limits.get("peak_memory"),
    )
    checks.append(check_size(file, predicted=predicted.get("weight_bytes"), limit=limits.get("model_size")))
    if "macs" in limits:
        checks.append(check_macs(card.space, card.arch, limit=limits["macs"]))
    yield Delivery(path, card, tuple(checks))


def _where(promise: Promise) -> str:
    return "this machine" if promise.address == HOST else promise.address


def _latency(file: ModelFile, card: ModelCard, promise: Promise) -> list[Check]:
    device = open_device(promise.address)
    measured, factor = time_file(
        file,
        device,
        MeasuringProtocol(threads=promise.threads),
        space=card.space,
        references=promise.references,
    )
    device.forget()
    limits = {budget.name: budget.limit for budget in promise.budgets}
    elsewhere = promise.device not in ("", promise.address)
    origin = f", predicted for {promise.device} ({promise.provenance})" if elsewhere else ""
    return check_latency(
        measured,
        factor,
        predicted=promise.predicted.get("latency_ms"),
        limit=limits.get("latency"),
        device_name=_where(promise) + origin,
    )
