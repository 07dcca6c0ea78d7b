"""Whether budgets can be met at all, before anything is searched, and which of them bind, afterwards.

One budget is decided exactly from its cost table. Several are decided by weighing them together: for any
weights the least weighted cost is exact, and one above the weighted limits proves that nothing meets them
all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import BudgetError
from ofa_nas.figures import format_amount, format_share
from ofa_nas.search.budgets import KINDS, Budget
from ofa_nas.search.fronts import allowed, limited_sums, weigh
from ofa_nas.search.methods import evolution, exact, strongest_method
from ofa_nas.search.polish import MIN_GAIN, is_improvable
from ofa_nas.search.problem import Problem, Scored, Tables, Worth
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

    def values(self, genes: Genes) -> Floats:
        """Costs of architectures `(n, d)`: `(n,)` in the budget's unit."""
        return self.table.values(genes)


def check_budgets(costs: Sequence[BudgetedCost], *, rng: np.random.Generator) -> Genes:
    """Find an architecture within all budgets, or say why there is none.

    Args:
        costs: One or more, of one encoding; infinite limits are allowed.
        rng: For the search that decides what weighing cannot.

    Returns:
        `(1, d)`, a seed for the search.

    Raises:
        BudgetError: Names each budget that nothing meets with its smallest reachable value; or, when each can
            be met but not all at once, the nearest architecture, and what each would have to be with the
            others kept, where that was found.
    """
    encoding = costs[0].table.encoding
    smallest = [cost.table.smallest() for cost in costs]
    found = [_describe_unreachable(*pair) for pair in zip(costs, smallest, strict=True)]
    if any(found):
        raise BudgetError("; ".join(filter(None, found)))
    nearest, is_proven = _nearest(encoding, costs, encoding.encode(smallest), rng)
    if _excess(costs, nearest)[0] > 1.0:
        raise BudgetError(_describe_conflict(costs, nearest, rng, is_proven=is_proven))
    return nearest


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


def _excess(costs: Sequence[BudgetedCost], genes: Genes) -> Floats:
    """Largest cost over its limit of architectures `(n, d)`, `(n,)`; 1 or less keeps every budget."""
    ratios = np.stack([cost.values(genes) / cost.budget.searched_limit for cost in costs])
    return np.asarray(ratios.max(axis=0))


def _nearest(
    encoding: Encoding, costs: Sequence[BudgetedCost], seen: Genes, rng: np.random.Generator
) -> tuple[Genes, bool]:
    """The architecture `(1, d)` of least excess found, and whether it is proven that nothing is feasible."""
    tables = [cost.table for cost in costs]
    limits = np.array([cost.budget.searched_limit for cost in costs])
    sums = limited_sums(tables, limits)
    weights = np.full(len(sums), 1.0 / max(1, len(sums)))
    for _ in range(WEIGHINGS if sums else 0):
        shares = dict(zip(sums, weights / limits[sums], strict=True))
        table = allowed(weigh(tables, shares), tables, limits, forbidden=np.inf)
        genes = encoding.encode([table.smallest()])
        seen = np.concatenate([seen, genes])
        if _excess(costs, genes)[0] <= 1.0:
            return genes, False
        # Above 1 by more than rounding: the weighted costs of every architecture exceed the weighted limits.
        if table.total(genes)[0] > 1.0 + 1e-9:
            return _search_nearest(encoding, costs, seen, rng), True
        ratios = np.array([tables[index].values(genes)[0] for index in sums]) / limits[sums]
        weights = weights * np.exp(STEP * (ratios - ratios.max()))
        weights = np.maximum(weights / weights.sum(), 1e-6)
    if _excess(costs, _least(costs, seen))[0] > 1.0:
        seen = np.concatenate([seen, _search_nearest(encoding, costs, seen, rng)])
    return _least(costs, seen), False


def _least(costs: Sequence[BudgetedCost], seen: Genes) -> Genes:
    return seen[[int(np.argmin(_excess(costs, seen)))]]


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


def _describe_unreachable(cost: BudgetedCost, arch: Architecture) -> str:
    """That a budget cannot be met, for `arch` costs least; nothing where it can."""
    budget, encoding = cost.budget, cost.table.encoding
    smallest = float(cost.values(encoding.encode([arch]))[0])
    if smallest <= budget.searched_limit:
        return ""
    least = format_amount(smallest, budget.unit, up=True)
    enough = format_amount(smallest / (1.0 - budget.margin), budget.unit, up=True)
    typed = enough.removesuffix(" MACs").replace(" ", "")
    margin, without = "", ""
    if budget.margin:
        searched = format_amount(budget.searched_limit, budget.unit)
        margin = f" with a margin of {format_share(budget.margin)}, at {searched} predicted"
        without = ", or give --margin 0" if smallest <= budget.limit else ""
    return (
        f"{budget} cannot be met{margin}: the smallest that {encoding.space.name} "
        f"reaches is {least} ({arch}); raise {KINDS[budget.name].option} to {typed} or "
        f"more{without}"
    )


