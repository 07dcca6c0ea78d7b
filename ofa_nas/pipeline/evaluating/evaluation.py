"""Real accuracies of subnets, extracted and calibrated as they would be exported."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ofa_nas.accuracy import AccuracySample, Top1
from ofa_nas.data import DataSet, Normalization, Source, check_input
from ofa_nas.data.dataset import open_like
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import decode, in_sample, load_sample
from ofa_nas.data.windows import Trained
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.pipeline.evaluating.images import check_images, supernet_images
from ofa_nas.randomness import rng_of
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.splits import predictor_half

if TYPE_CHECKING:
    import torch

    from ofa_nas.export.ort_model import OrtModel
    from ofa_nas.supernet.supernet import Supernet
    from ofa_nas.training.evaluate import Images

PREDICTOR_SPLIT = "predictor"


class Network(Trained, Protocol):
    """What images must fit, by its card: a supernet, or an exported file."""

    @property
    def class_names(self) -> Sequence[str]:
        """One a logit."""


@dataclass(frozen=True, slots=True)
class DrawnImages(PackedImages):
    """Images of a data set.

    Attributes:
        data: Name of the data set that they were drawn from.
    """

    data: str


@dataclass(frozen=True)
class Bench:
    """A supernet on which subnets are evaluated as the files that they would be exported to.

    Attributes:
        files: The supernet's.
        card: What is known of it.
        supernet: Its weights.
        calibration: Images for the batch norms.
        threads: Images at once; None for one a core.
        device: On which torch classifies for `count_halves`; None for ONNX Runtime on the file, as a device
            that runs it would.
    """

    files: SupernetFiles
    card: SupernetCard
    supernet: "Supernet"
    calibration: "Images"
    threads: int | None = None
    device: "torch.device | None" = None

    @classmethod
    def open(
        cls, supernet: str | Path, *, threads: int | None = None, device: "torch.device | None" = None
    ) -> "Bench":
        """Load a supernet, onto a device if one is given, and its calibration images.

        Raises:
            CheckpointError: One of them is missing or damaged.
        """
        from ofa_nas.supernet.checkpoint import load_supernet

        files = SupernetFiles.find(supernet)
        network, card = load_supernet(files)
        calibration = supernet_images(files.calibration, "calibration").images
        if device is not None:
            import torch

            from ofa_nas.supernet.supernet import place

            place(network, device)
            torch.backends.cudnn.allow_tf32 = False  # samples of files on a CPU may lie beside these
        return cls(files, card, network, calibration, threads, device)

    def open_data(self, data: str) -> DataSet:
        """Open a data set as the supernet sees it; see `open_like`.

        Validation images are at least as large as those that it was trained on.
        """
        found = open_like(data, self.card)
        return replace(found, val=found.val.at_least(self.card.image_size))

    def held_out_images(self, *, images: int | None, seed: int) -> PackedImages:
        """Those beside the supernet's weights, at most so many, drawn by `seed`.

        Raises:
            CheckpointError: They are missing.
            DataError: They are damaged.
        """
        return decode(draw_images(held_out_source(self.files), [self.card], images, seed))

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
        found = self.open_data(data)
        check_fit(found.val, self.card)
        half = found.val.subset(predictor_half(found.val))
        if self.files.held_out.is_file():
            half = _without_held_out(half, self.files.held_out, found.name)
        drawn = decode(draw_images(half, [self.card], images, seed))
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

    def file_of(self, arch: Architecture) -> "OrtModel":
        """A subnet as the file that it would be exported to."""
        from ofa_nas.export.export import export_subnet, model_card
        from ofa_nas.export.ort_model import OrtModel

        card = model_card(self.files.name, self.card, arch, {})
        _, model = export_subnet(self.supernet, card, calibration=self.calibration)
        return OrtModel(model, card.normalization, threads=self.threads)

    def count_halves(self, arch: Architecture, split: PackedImages) -> tuple[int, int]:
        """How many images 0, 2, 4, … a subnet classifies right, and how many of the others."""
        count = self._counter(arch)
        even, odd = (
            count(PackedImages(split.images[half::2], split.labels[half::2], split.class_names))
            for half in (0, 1)
        )
        return even, odd

    def _counter(self, arch: Architecture) -> Callable[[PackedImages], int]:
        """What counts the images that a subnet classifies right."""
        if self.device is None:
            from ofa_nas.export.ort_model import count_correct_in_file

            file = self.file_of(arch)
            return lambda images: max(found.correct for found in count_correct_in_file(file, images))
        from ofa_nas.training.evaluate import calibrated_subnet, count_correct

        normalization = Normalization(tuple(self.card.input_mean), tuple(self.card.input_std))
        subnet = calibrated_subnet(self.supernet, arch, images=self.calibration, normalization=normalization)
        return partial(count_correct, subnet, normalization=normalization)


def check_classes(source: Source, class_names: Sequence[str]) -> None:
    """Refuse images of other classes than a network's.

    Raises:
        DataError: Names the first of each.
    """
    if tuple(source.class_names) != tuple(class_names):
        raise DataError(
            f"the data have {len(source.class_names)} classes from {source.class_names[0]!r}, the network "
            f"{len(class_names)} from {class_names[0]!r}; they must be the same"
        )


def check_fit(source: Source, card: Network) -> None:
    """Refuse data that a network cannot be evaluated on: of another kind, channels or classes.

    Raises:
        DataError: Says what the data are, and what the network takes.
    """
    check_input(source, card.space)
    check_classes(source, card.class_names)


def held_out_source(files: SupernetFiles) -> Source:
    """The images that lie beside a supernet and chose nothing."""
    check_images(files.held_out, "held-out")
    return load_sample(files.held_out)


def draw_images(source: Source, networks: Sequence[Network], images: int | None, seed: int) -> Source:
    """At most so many images that fit all networks, drawn by `seed`, in their order.

    Raises:
        ConfigError: Not one is asked for.
        DataError: They do not fit a network.
    """
    for card in networks:
        check_fit(source, card)
    if images is not None and images < 1:
        raise ConfigError(f"--images {images}: expected 1 or more")
    if images is None or images >= len(source):
        return source
    return source.subset(np.sort(rng_of(seed, 4).permutation(len(source))[:images]))


def _without_held_out(half: Source, held_out: Path, data: str) -> Source:
    """The images that choices may look at, without those of an earlier deal that verification looks at.

    Raises:
        DataError: No image is left, or the sample is damaged.
    """
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


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]
