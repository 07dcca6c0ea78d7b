"""Real accuracies of subnets, extracted and calibrated as they would be exported."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_nas.accuracy import AccuracySample, Top1
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.randomness import rng_of
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.points import named_architecture
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

if TYPE_CHECKING:
    from ofa_nas.data import DataSet, Source
    from ofa_nas.supernet.supernet import Supernet
    from ofa_nas.training.evaluate import Images

PREDICTOR_SPLIT = "predictor"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Top-1 of one subnet."""

    architecture: Architecture
    top_1: Top1
    macs: int


@dataclass(frozen=True, slots=True)
class DrawnImages(PackedImages):
    """Images for samples of accuracy.

    Attributes:
        data: Name of the data set that they were drawn from.
    """

    data: str


def evaluate(
    supernet: str | Path,
    archs: Sequence[str],
    *,
    data: str | None = None,
    images: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[Evaluation]:
    """Extract, calibrate and evaluate subnets.

    Args:
        supernet: Shipped name or weights file.
        archs: Texts, `smallest`, `middle`, `largest`, or named points of the space.
        data: Data set whose validation images serve; the supernet's own held-out images without.
        images: At most so many, drawn by `seed`; all without.
        seed: Of that draw.
        threads: Images at once; None for one a core.

    Raises:
        CheckpointError: The supernet or its images are missing or damaged.
        DataError: The data set has other classes.
    """
    bench = Bench.open(supernet, threads=threads)
    chosen = [named_architecture(bench.card.space, text) for text in archs]
    if data is None:
        split = bench.held_out_images(images=images, seed=seed)
    else:
        split = _decode(_draw(bench.open_data(data).val, bench.card, images, seed))
    for arch in chosen:
        top_1 = Top1(bench.count_correct(arch, split), len(split))
        macs = sum(map(layer_macs, bench.card.space.layers(arch)))
        yield Evaluation(arch, top_1, macs)


@dataclass(frozen=True)
class Bench:
    """A supernet on which subnets are evaluated as the files that they would be exported to.

    Attributes:
        files: The supernet's.
        card: What is known of it.
        supernet: Its weights.
        calibration: Images for the batch norms.
        threads: Images at once; None for one a core.
    """

    files: SupernetFiles
    card: SupernetCard
    supernet: "Supernet"
    calibration: "Images"
    threads: int | None = None

    @classmethod
    def open(cls, supernet: str | Path, *, threads: int | None = None) -> "Bench":
        """Load a supernet and its calibration images.

        Raises:
            CheckpointError: One of them is missing or damaged.
        """
        from ofa_nas.pipeline.evaluating.images import supernet_images
        from ofa_nas.supernet.checkpoint import load_supernet

        files = SupernetFiles.find(supernet)
        network, card = load_supernet(files)
        calibration = supernet_images(files.calibration, "calibration").images
        return cls(files, card, network, calibration, threads)

    def open_data(self, data: str) -> "DataSet":
        """Open a data set; signals in the windows of the supernet's own, unless the text names others.

        Validation images are at least as large as those that it was trained on.
        """
        from ofa_nas.data.dataset import open_data
        from ofa_nas.data.windows import windows_like

        found = open_data(windows_like(data, self.card))
        return replace(found, val=found.val.at_least(self.card.image_size))

    def held_out_images(self, *, images: int | None, seed: int) -> PackedImages:
        """Those beside the supernet's weights, at most so many, drawn by `seed`.

        Raises:
            CheckpointError: They are missing.
            DataError: They are damaged.
        """
        from ofa_nas.data.sample import load_sample
        from ofa_nas.pipeline.evaluating.images import check_images

        check_images(self.files.held_out, "held-out")
        return _decode(_draw(load_sample(self.files.held_out), self.card, images, seed))

    def held_out_top_1(self, arch: Architecture) -> Top1 | None:
        """Of an architecture on all of them, which chose nothing; None where there are none.

        Raises:
            DataError: They are damaged.
        """
        if not self.files.held_out.is_file():
            return None
        split = self.held_out_images(images=None, seed=0)
        return Top1(self.count_correct(arch, split), len(split))

    def predictor_images(self, data: str, *, images: int, seed: int) -> DrawnImages:
        """Draw from the half of a data set's validation images that verification never sees.

        The halves are dealt anew when images come or go: those held out beside the weights are left out.

        Raises:
            DataError: The data set has other classes, or no image is left.
        """
        from ofa_nas.training.splits import predictor_half

        found = self.open_data(data)
        check_fit(found.val, self.card)
        half = found.val.subset(predictor_half(found.val))
        if self.files.held_out.is_file():
            half = _without_held_out(half, self.files.held_out, found.name)
        drawn = _decode(_draw(half, self.card, images, seed))
        return DrawnImages(drawn.images, drawn.labels, drawn.class_names, found.name)

    def blank_sample(self, split: DrawnImages, *, seed: int) -> AccuracySample:
        """A sample of such images, all but its architecture and what was right."""
        return AccuracySample(
            arch="",
            correct=0,
            images=len(split),
            split=f"{split.data}/{PREDICTOR_SPLIT}, seed {seed}",
            calibration=f"{len(self.calibration)} images",
            supernet=self.card.sha256,
            digest=_digest(split.images, split.labels, self.calibration),
        )

    def count_correct(self, arch: Architecture, split: PackedImages) -> int:
        """How many images the file of a subnet classifies right."""
        return sum(self.count_halves(arch, split))

    def count_halves(self, arch: Architecture, split: PackedImages) -> tuple[int, int]:
        """How many images 0, 2, 4, … the file of a subnet classifies right, and how many of the others."""
        from ofa_nas.export.export import export_subnet, model_card
        from ofa_nas.export.verify import OrtModel, count_correct_in_file

        card = model_card(self.files.name, self.card, arch, {})
        _, model = export_subnet(self.supernet, card, calibration=self.calibration)
        file = OrtModel(model, card.normalization, threads=self.threads)
        right = [0, 0]
        for half in (0, 1):
            part = PackedImages(split.images[half::2], split.labels[half::2], split.class_names)
            for found in count_correct_in_file(file, part):
                right[half] = found.correct
        return right[0], right[1]


def check_classes(source: "Source", class_names: Sequence[str]) -> None:
    """Refuse images of other classes than a supernet's.

    Raises:
        DataError: Names the first of each.
    """
    if tuple(source.class_names) != tuple(class_names):
        raise DataError(
            f"the data have {len(source.class_names)} classes from {source.class_names[0]!r}, the supernet "
            f"{len(class_names)} from {class_names[0]!r}; they must be the same"
        )


def check_fit(source: "Source", card: SupernetCard) -> None:
    """Refuse data that a supernet cannot be evaluated on: of another kind, channels or classes.

    Raises:
        DataError: Says what the data are, and what the supernet takes.
    """
    from ofa_nas.data import check_input

    check_input(source, card.space)
    check_classes(source, card.class_names)


def _draw(source: "Source", card: SupernetCard, images: int | None, seed: int) -> "Source":
    check_fit(source, card)
    if images is not None and images < 1:
        raise ConfigError(f"--images {images}: expected 1 or more")
    if images is None or images >= len(source):
        return source
    return source.subset(np.sort(rng_of(seed, 4).permutation(len(source))[:images]))


def _without_held_out(half: "Source", held_out: Path, data: str) -> "Source":
    """The images that choices may look at, without those of an earlier deal that verification looks at.

    Raises:
        DataError: No image is left, or the sample is damaged.
    """
    from ofa_nas.data.sample import in_sample

    rows = np.flatnonzero(~in_sample(held_out, half))
    if len(rows) == len(half):
        return half
    if len(rows) == 0:
        raise DataError(
            f"data {data}: each of the {len(half)} validation images that choices may look at is among those "
            f"held out in {held_out}: train anew"
        )
    logging.getLogger(__name__).warning(
        "data %s: %d of the %d validation images that choices may look at are among those held out in %s and "
        "are left out: images came or went since the training, or are there twice",
        *(data, len(half) - len(rows), len(half), held_out),
    )
    return half.subset(rows)


def _decode(source: "Source") -> PackedImages:
    from ofa_nas.data.sample import decode

    return decode(source)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]
