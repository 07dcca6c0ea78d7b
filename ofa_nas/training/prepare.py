"""From names on a command line to what `train` takes: decoded splits, and a supernet with first weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ofa_nas.data import DataSet, Normalization, Source, check_input
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import Start, open_start, start_supernet
from ofa_nas.supernet.starts import DEFAULT_SPACE, check_space
from ofa_nas.supernet.supernet import Supernet, place, scale_branches
from ofa_nas.training.pretrain import FEATURES, new_head
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.train import TrainingData

LEAST_STD = 1e-6  # of the values of a sensor, or it says nothing


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
    return np.flatnonzero(_halves(val) == 0)


def held_out_half(val: Source) -> npt.NDArray[np.int64]:
    """Indices of the other half, that only verification looks at."""
    return np.flatnonzero(_halves(val) == 1)


def _halves(val: Source) -> npt.NDArray[np.int64]:
    """0 or 1 for each image, half of every class each; the same for the same labels, whatever the seed.

    Images that hang together, as windows of one person do, stay together: every other group is 1.
    """
    labels = val.labels
    if val.groups is not None and len(np.unique(val.groups)) > 1:
        return np.unique(val.groups, return_inverse=True)[1] % 2
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
    space: str | None, data: DataSet, *, start: str | None, recipe: Recipe, device: torch.device
) -> FirstSupernet:
    """A supernet for the classes of a data set, from noise or from what exists.

    Args:
        space: Search space, by name or TOML file; None for that of the start, `DEFAULT_SPACE` without one.
        data: Its classes become the outputs.
        start: As `open_start` takes it, or None.
        recipe: Its seed and its branches' scale are those of the weights that are drawn.
        device: Where the supernet is to be.

    Raises:
        ConfigError: There is no such start, or it belongs to another space.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    if start is None:
        named = _space_for(SearchSpace.load(space or DEFAULT_SPACE), data)
        return _fresh(named, named.classes, own_normalization(data), recipe=recipe, device=device)
    own = _opened(start, space)
    check_input(data.train, own.space)
    return _started(own, data.train.class_ids, data.class_names, seed=recipe.seed, device=device)


def first_encoder(
    space: str | None, *, start: str | None, recipe: Recipe, device: torch.device
) -> FirstSupernet:
    """A supernet to be pretrained without labels, from noise or from what exists: a new head, no classes.

    Args:
        space: As `first_supernet` takes it.
        start: As `first_supernet` takes it.
        recipe: As `first_supernet` takes it.
        device: Where the supernet is to be.

    Raises:
        ConfigError: There is no such start, or it belongs to another space.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    names = tuple(f"feature {index}" for index in range(FEATURES))
    if start is None:
        named = SearchSpace.load(space or DEFAULT_SPACE)
        wide = named.with_classes(FEATURES)
        first = _fresh(wide, named.classes, Normalization(), recipe=recipe, device=device)
    else:
        first = _started(_opened(start, space), (), names, seed=recipe.seed, device=device)
    new_head(first.supernet, torch.Generator().manual_seed(recipe.seed))
    return first


def _opened(start: str, space: str | None) -> Start:
    own = open_start(start)
    if space is not None:
        check_space(SearchSpace.load(space), own.space, start=own.name)
    return own


def _fresh(
    space: SearchSpace, classes: int, normalization: Normalization, *, recipe: Recipe, device: torch.device
) -> FirstSupernet:
    supernet = Supernet(space, torch.Generator().manual_seed(recipe.seed))
    scale_branches(supernet, recipe.branch_scale)
    return FirstSupernet(place(supernet, device), normalization, "random weights", classes)


def _started(
    own: Start, class_ids: Sequence[str], class_names: Sequence[str], *, seed: int, device: torch.device
) -> FirstSupernet:
    generator = torch.Generator().manual_seed(seed)
    supernet = start_supernet(own, class_ids=class_ids, class_names=class_names, generator=generator)
    return FirstSupernet(place(supernet, device), _normalization(own), own.name, own.space.classes)


def _normalization(start: Start) -> Normalization:
    return Normalization(tuple(start.input_mean), tuple(start.input_std))


def _space_for(space: SearchSpace, data: DataSet) -> SearchSpace:
    """The space with the classes of a data set, and with the channels of its signals."""
    own = space.with_classes(len(data.class_names))
    if data.train.axes == own.axes == 1:
        own = own.with_channels(data.train.channels)
    check_input(data.train, own)
    return own


def own_normalization(data: DataSet) -> Normalization:
    """The normalisation of a new network: of images the usual one, of signals their own, by channel.

    Args:
        data: Of which the training windows alone are looked at.
    """
    source = data.train
    if source.axes == 2:
        return Normalization()
    count, total, squares = 0, np.zeros(source.channels), np.zeros(source.channels)
    for index in range(len(source)):
        window = source.pixels(index)[0].astype(np.float64)
        count, total, squares = count + len(window), total + window.sum(0), squares + (window**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std < LEAST_STD * (1.0 + np.abs(mean))] = 1.0  # a sensor that never changes
    return Normalization(tuple(map(float, mean)), tuple(map(float, std)))
