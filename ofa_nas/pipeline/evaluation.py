"""Real accuracies of subnets, and the predictor that is fitted to many of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_nas.accuracy import AccuracySample, SampleStore, kendall_tau, rmse
from ofa_nas.errors import CheckpointError, DataError
from ofa_nas.predictors import Observations, load_module, save_predictor
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

if TYPE_CHECKING:
    from ofa_nas.data import Source
    from ofa_nas.data.packed import PackedImages

REPEATS = 10  # splits over which held-out figures of a predictor are averaged
HELD_OUT = 0.2
PREDICTOR_SPLIT = "predictor"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Top-1 of one subnet.

    Attributes:
        accuracy: A fraction.
        half_width: Of the 90 % interval that the number of images leaves.
    """

    architecture: Architecture
    accuracy: float
    half_width: float
    images: int
    macs: int


def named_architecture(space: SearchSpace, text: str) -> Architecture:
    """An architecture by its text, or `smallest`, `middle`, `largest`."""
    named = {"smallest": space.smallest, "middle": space.middle, "largest": space.largest}
    return named[text] if text in named else space.parse(text)


def evaluate(
    supernet: str, archs: Sequence[str], *, data: str | None, images: int | None, seed: int
) -> Iterator[Evaluation]:
    """Extract, calibrate and evaluate subnets.

    Args:
        supernet: Shipped name or weights file.
        archs: Texts, or `smallest`, `middle`, `largest`.
        data: Data set whose validation images serve; the supernet's own held-out images without.
        images: At most so many, drawn by `seed`.
        seed: Of that draw.

    Raises:
        CheckpointError: The supernet or its images are missing or damaged.
        DataError: The data set has other classes.
    """
    from ofa_nas.data.dataset import open_data
    from ofa_nas.data.sample import load_images, load_sample
    from ofa_nas.export.export import model_card
    from ofa_nas.export.verify import FileAccuracy
    from ofa_nas.supernet.checkpoint import load_supernet
    from ofa_nas.training.evaluate import calibrated_subnet, count_correct

    files = SupernetFiles.find(supernet)
    network, card = load_supernet(files)
    chosen = [named_architecture(card.space, text) for text in archs]
    calibration = load_images(files.calibration)
    source = load_sample(files.held_out) if data is None else open_data(data).val
    split = _decode(_draw(source, card, images, seed))
    for arch in chosen:
        normalization = model_card(files.name, card, arch, {}).normalization
        subnet = calibrated_subnet(network, arch, images=calibration.images, normalization=normalization)
        found = FileAccuracy(count_correct(subnet, split, normalization=normalization), len(split))
        macs = sum(map(layer_macs, card.space.layers(arch)))
        yield Evaluation(arch, found.value, found.half_width, found.images, macs)


def collect_samples(
    supernet: str, *, count: int, data: str, images: int, seed: int
) -> Iterator[AccuracySample]:
    """Evaluate `count` subnets spread over MACs, and append them to the supernet's samples.

    The images are drawn from the half of the validation images that verification never sees.

    Raises:
        CheckpointError: The supernet is missing or damaged.
        DataError: The data set has other classes.
    """
    from ofa_nas.data.dataset import open_data
    from ofa_nas.data.sample import load_images
    from ofa_nas.export.export import model_card
    from ofa_nas.supernet.checkpoint import load_supernet
    from ofa_nas.training.collect import collect, stratified_sample
    from ofa_nas.training.prepare import predictor_half

    files = SupernetFiles.find(supernet)
    network, card = load_supernet(files)
    val = open_data(data).val
    split = _decode(_draw(val.subset(predictor_half(val)), card, images, seed))
    encoding = Encoding.of(card.space)
    archs = stratified_sample(encoding, count, np.random.default_rng([seed, 3]))
    yield from collect(
        network,
        archs,
        SampleStore(files.samples),
        calibration=load_images(files.calibration).images,
        split=split,
        normalization=model_card(files.name, card, archs[0], {}).normalization,
        labels=(f"{card.data}/{PREDICTOR_SPLIT}, {len(split)} images, seed {seed}", card.sha256),
    )


@dataclass(frozen=True, slots=True)
class FitReport:
    """How a predictor does on samples that were not fitted, averaged over random splits.

    Attributes:
        kind: Plug-in.
        samples: That there are.
        tau: Kendall's, of predicted and measured accuracy.
        rmse: A fraction.
        half_width: Of its 90 % intervals.
    """

    kind: str
    samples: int
    tau: float
    rmse: float
    half_width: float


def fit_predictor(supernet: str, *, kind: str, seed: int) -> tuple[FitReport, Path]:
    """Fit a predictor to a supernet's samples, judge it on left-out ones, and write it beside the weights.

    Raises:
        DataError: There are too few samples.
        CheckpointError: Samples are of other weights.
    """
    files = SupernetFiles.find(supernet)
    card = SupernetCard.load(files.card)
    encoding = Encoding.of(card.space)
    samples = [sample for sample in SampleStore(files.samples).read() if sample.supernet == card.sha256]
    if not samples:
        raise CheckpointError(
            f"{files.samples}: no samples of these weights; make some with ofa-nas predictor collect"
        )
    module = load_module(kind)
    observations = Observations.of(encoding, samples)
    taus, errors = [], []
    for repeat in range(REPEATS):
        rng = np.random.default_rng([seed, repeat])
        left_out = rng.permutation(len(samples)) < max(2, round(HELD_OUT * len(samples)))
        tested = observations.take(left_out)
        predicted = module.fit(encoding, observations.take(~left_out), rng=rng).predict(tested.genes)
        taus.append(kendall_tau(predicted, tested.accuracies))
        errors.append(rmse(predicted, tested.accuracies))
    predictor = module.fit(encoding, observations, rng=np.random.default_rng(seed))
    save_predictor(
        files.predictor,
        predictor,
        kind=kind,
        encoding=encoding,
        description=f"top-1 on {samples[0].split}; {len(samples)} subnets; weights {card.sha256[:12]}",
        provenance=record_provenance(seed=seed),
    )
    report = FitReport(kind, len(samples), float(np.mean(taus)), float(np.mean(errors)), predictor.half_width)
    return report, files.predictor


def _draw(source: "Source", card: SupernetCard, images: int | None, seed: int) -> "Source":
    if source.class_names != card.class_names:
        raise DataError(
            f"the data have {len(source.class_names)} classes from {source.class_names[0]!r}, the supernet "
            f"{len(card.class_names)} from {card.class_names[0]!r}; they must be the same"
        )
    if images is None or images >= len(source):
        return source
    return source.subset(np.sort(np.random.default_rng([seed, 4]).permutation(len(source))[:images]))


def _decode(source: "Source") -> "PackedImages":
    from ofa_nas.data.sample import decode

    return decode(source)
