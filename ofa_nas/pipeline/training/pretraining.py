"""From images without labels to a supernet that a training can start from."""

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace

import torch

from ofa_nas.data import check_input
from ofa_nas.data.dataset import fitted
from ofa_nas.data.packed import PackProgress
from ofa_nas.data.unlabelled import UnlabelledImages, open_unlabelled
from ofa_nas.errors import DataError
from ofa_nas.pipeline.training.training_run import RunPlan, decode_split, warn_of_size
from ofa_nas.supernet.checkpoint import save_supernet
from ofa_nas.supernet.starts import card_of_start
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.first_supernet import FirstSupernet, first_encoder
from ofa_nas.training.losses import load_loss
from ofa_nas.training.output_folder import CHECKPOINT, check_run_folder, locked_folder
from ofa_nas.training.pretrain import PretrainingReport, pretrain
from ofa_nas.training.state import EpochEnd, RateChange


@dataclass(frozen=True, slots=True)
class PretrainingPlan(RunPlan):
    """What to pretrain, on what, and where to leave it: `supernet.safetensors` in the run folder.

    Attributes:
        space: Search space, by name or TOML file; None for that of the start.
        data: Images, as `open_unlabelled` takes them.
        start: Supernet or pretrained network, as `open_start` takes it, or None.
        loss: As `load_loss` takes it.
    """

    space: str | None
    data: str
    start: str | None
    loss: str


@dataclass(frozen=True, slots=True)
class PretrainedSupernet:
    """The end of a pretraining.

    Attributes:
        files: Weights and card; there are no labels to keep images for.
        history: One report an epoch, those before a resume too.
        licence: Terms of the weights that it began with; empty where nobody stated them.
    """

    files: SupernetFiles
    history: tuple[EpochEnd, ...]
    licence: str


def pretrain_supernet(
    plan: PretrainingPlan, *, device: torch.device
) -> Generator[PackProgress | PretrainingReport | PretrainedSupernet, None, None]:
    """Decode, train and save; the last record is the supernet.

    Its classifier is random, with as many classes as its search space: `ofa-nas train --from` makes its own.
    Closing the generator between two reports leaves a checkpoint to resume from.

    Args:
        plan: What to pretrain.
        device: To train on.

    Raises:
        ConfigError: The run folder holds another training, or one is at work there; there is no such loss,
            start or data.
        FileError: It cannot be written.
        SpaceError: The search space is wrong.
        DataError: The data are wrong, or signals.
        CheckpointError: There is nothing to resume from.
        TrainingError: The loss is not a number.
    """
    with locked_folder(plan.folder):
        yield from _pretrain(plan, device=device)


def _pretrain(
    plan: PretrainingPlan, *, device: torch.device
) -> Generator[PackProgress | PretrainingReport | PretrainedSupernet, None, None]:
    checkpoint = check_run_folder(plan.folder, CHECKPOINT, resume=plan.resume, work="training")
    history = plan.history(EpochEnd)
    load_loss(plan.loss)
    data = open_unlabelled(plan.data)
    if data.source.axes == 1:
        raise DataError(
            f"data {data.name}: are signals, and pretraining makes views of images; ofa-nas train takes "
            "signals, with labels"
        )
    start = None if plan.start is None else card_of_start(plan.start)
    data = replace(data, source=fitted(data.source, start, fit=plan.fit))
    first = first_encoder(plan.space, start=plan.start, recipe=plan.recipe, device=device)
    check_input(data.source, first.supernet.space)
    warn_of_size(data.source, plan.image_size, max(first.supernet.space.resolutions))
    images = yield from decode_split(data.source, plan.image_size)
    reports = pretrain(
        first.supernet,
        images,
        plan.recipe,
        loss=plan.loss,
        normalization=first.normalization,
        checkpointing=plan.checkpointing(checkpoint, first.start),
    )
    epochs, rates = yield from history.keep(reports)
    files = SupernetFiles(plan.folder / "supernet.safetensors")
    supernet = with_classifier(first.supernet, first.classes, seed=plan.recipe.seed)
    _save(files, supernet, data, plan, first=first, epochs=epochs, rates=rates)
    yield PretrainedSupernet(files, epochs, first.licence)


def with_classifier(encoder: Supernet, classes: int, *, seed: int) -> Supernet:
    """A copy of a supernet with a random classifier for so many classes in place of its own."""
    supernet = Supernet(encoder.space.with_classes(classes), torch.Generator().manual_seed(seed))
    own = supernet.state_dict()
    with torch.no_grad():
        for name, value in encoder.state_dict().items():
            if not name.startswith("layers.classifier."):
                own[name].copy_(value)
    return supernet


def _save(
    files: SupernetFiles,
    supernet: Supernet,
    data: UnlabelledImages,
    plan: PretrainingPlan,
    *,
    first: FirstSupernet,
    epochs: tuple[EpochEnd, ...],
    rates: list[RateChange],
) -> None:
    card = SupernetCard(
        space=supernet.space,
        data=data.name,
        class_names=tuple(f"untrained {index}" for index in range(supernet.space.classes)),
        input_mean=first.normalization.mean,
        input_std=first.normalization.std,
        sha256="",
        made_by={
            "loss": plan.loss,
            **plan.made_by(first.start, rates),
            "history": [asdict(report) for report in epochs],
        },
        licence=first.licence,
        fit=data.source.fit,
    )
    save_supernet(files, supernet, card)
