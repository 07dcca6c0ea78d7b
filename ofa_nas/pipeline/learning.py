"""From a data set to a supernet, and beside it all that search, export and verification need offline."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofa_nas.data import DataSet, Normalization, Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackProgress, default_pack_folder, pack_images
from ofa_nas.data.sample import balanced_indices, save_sample
from ofa_nas.provenance import record_provenance
from ofa_nas.supernet.checkpoint import save_supernet
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.distributed import Ranks
from ofa_nas.training.history import History
from ofa_nas.training.loop import CHECKPOINT, Checkpointing, check_run_folder
from ofa_nas.training.prepare import (
    SplitSizes,
    first_supernet,
    held_out_half,
    predictor_half,
    training_data,
)
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.train import EpochReport, Report, train

_ALONE = Ranks()


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train, on what, and where to leave it.

    Attributes:
        space: Search space, by name or TOML file; None for that of the start.
        data: Data set, as `open_data` takes it.
        start: Supernet or pretrained network, as `open_start` takes it, or None.
        recipe: Every number of the training.
        sizes: Of the images that serve beside training.
        folder: Run folder; the supernet becomes `supernet.safetensors` there.
        image_size: Side of the packed images [px]; None for the native one.
        resume: Continue from the checkpoint in the run folder.
        checkpoint_minutes: Minutes between checkpoints.
        has_tensorboard: Write scalars for TensorBoard into the run folder.
    """

    space: str | None
    data: str
    start: str | None
    recipe: Recipe
    sizes: SplitSizes
    folder: Path
    image_size: int | None = None
    resume: bool = False
    checkpoint_minutes: float = 5.0
    has_tensorboard: bool = False


@dataclass(frozen=True, slots=True)
class TrainedSupernet:
    """The end of a training.

    Attributes:
        files: Weights, card, calibration images and held-out images.
        history: One report an epoch, those before a resume too.
    """

    files: SupernetFiles
    history: tuple[EpochReport, ...]


def train_supernet(
    plan: TrainingPlan, *, device: torch.device, ranks: Ranks = _ALONE
) -> Generator[PackProgress | Report | TrainedSupernet, None, None]:
    """Decode, train and save; the last record is the supernet.

    Closing the generator between two reports leaves a checkpoint to resume from.

    Args:
        plan: What to train.
        device: Of this process.
        ranks: This process among those that train together; the others yield no epochs and no supernet.

    Raises:
        ConfigError: The run folder holds another training.
        FileError: It cannot be written.
        SpaceError: The search space is wrong.
        DataError: The data are wrong.
        CheckpointError: There is nothing to resume from.
        TrainingError: The loss is not a number.
    """
    checkpoint = check_run_folder(plan.folder, CHECKPOINT, resume=plan.resume, work="training")
    data = open_data(plan.data)
    first = first_supernet(plan.space, data, start=plan.start, recipe=plan.recipe, device=device)
    if not ranks.is_first:
        ranks.wait()  # the first one decodes for all
    packs = []
    for source in (data.train, data.val.subset(predictor_half(data.val))):
        for progress in pack_split(source, plan.image_size):
            yield progress
            if progress.packed is not None:
                packs.append(progress.packed)
    if ranks.is_first:
        ranks.wait()
    prepared = training_data(packs[0], packs[1], plan.sizes, normalization=first.normalization)
    reports = train(
        first.supernet,
        prepared,
        plan.recipe,
        checkpointing=Checkpointing(checkpoint, plan.resume, plan.checkpoint_minutes, first.start),
        ranks=ranks,
    )
    if not ranks.is_first:
        yield from reports
        return
    with (
        closing(History(plan.folder, EpochReport, has_tensorboard=plan.has_tensorboard)) as history,
        closing(reports),
    ):
        for report in reports:
            history.add(report)
            yield report
    epochs = history.epochs()
    made_by = {
        "recipe": asdict(plan.recipe),
        "start": first.start,
        "history": [asdict(report) for report in epochs],
        "provenance": record_provenance(seed=plan.recipe.seed).to_json(),
    }
    files = SupernetFiles(plan.folder / "supernet.safetensors")
    save_trained(
        files,
        first.supernet,
        data,
        sizes=plan.sizes,
        normalization=prepared.normalization,
        made_by=made_by,
    )
    yield TrainedSupernet(files, epochs)


def pack_split(source: Source, image_size: int | None) -> Iterator[PackProgress]:
    """Decode a split once and for all; side of the images [px], None for the native one."""
    size_px = image_size or source.size_px
    return pack_images(source, default_pack_folder(source, size_px=size_px), size_px=size_px)


def save_trained(
    files: SupernetFiles,
    supernet: Supernet,
    data: DataSet,
    *,
    sizes: SplitSizes,
    normalization: Normalization,
    made_by: dict[str, Any],
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
    )
    save_images(files, data, sizes)
    save_supernet(files, supernet, card)


def save_images(files: SupernetFiles, data: DataSet, sizes: SplitSizes) -> None:
    """Write the calibration and the held-out sample beside a supernet's weights, as many of each class."""
    rng = np.random.default_rng([sizes.seed, 5])
    held_out = data.val.subset(held_out_half(data.val))
    for source, path, count in (
        (data.train, files.calibration, sizes.calibration_sample),
        (held_out, files.held_out, sizes.held_out_sample),
    ):
        per_class = max(1, -(-count // len(data.class_names)))
        save_sample(path, source, balanced_indices(source.labels, per_class, rng))
