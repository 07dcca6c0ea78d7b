"""Fronts over all architectures, where worth and costs are tables and several costs are limited."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.search.chain import whole_front
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes

SHARES = (0.9, 0.7, 0.5, 0.3)  # of the first cost, in its mixtures with the others


def allowed(
    table: CostTable, costs: Sequence[CostTable], limits: Floats, *, forbidden: float = -np.inf
) -> CostTable:
    """A table with everything forbidden that breaks the limit of a peak by itself.

    Args:
        table: Of worth, or of a cost.
        costs: `k` of them.
        limits: `(k,)` the most of each.
        forbidden: What stands for it.
    """
    fixed, choices = table.fixed.copy(), table.choices.copy()
    for cost, limit in zip(costs, limits, strict=True):
        if cost.is_peak:
            fixed[(cost.fixed > limit).any(axis=1)] = forbidden
            choices[cost.choices > limit] = forbidden
    return replace(table, fixed=fixed, choices=choices)


def limited_sums(costs: Sequence[CostTable], limits: Floats) -> list[int]:
    """Which costs are sums that have a limit."""
    return [index for index, cost in enumerate(costs) if not cost.is_peak and np.isfinite(limits[index])]


def weigh(costs: Sequence[CostTable], weights: Mapping[int, float]) -> CostTable:
    """A weighted sum of some of the costs."""
    fixed: Floats = np.sum(
        [weight * costs[index].fixed.sum(axis=1) for index, weight in weights.items()], axis=0
    )
    choices: Floats = np.sum([weight * costs[index].choices for index, weight in weights.items()], axis=0)
    return CostTable(costs[0].encoding, fixed[:, None], choices)


def near_front(worth: CostTable, costs: Sequence[CostTable], limits: Floats) -> Genes:
    """The front against the first cost; where other sums are limited, also against mixtures with them.

    Args:
        worth: As `allowed` gives it.
        costs: The first is a sum.
        limits: `(k,)` the most of each.

    Returns:
        `(n, d)`; with one limited sum exactly the front, else architectures on both sides of the limits.
    """
    first = whole_front(worth, costs[0])
    found = [first.genes]
    limited = limited_sums(costs, limits)
    rest = [index for index in limited if index]
    if rest and len(first):
        scale = float(limits[0]) if 0 in limited else float(np.median(first.costs)) or 1.0
        for share in SHARES:
            others = {index: (1.0 - share) / len(rest) / limits[index] for index in rest}
            found.append(whole_front(worth, weigh(costs, {0: share / scale} | others)).genes)
    return np.concatenate(found)
