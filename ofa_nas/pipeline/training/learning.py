"""From a data set to a supernet, and beside it all that search, export and verification need offline."""

import logging
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import torch

from ofa_nas.data.dataset import open_like
from ofa_nas.data.packed import PackProgress
from ofa_nas.pipeline.training.training_run import (
    FoundImages,
    RunPlan,
    decode_splits,
    save_trained,
    warn_of_size,
)
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.starts import card_of_start
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.distributed import ALONE, Ranks
from ofa_nas.training.first_supernet import first_supernet
from ofa_nas.training.output_folder import CHECKPOINT, check_run_folder, locked_folder
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import SplitSizes, training_data
from ofa_nas.training.train import EpochReport, Report, train


@dataclass(frozen=True, slots=True)
class TrainingPlan(RunPlan):
    """What to train, on what, and where to leave it: `supernet.safetensors` in the run folder.

    Attributes:
        space: Search space, by name or TOML file; None for that of the start.
        data: Data set, as `open_data` takes it.
        start: Supernet or pretrained network, as `open_start` takes it, or None.
        sizes: Of the images that serve beside training.
    """

    space: str | None
    data: str
    start: str | None
    sizes: SplitSizes


@dataclass(frozen=True, slots=True)
class TrainedSupernet:
    """The end of a training.

    Attributes:
        files: Weights, card, calibration images and held-out images.
        history: One report an epoch, those before a resume too.
        licence: Terms of the weights that it began with; empty where nobody stated them.
    """

    files: SupernetFiles
    history: tuple[EpochReport, ...]
    licence: str


def train_supernet(
    plan: TrainingPlan, *, device: torch.device, ranks: Ranks = ALONE
) -> Generator[FoundImages | PackProgress | Report | TrainedSupernet, None, None]:
    """Decode, train and save; the last record is the supernet.

    Closing the generator between two reports leaves a checkpoint to resume from.

    Args:
        plan: What to train.
        device: Of this process.
        ranks: This process among those that train together; the others yield no epochs and no supernet.

    Raises:
        ConfigError: The run folder holds another training, or one is at work there.
        FileError: It cannot be written.
        SpaceError: The search space is wrong.
        DataError: The data are wrong.
        CheckpointError: There is nothing to resume from.
        TrainingError: The loss is not a number.
        LeftAloneError: Another process ended.
    """
    with locked_folder(plan.folder) if ranks.is_first else nullcontext():
        yield from _train(plan, device=device, ranks=ranks)


def _train(
    plan: TrainingPlan, *, device: torch.device, ranks: Ranks
) -> Generator[FoundImages | PackProgress | Report | TrainedSupernet, None, None]:
    with ranks.in_turn():  # the first one decodes for all
        checkpoint = check_run_folder(plan.folder, CHECKPOINT, resume=plan.resume, work="training")
        history = plan.history(EpochReport)
        start = None if plan.start is None else card_of_start(plan.start)
        data = open_like(plan.data, start, fit=plan.fit)
        first = first_supernet(plan.space, data, start=plan.start, recipe=plan.recipe, device=device)
        if ranks.is_first:
            warn_of_size(data.train, plan.image_size, max(first.supernet.space.resolutions))
            _warn_of_untrained(plan.recipe, first.supernet.space)
        packs = yield from decode_splits(data, plan.image_size)
    prepared = training_data(*packs, plan.sizes, normalization=first.normalization)
    reports = train(
        first.supernet,
        prepared,
        plan.recipe,
        checkpointing=plan.checkpointing(checkpoint, first.start),
        ranks=ranks,
    )
    if not ranks.is_first:
        yield from reports
        return
    epochs, rates = yield from history.keep(reports)
    made_by = plan.made_by(first.start, rates) | {"history": [asdict(report) for report in epochs]}
    files = SupernetFiles(plan.folder / "supernet.safetensors")
    save_trained(
        files,
        first.supernet,
        data,
        sizes=plan.sizes,
        normalization=prepared.normalization,
        made_by=made_by,
        licence=first.licence,
    )
    yield TrainedSupernet(files, epochs, first.licence)


def _warn_of_untrained(recipe: Recipe, space: SearchSpace) -> None:
    if not recipe.draws_all_of(space):
        logging.getLogger(__name__).warning(
            "recipe %s: no phase draws random_subnets of the whole space (all its resolutions, kernel_sizes, "
            "depths and expand_ratios): the others are never trained",
            recipe.name,
        )
