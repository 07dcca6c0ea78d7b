"""An exported file beside others: accuracy on the same images, latency in the same session."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_nas.accuracy import Top1
from ofa_nas.activity import Activity
from ofa_nas.data import Normalization
from ofa_nas.devices import HOST, MeasuringProtocol, Visit, check_address, open_device
from ofa_nas.devices.quiet import quiet
from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.measure import Measurement
from ofa_nas.pipeline.delivery.contenders import (
    Contender,
    Difference,
    Hits,
    Ratio,
    accuracy_difference,
    check_taken,
    contender_of_architecture,
    contender_of_file,
    contender_of_foreign,
    find_hits,
    latency_ratio,
    time_contenders,
)
from ofa_nas.pipeline.delivery.original import find_source
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.space.architecture import Architecture


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
class Figures:
    """What was measured of one network.

    Attributes:
        name: As the user gave it.
        kind: See `Contender`.
        precision: See `Contender`.
        architecture: None where nobody knows.
        note: See `Contender`.
        macs: None where nobody knows.
        file_bytes: Of the ONNX file.
        top_1: None where it cannot be measured.
        latency: On the device.
    """

    name: str
    kind: str
    precision: str
    architecture: Architecture | None
    note: str
    macs: int | None
    file_bytes: int
    top_1: Top1 | None
    latency: Measurement


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
        seed: Of their draw.
        address: Of the device.
        cpu: Of the device.
        onnxruntime: Version on the device.
        threads: Of ONNX Runtime.
        networks: The file, then the baselines.
        comparisons: One a baseline.
    """

    supernet: str
    data: str
    images: int
    seed: int
    address: str
    cpu: str
    onnxruntime: str
    threads: int
    networks: tuple[Figures, ...]
    comparisons: tuple[Versus, ...]


def compare(plan: ComparisonPlan, *, protocol: MeasuringProtocol) -> Iterator[Activity | Comparison]:
    """Classify the same images with every network, time all of them in one interleaved session.

    Args:
        plan: What.
        protocol: How to measure latencies.

    Yields:
        What is going on, then the comparison.

    Raises:
        FileError: A file is none, or none of a classifier.
        CheckpointError: The file's supernet is not here, or is another one by now.
        ArchitectureError: A baseline is no architecture of its space.
        ConfigError: An option is wrong.
        DeviceError: The device cannot be reached, or refuses a network, or its execution provider takes no
            operator of one.
    """
    _check(plan)
    device = open_device(plan.address)
    about = device.info()  # one that cannot be reached is told before anything long
    yield Activity("loading the supernet")
    card = ModelCard.from_model(read_model(plan.file), plan.file)
    bench = _open_bench(plan, card)
    split = bench.held_out_images(images=plan.images, seed=plan.seed)
    contenders = [contender_of_file(str(plan.file), plan.file, card, kind="file")]
    for name in plan.baselines:
        yield Activity(f"reading {name}")
        contenders.append(_baseline(name, plan, card, bench))
    _check_normalization(plan, contenders)
    yield from check_taken(contenders, device, protocol)
    hits: list[Hits | None] = [None] * len(contenders)
    for number, one in enumerate(contenders):
        hits[number] = yield from find_hits(one, split)
    with quiet(plan.address):
        visits, measured = yield from time_contenders(contenders, device, protocol)
    each = tuple(zip(contenders, hits, visits, strict=True))
    yield Comparison(
        supernet=card.supernet,
        data=card.data,
        images=len(split),
        seed=plan.seed,
        address=plan.address,
        cpu=about.cpu,
        onnxruntime=about.onnxruntime,
        threads=protocol.threads,
        networks=tuple(map(_figures, contenders, hits, measured)),
        comparisons=tuple(
            _versus(*one, own_model=contenders[0].model, own_hits=hits[0], own_visits=visits[0])
            for one in each[1:]
        ),
    )


def _check(plan: ComparisonPlan) -> None:
    check_address(plan.address, "--device")
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
        return contender_of_architecture(name, bench, form=card.form)
    path = Path(name)
    model = read_model(path)
    if not any(item.key.startswith("ofa_nas.") for item in model.metadata_props):
        return contender_of_foreign(path, plan.normalization, against=card)
    return contender_of_file(name, path, ModelCard.from_model(model, path), kind="exported", against=card)


def _check_normalization(plan: ComparisonPlan, contenders: Sequence[Contender]) -> None:
    if plan.normalization is not None and all(one.kind != "foreign" for one in contenders):
        raise ConfigError(
            "--input-mean and --input-std are for an ONNX baseline that ofa-nas did not export; there is none"
        )


def _figures(one: Contender, hits: Hits | None, measured: Measurement) -> Figures:
    return Figures(
        name=one.name,
        kind=one.kind,
        precision=one.precision,
        architecture=one.architecture,
        note=one.note,
        macs=one.macs,
        file_bytes=len(one.model.content),
        top_1=None if hits is None else Top1(int(hits.sum()), len(hits)),
        latency=measured,
    )


def _versus(
    one: Contender,
    hits: Hits | None,
    visits: Sequence[Visit],
    *,
    own_model: OrtModel,
    own_hits: Hits | None,
    own_visits: Sequence[Visit],
) -> Versus:
    batch, own_batch = one.model.batch or 1, own_model.batch or 1
    if own_hits is None or hits is None:
        return Versus(one.name, None, None, f"its accuracy is unknown: {one.unknown}")
    if one.refusal:
        return Versus(one.name, None, None, f"it was not given the same data: {one.refusal}")
    if batch != own_batch:
        return Versus(one.name, None, None, f"it takes {batch} images at once, the file {own_batch}")
    return Versus(one.name, latency_ratio(own_visits, visits), accuracy_difference(own_hits, hits), "")
