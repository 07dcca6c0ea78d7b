"""A supernet before its training: from random weights or from what exists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ofa_nas.assets import DEFAULT_SPACE
from ofa_nas.data import DataSet, Normalization, check_input, space_for
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import Start, open_start, start_supernet
from ofa_nas.supernet.supernet import Supernet, place, scale_branches
from ofa_nas.training.pretrain import FEATURES, new_head
from ofa_nas.training.recipe import Recipe

LEAST_STD = 1e-6  # of the values of a sensor, or it says nothing


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
    licence: str = ""


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
        ConfigError: There is no such start, or the space has other weights.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    if start is None:
        named = space_for(SearchSpace.load(space or DEFAULT_SPACE), data)
        return _fresh(named, named.classes, own_normalization(data), recipe=recipe, device=device)
    own = open_start(start, space=space)
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
        ConfigError: There is no such start, or the space has other weights.
        SpaceError: There is no such space.
        CheckpointError: The start is damaged.
    """
    names = tuple(f"feature {index}" for index in range(FEATURES))
    if start is None:
        named = SearchSpace.load(space or DEFAULT_SPACE)
        wide = named.with_classes(FEATURES)
        first = _fresh(wide, named.classes, Normalization(), recipe=recipe, device=device)
    else:
        first = _started(open_start(start, space=space), (), names, seed=recipe.seed, device=device)
    new_head(first.supernet, torch.Generator().manual_seed(recipe.seed))
    return first


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
    placed, classes = place(supernet, device), own.space.classes
    return FirstSupernet(placed, _normalization(own), own.name, classes, own.licence)


def _normalization(start: Start) -> Normalization:
    return Normalization(tuple(start.input_mean), tuple(start.input_std))


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
