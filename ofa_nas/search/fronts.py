"""Fronts over all architectures, where worth and costs are tables and several costs are limited."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.search.chain import whole_front
from ofa_nas.search.problem import Floats, Tables
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes

SHARES = (0.9, 0.7, 0.5, 0.3)  # of the first cost, in its mixtures with the others


def allowed(worth: CostTable, tables: Tables, limits: Floats) -> CostTable:
    """Worth with everything forbidden that breaks the limit of a peak by itself."""
    fixed, choices = worth.fixed.copy(), worth.choices.copy()
    for cost, is_peak, limit in zip(tables.costs, tables.is_peak, limits, strict=True):
        if is_peak:
            fixed[(cost.fixed > limit).any(axis=1)] = -np.inf
            choices[cost.choices > limit] = -np.inf
    return replace(worth, fixed=fixed, choices=choices)


def limited_sums(tables: Tables, limits: Floats) -> list[int]:
    """Which costs are sums that have a limit."""
    return [
        index for index, is_peak in enumerate(tables.is_peak) if not is_peak and np.isfinite(limits[index])
    ]


def weigh(costs: Sequence[CostTable], weights: Mapping[int, float]) -> CostTable:
    """A weighted sum of some of the costs."""
    fixed: Floats = np.sum(
        [weight * costs[index].fixed.sum(axis=1) for index, weight in weights.items()], axis=0
    )
    choices: Floats = np.sum([weight * costs[index].choices for index, weight in weights.items()], axis=0)
    return CostTable(costs[0].encoding, fixed[:, None], choices)


def near_front(worth: CostTable, tables: Tables, limits: Floats) -> Genes:
    """The front against the first cost; where other sums are limited, also against mixtures with them.

    Args:
        worth: As `allowed` gives it.
        tables: The costs; the first is a sum.
        limits: `(k,)` the most of each.

    Returns:
        `(n, d)`; with one limited sum exactly the front, else architectures on both sides of the limits.
    """
    first = whole_front(worth, tables.costs[0])
    found = [first.genes]
    limited = limited_sums(tables, limits)
    rest = [index for index in limited if index]
    if rest and len(first):
        scale = float(limits[0]) if 0 in limited else float(np.median(first.costs))
        for share in SHARES:
            others = {index: (1.0 - share) / len(rest) / limits[index] for index in rest}
            found.append(whole_front(worth, weigh(tables.costs, {0: share / scale} | others)).genes)
    return np.concatenate(found)
