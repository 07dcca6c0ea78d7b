"""What no other point beats. Everything is minimised."""

import numpy as np

from ofa_nas.arrays import Flags, Floats
from ofa_nas.errors import ConfigError


def non_dominated(objectives: Floats) -> Flags:
    """Which points no other point dominates; equal points stand or fall together.

    A point dominates another when it is nowhere larger and somewhere smaller.

    Args:
        objectives: `(n, m)` float64, minimised.

    Returns:
        `(n,)` flags.

    Raises:
        ConfigError: An objective is NaN.
    """
    _check(objectives)
    if objectives.shape[1] == 2:
        return _non_dominated_pairs(objectives)
    order = np.lexsort(objectives.T[::-1])
    rows = objectives[order]
    # In lexicographic order only earlier points dominate, so a survivor, once reached, is on the front.
    alive = np.arange(len(rows))
    front: list[int] = []
    while len(alive):
        head = rows[alive[0]]
        equal = (rows[alive] == head).all(axis=1)
        front += alive[equal].tolist()
        alive = alive[(rows[alive] < head).any(axis=1)]
    flags = np.zeros(len(rows), dtype=np.bool_)
    flags[order[front]] = True
    return flags


def _non_dominated_pairs(objectives: Floats) -> Flags:
    order = np.lexsort((objectives[:, 1], objectives[:, 0]))
    first, second = objectives[order].T
    before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    is_repeat = np.concatenate([[False], (first[1:] == first[:-1]) & (second[1:] == second[:-1])])
    keep = second < before
    # A repeat of a point shares the verdict of the first of its kind.
    kind = np.maximum.accumulate(np.where(is_repeat, 0, np.arange(len(order))))
    flags = np.empty(len(order), dtype=np.bool_)
    flags[order] = keep[kind]
    return flags


def _check(objectives: Floats) -> None:
    if np.isnan(objectives).any():
        place = np.argwhere(np.isnan(objectives))[0].tolist()
        raise ConfigError(
            f"objectives: NaN in place {place}, which is neither better nor worse; expected numbers"
        )
