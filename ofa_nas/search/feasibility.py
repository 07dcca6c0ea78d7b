"""Whether budgets can be met at all, before anything is searched, and which of them bind, afterwards.

One budget is decided exactly from its cost table. Several are decided by weighing them together: for any
weights the least weighted cost is exact, and one above the weighted limits proves that nothing meets them
all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.errors import BudgetError
from ofa_nas.search.budgets import KINDS, Budget, format_amount, format_share
from ofa_nas.search.methods import evolution, exact, strongest_method
from ofa_nas.search.polish import MIN_GAIN, is_improvable
from ofa_nas.search.problem import Floats, Problem, Scored
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes

WEIGHINGS = 60  # weights tried before a search takes over
MAX_EVALUATIONS = 60_000  # of that search
STEP = 2.0  # of the weights, per relative excess


@dataclass(frozen=True)
class BudgetedCost:
    """A budget and the table of what it limits."""

    budget: Budget
    table: CostTable

    @property
    def is_peak(self) -> bool:
        """A network costs as much as its largest layer, not as their sum."""
        return KINDS[self.budget.name].is_peak

    def values(self, genes: Genes) -> Floats:
        """Costs of architectures `(n, d)`: `(n,)` in the budget's unit."""
        return self.table.peak(genes) if self.is_peak else self.table.total(genes)

    @property
    def largest(self) -> float:
        """The most that any architecture costs, exactly."""
        reduce = np.max if self.is_peak else np.sum
        rows = []
        for fixed, choices in zip(self.table.fixed, self.table.choices, strict=True):
            most = np.nanmax(choices[:, 1:], axis=1)
            stages = [
                max(reduce(most[span.start - 1 : span.start - 1 + depth]) for depth in stage.depths)
                for span, stage in zip(
                    self.table.encoding.spans, self.table.encoding.space.stages, strict=True
                )
            ]
            rows.append(float(reduce([reduce(fixed), *stages])))
        return max(rows)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a budget can do.

    Attributes:
        budget: The budget.
        smallest: The least that any architecture costs, exactly, in the budget's unit.
        smallest_arch: One that costs so little.
        largest: The most that any costs, exactly.
    """

    budget: Budget
    smallest: float
    smallest_arch: Architecture
    largest: float

    @property
    def is_loose(self) -> bool:
        """Every architecture of the space keeps it."""
        return self.largest <= self.budget.searched_limit


@dataclass(frozen=True)
class Feasibility:
    """Budgets that can be met.

    Attributes:
        reaches: One for each budget.
        witness: `(1, d)` genes of an architecture that meets them all: a seed for the search.
    """

    reaches: tuple[Reach, ...]
    witness: Genes


def check_budgets(costs: Sequence[BudgetedCost], *, rng: np.random.Generator) -> Feasibility:
    """Find an architecture within all budgets, or say why there is none.

    Args:
        costs: One or more, of one encoding; infinite limits are allowed.
        rng: For the search that decides what weighing cannot.

    Raises:
        BudgetError: Names each budget that nothing meets with its smallest reachable value; or, when each can
            be met but not all at once, the nearest architecture.
    """
    encoding = costs[0].table.encoding
    reaches = tuple(_reach(cost) for cost in costs)
    beyond = [reach for reach in reaches if reach.smallest > reach.budget.searched_limit]
    if beyond:
        raise BudgetError("; ".join(_describe_unreachable(reach, encoding) for reach in beyond))
    nearest, is_proven = _nearest(encoding, costs, rng)
    if _excess(costs, nearest)[0] > 1.0:
        raise BudgetError(_describe_conflict(encoding, costs, nearest, is_proven=is_proven))
    return Feasibility(reaches, nearest)


def binding_budgets(problem: Problem, best: Scored) -> tuple[bool, ...]:
    """Which limits keep the answer from being better.

    Limits are lifted one after the other. One that gains nothing is left out from then on and does not bind;
    so of two that forbid the same architectures, the last binds. What could be gained is known where the
    exact method applies; elsewhere swaps of single stages tell of a gain, and may miss one.

    Args:
        problem: With limits and swaps.
        best: One row, the answer of a search.

    Returns:
        One flag for each of the `k` limits.
    """
    limits = problem.limits.copy()
    for index in range(len(limits)):
        lifted = limits.copy()
        lifted[index] = np.inf
        if np.isfinite(limits[index]) and not _can_gain(replace(problem, limits=lifted), best):
            limits = lifted
    return tuple(bool(limit) for limit in np.isfinite(limits))


def _can_gain(problem: Problem, best: Scored) -> bool:
    if strongest_method(problem) != "exact":
        return is_improvable(problem, best)
    *_, last = exact.search(replace(problem, seeds=best.genes), rng=np.random.default_rng(0))
    assert last.best is not None
    return bool(last.best.errors[0] < best.errors[0] - MIN_GAIN)


def _reach(cost: BudgetedCost) -> Reach:
    arch = cost.table.smallest(is_peak=cost.is_peak)
    smallest = float(cost.values(cost.table.encoding.encode([arch]))[0])
    return Reach(cost.budget, smallest, arch, cost.largest)


def _excess(costs: Sequence[BudgetedCost], genes: Genes) -> Floats:
    """Largest cost over its limit of architectures `(n, d)`, `(n,)`; 1 or less keeps every budget."""
    ratios = np.stack([cost.values(genes) / cost.budget.searched_limit for cost in costs])
    return np.asarray(ratios.max(axis=0))


def _nearest(
    encoding: Encoding, costs: Sequence[BudgetedCost], rng: np.random.Generator
) -> tuple[Genes, bool]:
    """The architecture `(1, d)` of least excess found, and whether it is proven that nothing is feasible."""
    sums = [cost for cost in costs if not cost.is_peak and np.isfinite(cost.budget.limit)]
    peaks = [cost for cost in costs if cost.is_peak]
    seen = [encoding.encode([cost.table.smallest(is_peak=cost.is_peak)]) for cost in costs]
    weights = np.full(len(sums), 1.0 / max(1, len(sums)))
    for _ in range(WEIGHINGS if sums else 0):
        table = _weighed(encoding, sums, peaks, weights)
        genes = encoding.encode([table.smallest()])
        seen.append(genes)
        if _excess(costs, genes)[0] <= 1.0:
            return genes, False
        # Above 1 by more than rounding: the weighted costs of every architecture exceed the weighted limits.
        if table.total(genes)[0] > 1.0 + 1e-9:
            return _search_nearest(encoding, costs, np.concatenate(seen), rng), True
        ratios = np.array([cost.values(genes)[0] / cost.budget.searched_limit for cost in sums])
        weights = weights * np.exp(STEP * (ratios - ratios.max()))
        weights = np.maximum(weights / weights.sum(), 1e-6)
    if _excess(costs, _least(costs, seen))[0] > 1.0:
        seen.append(_search_nearest(encoding, costs, np.concatenate(seen), rng))
    return _least(costs, seen), False


def _least(costs: Sequence[BudgetedCost], seen: list[Genes]) -> Genes:
    genes = np.concatenate(seen)
    return genes[[int(np.argmin(_excess(costs, genes)))]]


def _weighed(
    encoding: Encoding, sums: list[BudgetedCost], peaks: list[BudgetedCost], weights: Floats
) -> CostTable:
    """Weighted sum of costs over limits; what breaks a peak budget alone costs infinitely much."""
    shares = [weight / cost.budget.searched_limit for weight, cost in zip(weights, sums, strict=True)]
    fixed = sum(share * cost.table.fixed.sum(axis=1) for share, cost in zip(shares, sums, strict=True))
    choices = sum(share * cost.table.choices for share, cost in zip(shares, sums, strict=True))
    fixed, choices = np.array(fixed)[:, None], np.array(choices)
    for cost in peaks:
        choices[cost.table.choices > cost.budget.searched_limit] = np.inf
        fixed[(cost.table.fixed > cost.budget.searched_limit).any(axis=1)] = np.inf
    return CostTable(encoding, fixed, choices)


def _search_nearest(
    encoding: Encoding, costs: Sequence[BudgetedCost], seeds: Genes, rng: np.random.Generator
) -> Genes:
    def excess(genes: Genes) -> Floats:
        return _excess(costs, genes)

    def first_cost(genes: Genes) -> Floats:
        return costs[0].values(genes)[:, None]

    problem = Problem(encoding, excess, first_cost, np.array([np.inf]), (costs[0].budget.name,), seeds=seeds)
    nearest = seeds[:1]
    for generation in evolution.search(problem, rng=rng, max_evaluations=MAX_EVALUATIONS):
        if generation.best is not None:
            nearest = generation.best.genes
            if generation.best.errors[0] <= 1.0:
                break
    return nearest


def _describe_unreachable(reach: Reach, encoding: Encoding) -> str:
    budget = reach.budget
    limit, least, enough = (
        format_amount(budget.limit, budget.unit),
        format_amount(reach.smallest, budget.unit, up=True),
        format_amount(reach.smallest / (1.0 - budget.margin), budget.unit, up=True),
    )
    margin, without = "", ""
    if budget.margin:
        searched = format_amount(budget.searched_limit, budget.unit)
        margin = f" with a margin of {format_share(budget.margin)}, at {searched} predicted"
        without = ", or give --margin 0" if reach.smallest <= budget.limit else ""
    return (
        f"{budget.title} budget {limit} cannot be met{margin}: the smallest that {encoding.space.name} "
        f"reaches is {least} ({reach.smallest_arch}); raise {KINDS[budget.name].option} to {enough} or "
        f"more{without}"
    )


def _describe_conflict(
    encoding: Encoding, costs: Sequence[BudgetedCost], nearest: Genes, *, is_proven: bool
) -> str:
    costs = [cost for cost in costs if np.isfinite(cost.budget.limit)]
    budgets = ", ".join(map(_with_margin, (cost.budget for cost in costs)))
    found = "no architecture" if is_proven else f"none of {MAX_EVALUATIONS} architectures tried"
    values = ", ".join(
        f"{cost.budget.title} {format_amount(float(cost.values(nearest)[0]), cost.budget.unit)}"
        for cost in costs
    )
    keeps_all = all(cost.values(nearest)[0] <= cost.budget.limit for cost in costs)
    without = ", or give --margin 0: then it keeps them all" if keeps_all else ""
    return (
        f"the budgets {budgets} can each be met, but {found} of {encoding.space.name} meets them together; "
        f"the nearest is {encoding.decode(nearest)[0]} with {values}; raise one of them{without}"
    )


def _with_margin(budget: Budget) -> str:
    return f"{budget} (with a margin of {format_share(budget.margin)})" if budget.margin else str(budget)
