"""What runs that train have in common: a folder, decoded splits, and a supernet's files at the end."""

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_nas.data import DataSet, Normalization, Source
from ofa_nas.data.image_files import median_shape_px, median_side_px
from ofa_nas.data.packed import PackedImages, PackProgress, default_pack_folder, pack_images
from ofa_nas.data.sample import balanced_indices, proportional_indices, save_sample
from ofa_nas.provenance import record_provenance
from ofa_nas.supernet.checkpoint import save_supernet
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import CROP, Fit, SupernetCard, SupernetFiles
from ofa_nas.training.history import E, History
from ofa_nas.training.loop import Checkpointing
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.splits import SplitSizes, check_halves, held_out_half, predictor_half
from ofa_nas.training.state import RateChange, rates_meta

_SEEN = 0.7  # share of an image, below which a warning is due; 4 : 3 is 0.75, 3 : 2 is 0.67


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How a run trains, and where it is kept.

    Attributes:
        folder: Run folder; the result is left there.
        recipe: Every number of the training.
        image_size: Side of the packed images [px]; None for the native one.
        resume: Continue in the run folder.
        checkpoint_minutes: Minutes between checkpoints.
        has_own_rate: Whether the learning rate was given, so that a resume may change it.
        fit: How images become square; None for that of what the run starts from.
        has_tensorboard: Write scalars for TensorBoard into the run folder.
    """

    folder: Path
    recipe: Recipe
    image_size: int | None = None
    resume: bool = False
    checkpoint_minutes: float = 5.0
    has_own_rate: bool = False
    fit: Fit | None = None
    has_tensorboard: bool = False

    def checkpointing(self, path: Path, start: str) -> Checkpointing:
        """How the training is kept, in a file, that begins with the weights of a start."""
        return Checkpointing(path, self.resume, self.checkpoint_minutes, start, self.has_own_rate)

    def history(self, epoch: type[E]) -> History[E]:
        """Where the reports are kept.

        Args:
            epoch: Kind of the epochs' reports.

        Raises:
            ConfigError: TensorBoard is asked for and not installed.
        """
        return History(self.folder, epoch, has_tensorboard=self.has_tensorboard)

    def size_meta(self) -> dict[str, int]:
        """What a card tells of the size of the images."""
        return {} if self.image_size is None else {"image_size": self.image_size}

    def made_by(self, start: str, rates: Iterable[RateChange]) -> dict[str, Any]:
        """What a card tells of the training: start, recipe, rates, size of images, provenance."""
        return {
            "start": start,
            "recipe": recipe_document(self.recipe),
            **self.size_meta(),
            **rates_meta(rates),
            "provenance": record_provenance(seed=self.recipe.seed).to_json(),
        }


@dataclass(frozen=True, slots=True)
class FoundImages:
    """What there is to learn from.

    Attributes:
        train: Training images, or windows of signals.
        held_out: Validation images.
        classes: Of both.
        is_signal: Whether they are windows.
    """

    train: int
    held_out: int
    classes: int
    is_signal: bool = False


def warn_of_size(source: Source, image_size: int | None, resolution: int) -> None:
    """Warn of what images lose: edges, and detail where they are packed smaller than the largest resolution.

    Args:
        source: A split.
        image_size: Side of the packed images [px]; None for the native one.
        resolution: The largest.
    """
    if source.encoded is None:
        return
    log = logging.getLogger(__name__)
    width, height = median_shape_px(source)
    seen = min(width, height) / max(width, height)
    if seen < _SEEN and source.fit == CROP:
        log.warning(
            "of the median image (%d x %d px) only the central square is seen, %.0f %% of it: --fit pad or "
            "--fit stretch keeps all of each",
            *(width, height, 100 * seen),
        )
    size_px = image_size or source.size_px
    native = median_side_px(source) if size_px < resolution else size_px
    if native > size_px:
        log.warning(
            "the images have %d px and are taken at %d, and the largest resolution is %d: train with "
            "--image-size %d to use what they show",
            *(native, size_px, resolution, min(native, resolution)),
        )


def decode_split(source: Source, image_size: int | None) -> Generator[PackProgress, None, PackedImages]:
    """Decode a split once and for all.

    Args:
        source: The split.
        image_size: Side of the images [px]; None for the native one.
    """
    size_px = image_size or source.size_px
    for progress in pack_images(source, default_pack_folder(source, size_px=size_px), size_px=size_px):
        yield progress
    assert progress.packed is not None
    return progress.packed


def decode_splits(
    data: DataSet, image_size: int | None
) -> Generator[FoundImages | PackProgress, None, tuple[PackedImages, PackedImages]]:
    """Decode the training images, and the half of the validation images that reports may look at.

    Yields:
        How many there are, then how many are decoded.

    Raises:
        DataError: One half has no image, or an image is corrupt.
    """
    check_halves(data)
    yield FoundImages(len(data.train), len(data.val), len(data.class_names), is_signal=data.train.axes == 1)
    train = yield from decode_split(data.train, image_size)
    val = yield from decode_split(data.val.subset(predictor_half(data.val)), image_size)
    return train, val


def save_trained(
    files: SupernetFiles,
    supernet: Supernet,
    data: DataSet,
    *,
    sizes: SplitSizes,
    normalization: Normalization,
    made_by: dict[str, Any],
    licence: str,
) -> None:
    """Write a supernet for the classes of a data set: weights, card, calibration and held-out images."""
    card = SupernetCard(
        space=supernet.space,
        data=data.name,
        class_names=data.class_names,
        input_mean=normalization.mean,
        input_std=normalization.std,
        sha256="",
        made_by=made_by,
        licence=licence,
        fit=data.train.fit,
    )
    save_images(files, data, sizes, image_size=made_by.get("image_size", 0))
    save_supernet(files, supernet, card)


def save_images(files: SupernetFiles, data: DataSet, sizes: SplitSizes, *, image_size: int = 0) -> None:
    """Write the calibration and the held-out sample beside a supernet's weights.

    Batch norms are calibrated on as many images of each class. What accuracy is measured on has the classes
    as often as the validation images do, as what a predictor learns from has.

    Args:
        files: Of the supernet.
        data: Its images.
        sizes: How many of them.
        image_size: Side [px] below which no larger image is cut.
    """
    rng = np.random.default_rng([sizes.seed, 5])
    classes = len(data.class_names)
    per_class = max(1, -(-sizes.calibration_sample // classes))
    calibration = balanced_indices(data.train.labels, per_class, rng)
    save_sample(files.calibration, data.train.at_least(image_size), calibration)
    held_out = data.val.subset(held_out_half(data.val))
    counts = np.bincount(data.val.labels, minlength=classes)
    chosen = proportional_indices(held_out.labels, sizes.held_out_sample, rng, counts=counts)
    save_sample(files.held_out, held_out.at_least(image_size), chosen)
