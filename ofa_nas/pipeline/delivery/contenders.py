"""Networks that are compared: where they come from, what they classify right, how long they take."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ofa_nas.accuracy import Z_90
from ofa_nas.activity import Activity
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import Device, MeasuringProtocol, Model, Visit
from ofa_nas.devices.agent import bootstrap_interval
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.export import FormedModel, export_subnet, give_form, model_card
from ofa_nas.export.foreign import class_count, image_size, model_precision, read_classifier
from ofa_nas.export.interface import SINGLE_PRECISION, FileForm
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.points import named_architecture

BATCH = 100  # images between two reports of progress
Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Contender:
    """A network that is compared.

    Attributes:
        name: As the user gave it.
        kind: `file`, `architecture` (weights of the file's supernet), `exported` or `foreign`.
        model: In ONNX Runtime.
        precision: Of the weights: `fp32`, `fp16` or `int8`.
        architecture: None where nobody knows.
        macs: Multiply-accumulates of one image; None where nobody knows.
        note: Where a named point differs from what it is named after, or what is taken for granted.
        unknown: Why its accuracy cannot be measured; empty where it can.
        refusal: Why it cannot be compared all the same; empty where it can.
    """

    name: str
    kind: str
    model: OrtModel
    precision: str
    architecture: Architecture | None = None
    macs: int | None = None
    note: str = ""
    unknown: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long a baseline takes as the file, with the ends of the 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Top-1 of the file less that of a baseline, a fraction, and its standard error on the same images."""

    value: float
    standard_error: float

    @property
    def half_width(self) -> float:
        """Of the 90 % interval."""
        return Z_90 * self.standard_error


def contender_of_architecture(name: str, bench: Bench, *, form: FileForm = SINGLE_PRECISION) -> Contender:
    """An architecture with the weights of a supernet, batch norm calibrated.

    Args:
        name: As `named_architecture` takes it.
        bench: Of the supernet.
        form: Precision, batch and input, as of the file that it is compared with.

    Raises:
        ArchitectureError: There is no such architecture.
    """
    space = bench.card.space
    arch = named_architecture(space, name)
    card = replace(model_card(bench.files.name, bench.card, arch, {}), form=form)
    _, model = export_subnet(bench.supernet, card, calibration=bench.calibration)
    *_, made = give_form(model, card, calibration=bench.calibration)
    assert isinstance(made, FormedModel)
    model = made.model
    note = space.points[name].note if name in space.points else ""
    macs = network_macs(space, arch)
    file = OrtModel(model, card.normalization)
    return Contender(name, "architecture", file, model_precision(model), arch, macs, note)


def contender_of_file(
    name: str, path: Path, card: ModelCard, *, kind: str, against: ModelCard | None = None
) -> Contender:
    """A file that ofa-nas exported.

    Args:
        name: For people.
        path: Of the file.
        card: Of the file.
        kind: `file`, or `exported` for a baseline.
        against: Card of what a baseline is compared with.

    Raises:
        FileError: It is no ONNX model.
        VerificationError: ONNX Runtime refuses it.
    """
    unknown = refusal = ""
    if against is not None and card.class_names != against.class_names:
        unknown = f"its {len(card.class_names)} classes are not the {len(against.class_names)} of the file"
    elif against is not None and card.data != against.data:
        refusal = f"it was trained on {card.data}, the file on {against.data}"
    elif against is not None and card.fit != against.fit:
        unknown = f"it sees images that are not square by --fit {card.fit}, the file by {against.fit}"
    macs = network_macs(card.space, card.arch)
    model = read_model(path)
    file, precision = OrtModel(model, card.normalization, name=str(path)), model_precision(model)
    return Contender(name, kind, file, precision, card.arch, macs, unknown=unknown, refusal=refusal)


def contender_of_foreign(path: Path, normalization: Normalization | None, *, against: ModelCard) -> Contender:
    """A file that ofa-nas did not export.

    Args:
        path: Of the file.
        normalization: Of its input; None where nobody knows.
        against: Card of what it is compared with.

    Raises:
        FileError: It is no image classifier.
    """
    model = read_classifier(path)
    classes, (height, width) = class_count(model), image_size(model)
    unknown = ""
    if classes != len(against.class_names):
        unknown = f"it has {classes} classes, the held-out images have {len(against.class_names)}"
    elif height != width:
        unknown = f"it takes images of {height} x {width} px, the held-out ones are square"
    elif normalization is None:
        unknown = "nobody told its normalisation: give --input-mean and --input-std"
    file = OrtModel(model, normalization or against.normalization, name=str(path))
    note = "" if unknown else "its classes are taken to be in the order of the file's"
    return Contender(str(path), "foreign", file, model_precision(model), note=note, unknown=unknown)


def find_hits(one: Contender, split: PackedImages) -> Generator[Activity, None, Hits | None]:
    """Which images are classified right, `(n,)`; None where nobody can tell."""
    if one.unknown:
        return None
    hits = np.empty(len(split), dtype=np.bool_)
    for start in range(0, len(split), BATCH):
        rows = slice(start, min(start + BATCH, len(split)))
        hits[rows] = one.model.logits(split.images[rows]).argmax(axis=1) == split.labels[rows]
        yield Activity(f"classifying with {one.name}", rows.stop, len(split))
    return hits


def check_taken(
    contenders: Sequence[Contender], device: Device, protocol: MeasuringProtocol
) -> Iterator[Activity]:
    """Look at every network, where timing looks at the first alone: these may have no operator in common.

    Raises:
        DeviceError: The device's execution provider takes no operator of one of them.
    """
    if not device.info().provider:
        return
    once = replace(protocol, profile_sittings=1, profile_runs=1, profile_skip=0)
    yield Activity("trying the execution provider")
    for done, _ in enumerate(device.profile(_models(contenders), once), start=1):
        yield Activity("trying the execution provider", done, len(contenders))
    device.forget()


def _models(contenders: Sequence[Contender]) -> list[Model]:
    return [Model(f"{number} {one.name}", one.model.timed()) for number, one in enumerate(contenders)]


def time_contenders(
    contenders: Sequence[Contender], device: Device, protocol: MeasuringProtocol
) -> Generator[Activity, None, tuple[list[list[Visit]], list[Measurement]]]:
    """Visits of each in the order of rounds, and what they amount to."""
    models = _models(contenders)
    visits: dict[str, list[Visit]] = {model.name: [] for model in models}
    measured = []
    for record in measure(device, models, protocol=protocol):
        if isinstance(record, Measurement):
            measured.append(record)
        else:
            visits[record.model].append(record)
            yield Activity("timing", sum(map(len, visits.values())), protocol.rounds * len(models))
    device.forget()
    return list(visits.values()), measured


def accuracy_difference(ours: Hits, theirs: Hits) -> Difference:
    """Difference of two accuracies on the same images.

    Args:
        ours: `(n,)` whether an image was classified right.
        theirs: `(n,)` the same of the other network.

    Source: Agresti and Min 2005, Statistics in Medicine 24(5): the normal interval of a paired difference,
    half an image added to each of the four outcomes; networks that never disagreed are not quite certain.
    """
    images = len(ours) + 2.0
    won, lost = float((ours & ~theirs).sum()) + 0.5, float((theirs & ~ours).sum()) + 0.5
    variance = (won + lost - (won - lost) ** 2 / images) / images**2
    return Difference(float(ours.mean() - theirs.mean()), sqrt(variance))


def latency_ratio(ours: Sequence[Visit], theirs: Sequence[Visit]) -> Ratio:
    """How many times as long the other network takes, from visits of the same rounds.

    Visits of a round are neighbours in time, so what slows the machine down for both is not in their ratio.
    """
    ratios = [
        float(np.median(other.wall_ms) / np.median(own.wall_ms))
        for own, other in zip(ours, theirs, strict=False)  # one may have been visited longer
    ]
    low, high = bootstrap_interval(ratios)
    return Ratio(float(np.median(ratios)), low, high)
