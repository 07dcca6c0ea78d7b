"""An exported file beside others: accuracy on the same images, latency in the same session."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ofa_nas.accuracy import Z_90
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import HOST, MeasuringProtocol, Model, Visit, is_address, open_device
from ofa_nas.devices.agent import bootstrap_interval
from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.export.export import ModelCard, export_subnet, model_card, read_model
from ofa_nas.export.foreign import class_count, image_size, read_classifier
from ofa_nas.export.verify import FileAccuracy, ModelFile
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.pipeline.deliver import Stage, find_source
from ofa_nas.pipeline.evaluation import Bench, named_architecture
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs

BATCH = 100  # images between two reports of progress
Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What to compare.

    Attributes:
        file: That ofa-nas exported.
        baselines: Architectures of the file's supernet, by name or text, and paths that end in `.onnx`.
        supernet: Where the file came from; None for the shipped one that it names.
        address: Of the device.
        images: At most so many of the held-out ones; None for all.
        seed: Of their draw.
        normalization: Of ONNX files that do not tell their own; None where nobody knows.
    """

    file: Path
    baselines: tuple[str, ...]
    supernet: str | None = None
    address: str = HOST
    images: int | None = None
    seed: int = 0
    normalization: Normalization | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A network that is compared.

    Attributes:
        name: As the user gave it.
        kind: `file`, `architecture` (weights of the file's supernet), `exported` or `foreign`.
        model: In ONNX Runtime.
        architecture: None where nobody knows.
        macs: Multiply-accumulates of one image; None where nobody knows.
        note: Where a named point differs from what it is named after.
        unknown: Why its accuracy cannot be measured; empty where it can.
        refusal: Why it cannot be compared all the same; empty where it can.
    """

    name: str
    kind: str
    model: ModelFile
    architecture: Architecture | None = None
    macs: int | None = None
    note: str = ""
    unknown: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one network.

    Attributes:
        name: As the user gave it.
        kind: See `Contender`.
        architecture: None where nobody knows.
        note: See `Contender`.
        macs: None where nobody knows.
        file_bytes: Of the ONNX file.
        accuracy: Top-1, a fraction; None where it cannot be measured.
        accuracy_half_width: Of its 90 % interval.
        latency: On the device.
    """

    name: str
    kind: str
    architecture: Architecture | None
    note: str
    macs: int | None
    file_bytes: int
    accuracy: float | None
    accuracy_half_width: float | None
    latency: Measurement


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


@dataclass(frozen=True, slots=True)
class Versus:
    """The file beside one baseline: a ratio and a difference, or the reason why there are none."""

    baseline: str
    ratio: Ratio | None
    difference: Difference | None
    refusal: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The end of a comparison.

    Attributes:
        supernet: That the file came from.
        data: Whose held-out images were classified.
        images: How many.
        address: Of the device.
        threads: Of ONNX Runtime.
        networks: The file, then the baselines.
        comparisons: One a baseline.
    """

    supernet: str
    data: str
    images: int
    address: str
    threads: int
    networks: tuple[Figures, ...]
    comparisons: tuple[Versus, ...]


def compare(plan: ComparisonPlan, *, protocol: MeasuringProtocol) -> Iterator[Stage | Comparison]:
    """Classify the same images with every network, time all of them in one interleaved session.

    Args:
        plan: What.
        protocol: How to measure latencies.

    Yields:
        Stages, then the comparison.

    Raises:
        FileError: A file is none, or none of a classifier.
        CheckpointError: The file's supernet is not here, or is another one by now.
        ArchitectureError: A baseline is no architecture of its space.
        ConfigError: An option is wrong.
        DeviceError: The device cannot be reached, or refuses a network.
    """
    _check(plan)
    yield Stage("loading the supernet")
    card = ModelCard.from_model(read_model(plan.file), plan.file)
    bench = _open_bench(plan, card)
    split = bench.held_out_images(images=plan.images, seed=plan.seed)
    contenders = [_of_file(str(plan.file), plan.file, card, kind="file")]
    for name in plan.baselines:
        yield Stage(f"reading {name}")
        contenders.append(_baseline(name, plan, card, bench))
    _check_normalization(plan, contenders)
    hits: list[Hits | None] = [None] * len(contenders)
    for number, one in enumerate(contenders):
        hits[number] = yield from _classify(one, split)
    visits, measured = yield from _time(contenders, plan.address, protocol)
    each = tuple(zip(contenders, hits, visits, strict=True))
    yield Comparison(
        supernet=card.supernet,
        data=card.data,
        images=len(split),
        address=plan.address,
        threads=protocol.threads,
        networks=tuple(map(_figures, contenders, hits, measured)),
        comparisons=tuple(_versus(*one, own_hits=hits[0], own_visits=visits[0]) for one in each[1:]),
    )


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


def _check(plan: ComparisonPlan) -> None:
    if not is_address(plan.address):
        raise ConfigError(
            f"--device {plan.address[:80]}: networks are timed on a device, not by a table: give host, or "
            "ssh://USER@HOST for a board"
        )
    if plan.images is not None and plan.images < 1:
        raise ConfigError(f"--images {plan.images}: expected 1 or more")
    for number, name in enumerate(plan.baselines):
        if not name or name in plan.baselines[:number]:
            what = "is given twice" if name else "is empty"
            raise ConfigError(f"--baseline {name[:80]!r} {what}: give names, architectures or ONNX files")


def _open_bench(plan: ComparisonPlan, card: ModelCard) -> Bench:
    bench = Bench.open(str(find_source(plan.file, card, plan.supernet).weights))
    if bench.card.sha256 != card.supernet_sha256:
        raise CheckpointError(
            f"{plan.file} was exported from another version of the supernet {card.supernet}: "
            f"{card.supernet_sha256[:12]}, not {bench.card.sha256[:12]}"
        )
    return bench


def _baseline(name: str, plan: ComparisonPlan, card: ModelCard, bench: Bench) -> Contender:
    if not name.endswith(".onnx"):
        return _of_architecture(name, bench)
    path = Path(name)
    model = read_model(path)
    if not any(item.key.startswith("ofa_nas.") for item in model.metadata_props):
        return _foreign(path, plan, card)
    return _of_file(name, path, ModelCard.from_model(model, path), kind="exported", against=card)


def _of_architecture(name: str, bench: Bench) -> Contender:
    space = bench.card.space
    arch = named_architecture(space, name)
    card = model_card(bench.files.name, bench.card, arch, {})
    _, model = export_subnet(bench.supernet, card, calibration=bench.calibration)
    note = space.points[name].note if name in space.points else ""
    macs = sum(map(layer_macs, space.layers(arch)))
    return Contender(name, "architecture", ModelFile(model, card.normalization), arch, macs, note)


def _of_file(
    name: str, path: Path, card: ModelCard, *, kind: str, against: ModelCard | None = None
) -> Contender:
    """A file that ofa-nas exported, maybe from another supernet than the file that it is held against."""
    unknown = refusal = ""
    if against is not None and card.class_names != against.class_names:
        unknown = f"its {len(card.class_names)} classes are not the {len(against.class_names)} of the file"
    elif against is not None and card.data != against.data:
        refusal = f"it was trained on {card.data}, the file on {against.data}"
    macs = sum(map(layer_macs, card.space.layers(card.arch)))
    file = ModelFile(read_model(path), card.normalization)
    return Contender(name, kind, file, card.arch, macs, unknown=unknown, refusal=refusal)


def _foreign(path: Path, plan: ComparisonPlan, against: ModelCard) -> Contender:
    model = read_classifier(path)
    classes, (height, width) = class_count(model), image_size(model)
    unknown = ""
    if classes != len(against.class_names):
        unknown = f"it has {classes} classes, the held-out images have {len(against.class_names)}"
    elif height != width:
        unknown = f"it takes images of {height} x {width} px, the held-out ones are square"
    elif plan.normalization is None:
        unknown = "nobody told its normalisation: give --input-mean and --input-std"
    file = ModelFile(model, plan.normalization or against.normalization)
    return Contender(str(path), "foreign", file, unknown=unknown)


def _check_normalization(plan: ComparisonPlan, contenders: Sequence[Contender]) -> None:
    if plan.normalization is not None and all(one.kind != "foreign" for one in contenders):
        raise ConfigError(
            "--input-mean and --input-std are for an ONNX baseline that ofa-nas did not export; there is none"
        )


def _classify(one: Contender, split: PackedImages) -> Generator[Stage, None, Hits | None]:
    """Which images are classified right, `(n,)`; None where nobody can tell."""
    if one.unknown:
        return None
    hits = np.empty(len(split), dtype=np.bool_)
    for start in range(0, len(split), BATCH):
        rows = slice(start, min(start + BATCH, len(split)))
        hits[rows] = one.model.logits(split.images[rows]).argmax(axis=1) == split.labels[rows]
        yield Stage(f"classifying with {one.name}", rows.stop, len(split))
    return hits


def _time(
    contenders: Sequence[Contender], address: str, protocol: MeasuringProtocol
) -> Generator[Stage, None, tuple[list[list[Visit]], list[Measurement]]]:
    """Visits of each in the order of rounds, and what they amount to."""
    device = open_device(address)
    models = [Model(f"{number} {one.name}", one.model.content) for number, one in enumerate(contenders)]
    visits: dict[str, list[Visit]] = {model.name: [] for model in models}
    measured = []
    for record in measure(device, models, protocol=protocol):
        if isinstance(record, Measurement):
            measured.append(record)
        else:
            visits[record.model].append(record)
            yield Stage("timing", sum(map(len, visits.values())), protocol.rounds * len(models))
    device.forget()
    return list(visits.values()), measured


def _figures(one: Contender, hits: Hits | None, measured: Measurement) -> Figures:
    found = None if hits is None else FileAccuracy(int(hits.sum()), len(hits))
    return Figures(
        name=one.name,
        kind=one.kind,
        architecture=one.architecture,
        note=one.note,
        macs=one.macs,
        file_bytes=len(one.model.content),
        accuracy=found.value if found else None,
        accuracy_half_width=found.half_width if found else None,
        latency=measured,
    )


def _versus(
    one: Contender,
    hits: Hits | None,
    visits: Sequence[Visit],
    *,
    own_hits: Hits | None,
    own_visits: Sequence[Visit],
) -> Versus:
    if own_hits is None or hits is None:
        return Versus(one.name, None, None, f"its accuracy is unknown: {one.unknown}")
    if one.refusal:
        return Versus(one.name, None, None, f"it was not given the same data: {one.refusal}")
    return Versus(one.name, latency_ratio(own_visits, visits), accuracy_difference(own_hits, hits), "")