def _describe_conflict(
    costs: Sequence[BudgetedCost], nearest: Genes, rng: np.random.Generator, *, is_proven: bool
) -> str:
    costs = [cost for cost in costs if np.isfinite(cost.budget.limit)]
    encoding = costs[0].table.encoding
    budgets = ", ".join(map(_with_margin, (cost.budget for cost in costs)))
    found = "no architecture" if is_proven else f"none of {MAX_EVALUATIONS} architectures tried"
    alone = _tell([_limit_for(cost, encoding.encode([cost.table.smallest()])) for cost in costs])
    values = _tell([replace(cost.budget, limit=float(cost.values(nearest)[0])) for cost in costs])
    raised = {place: _least_beside(costs, place, rng) for place in range(len(costs))}
    enough = [_limit_for(costs[place], genes) for place, genes in raised.items() if genes is not None]
    told = _tell(enough, joint=" or ", up=True)
    advice = f"raise one of them, the others kept: {told}" if enough else "raise several of them"
    keeps_all = all(cost.values(nearest)[0] <= cost.budget.limit for cost in costs)
    without = ", or give --margin 0: then the nearest keeps them all" if keeps_all else ""
    return (
        f"the budgets {budgets} can each be met, but {found} of {encoding.space.name} meets them together; "
        f"alone, the least are {alone}; the nearest is {encoding.decode(nearest)[0]} with {values}; "
        f"{advice}{without}"
    )


def _limit_for(cost: BudgetedCost, genes: Genes) -> Budget:
    """The budget that an architecture `(1, d)` just keeps, with its margin."""
    return replace(cost.budget, limit=float(cost.values(genes)[0]) / (1.0 - cost.budget.margin))


def _tell(budgets: Sequence[Budget], *, joint: str = ", ", up: bool = False) -> str:
    return joint.join(f"{one.title} {format_amount(one.limit, one.unit, up=up)}" for one in budgets)


def _least_beside(costs: Sequence[BudgetedCost], place: int, rng: np.random.Generator) -> Genes | None:
    """The architecture `(1, d)` that costs least within all other budgets; None where none was found."""
    cost, others = costs[place], [*costs[:place], *costs[place + 1 :]]
    if cost.table.is_peak:
        return _least_peak(cost, others, rng)
    every = [cost, *others]

    def values(genes: Genes) -> Floats:
        return np.stack([one.values(genes) for one in every], axis=1)

    worth = replace(cost.table, fixed=-cost.table.fixed, choices=-cost.table.choices)
    problem = Problem(
        space=worth.encoding,
        predict=cost.values,
        costs=values,
        limits=np.array([np.inf, *(one.budget.searched_limit for one in others)]),
        names=tuple(one.budget.title for one in every),
        tables=Tables(tuple(one.table for one in every), Worth(worth, np.negative)),
    )
    *_, last = exact.search(problem, rng=rng, max_evaluations=MAX_EVALUATIONS)
    return None if last.best is None else last.best.genes


def _least_peak(cost: BudgetedCost, others: Sequence[BudgetedCost], rng: np.random.Generator) -> Genes | None:
    """The same for a peak, which is one of its layers' figures: halve what it may be."""
    table, least = cost.table, None
    values = np.unique(np.concatenate([table.fixed.ravel(), table.choices.ravel()]))
    values = values[np.isfinite(values) & (values > cost.budget.searched_limit)]
    low, high = 0, len(values)  # from `high` on it is known to do
    while low < high:
        middle = (low + high) // 2 if least is not None else len(values) - 1
        limited = [replace(cost, budget=replace(cost.budget, limit=values[middle], margin=0.0)), *others]
        seen = table.encoding.encode([one.table.smallest() for one in limited])
        found, _ = _nearest(table.encoding, limited, seen, rng)
        if _excess(limited, found)[0] <= 1.0:
            least, high = found, middle
        else:
            low = middle + 1
    return least


def _with_margin(budget: Budget) -> str:
    return f"{budget} (with a margin of {format_share(budget.margin)})" if budget.margin else str(budget)
