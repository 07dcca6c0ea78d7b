"""From names on a command line to what `train` takes: decoded splits, and a supernet with first weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ofa_nas.data import DataSet, Normalization, Source
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import ConfigError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import Start, open_start, start_supernet
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.distributed import local_rank
from ofa_nas.training.pretrain import FEATURES, new_head
from ofa_nas.training.train import TrainingData

DEFAULT_SPACE = "efficientnet_lite"


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many images serve beside training; all are drawn by `seed`.

    Attributes:
        reports: Validation images of the reports after each epoch.
        calibration: Training images of the batch norm statistics in those reports.
        calibration_sample: Training images that are kept beside the supernet for calibration.
        held_out_sample: Validation images that are kept beside it for verification.
        seed: Of the draws.
    """

    reports: int = 1000
    calibration: int = 500
    calibration_sample: int = 600
    held_out_sample: int = 2000
    seed: int = 0


def predictor_half(val: Source) -> npt.NDArray[np.int64]:
    """Indices of the half of the validation images that reports and predictors may look at."""
    return np.flatnonzero(_halves(val.labels) == 0)


def held_out_half(val: Source) -> npt.NDArray[np.int64]:
    """Indices of the other half, that only verification looks at."""
    return np.flatnonzero(_halves(val.labels) == 1)


def _halves(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 or 1 for each image, half of every class each; the same for the same labels, whatever the seed."""
    halves = np.empty(len(labels), dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        halves[of_class] = (np.arange(len(of_class)) + label) % 2
    return halves


def training_data(
    train: PackedImages, val: PackedImages, sizes: SplitSizes, *, normalization: Normalization
) -> TrainingData:
    """Draw the images of the reports and of the calibration."""
    rng = np.random.default_rng([sizes.seed, 2])
    held_out = np.sort(rng.permutation(len(val))[: sizes.reports])
    calibration = rng.permutation(len(train))[: sizes.calibration]
    return TrainingData(
        train=train,
        held_out=val.subset(held_out),
        calibration=train.subset(calibration).images,
        normalization=normalization,
    )


@dataclass(frozen=True, slots=True)
class FirstSupernet:
    """A supernet before its training.

    Attributes:
        supernet: On the device of the training.
        normalization: That of its start; its inputs are to be normalised so from now on.
        start: What its weights come from, for the card.
        classes: That its start, or its search space, has.
    """

    supernet: Supernet
    normalization: Normalization
    start: str
    classes: int


def first_supernet(
    space: str | None, data: DataSet, *, start: str | None, seed: int, device: torch.device
) -> FirstSupernet:
    """A supernet for the classes of a data set, from noise or from what exists.

    Args:
        space: Search space, by name or TOML file; None for that of the start, `DEFAULT_SPACE` without one.
        data: Its classes become the outputs.
        start: As `open_start` takes it, or None.
        seed: Of the weights that are drawn.
        device: Where the supernet is to be.

    Raises:
        ConfigError: There is no such start, or it belongs to another space.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    return _first(space, data.train.class_ids, data.class_names, start=start, seed=seed, device=device)


def first_encoder(space: str | None, *, start: str | None, seed: int, device: torch.device) -> FirstSupernet:
    """A supernet to be pretrained without labels, from noise or from what exists: a new head, no classes.

    Args:
        space: As `first_supernet` takes it.
        start: As `first_supernet` takes it.
        seed: Of the weights that are drawn.
        device: Where the supernet is to be.

    Raises:
        ConfigError: There is no such start, or it belongs to another space.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    names = tuple(f"feature {index}" for index in range(FEATURES))
    first = _first(space, (), names, start=start, seed=seed, device=device)
    new_head(first.supernet, torch.Generator().manual_seed(seed))
    return first


def _first(
    space: str | None,
    class_ids: Sequence[str],
    class_names: Sequence[str],
    *,
    start: str | None,
    seed: int,
    device: torch.device,
) -> FirstSupernet:
    generator = torch.Generator().manual_seed(seed)
    if start is None:
        named = SearchSpace.load(space or DEFAULT_SPACE)
        supernet = Supernet(named.with_classes(len(class_names)), generator)
        first = FirstSupernet(supernet, Normalization(), "random weights", named.classes)
    else:
        own = open_start(start)
        if space is not None:
            own.check_space(SearchSpace.load(space))
        supernet = start_supernet(own, class_ids=class_ids, class_names=class_names, generator=generator)
        first = FirstSupernet(supernet, _normalization(own), own.name, own.space.classes)
    first.supernet.to(device)
    first.supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return first


def _normalization(start: Start) -> Normalization:
    (r, g, b), (r_std, g_std, b_std) = start.input_mean, start.input_std
    return Normalization((r, g, b), (r_std, g_std, b_std))


def pick_device(name: str) -> torch.device:
    """The torch device of a name: `auto`, `cpu`, `cuda`, `cuda:1`.

    `auto` is this process's own CUDA device where several were started together.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        return torch.device(f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here")
    return device
