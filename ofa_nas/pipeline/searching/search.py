"""The main job: supernet, devices and budgets in, the best subnet and the Pareto front out."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import BudgetError, ConfigError
from ofa_nas.figures import format_share
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators, default_margin
from ofa_nas.pipeline.searching.reach import check_reach
from ofa_nas.randomness import rng_of
from ofa_nas.search.budgets import Budget, Cost, budget_levels
from ofa_nas.search.feasibility import BudgetedCost, binding_budgets
from ofa_nas.search.methods import Generation, best_of, generations, strongest_method
from ofa_nas.search.problem import Problem, Tables, Worth, stage_swaps
from ofa_nas.space.encoding import Genes


@dataclass(frozen=True, slots=True)
class Goal:
    """An accuracy to reach at the least cost, instead of the most accuracy within budgets.

    Attributes:
        key: Of the cost that is made small.
        accuracy: Least predicted top-1, a fraction.
    """

    key: Cost
    accuracy: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found for one set of budgets.

    Attributes:
        chosen: The most accurate candidate within every budget, or the cheapest that reaches the goal.
        front: Accuracy against the cost of `axis`, by rising cost, within every other budget.
        axis: Which cost the front is drawn against.
        budgets: As asked for, latencies with their margins.
        binding: One flag a budget: whether a looser one would have allowed a better candidate.
        evaluations: Architectures scored.
        cpu_seconds: Processor time of the search [s].
        method: That searched.
        bound: Accuracy that the predictor gives no architecture within the budgets; None where the method
            cannot tell.
        is_exact: Whether nothing within the budgets is predicted to be better than what was searched out, of
            all that there is; finalists may have put another one in its place.
        by_seed: What the answer from each seed that found one is worth: predicted accuracy, or the cost that
            was made small.
        goal: The accuracy that was to be reached, at the least of which cost; None where accuracy was sought.
    """

    chosen: Candidate
    front: tuple[Candidate, ...]
    axis: Cost
    budgets: tuple[Budget, ...]
    binding: tuple[bool, ...]
    evaluations: int
    cpu_seconds: float
    method: str
    bound: float | None
    is_exact: bool
    by_seed: tuple[float, ...]
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Unmet:
    """A set of budgets that nothing meets, beside others that are met.

    Attributes:
        budgets: As asked for, latencies with their margins.
        reason: Names the smallest reachable value.
    """

    budgets: tuple[Budget, ...]
    reason: str


def search_supernet(
    estimators: Estimators,
    budgets: Sequence[Budget],
    *,
    method: str | None = None,
    max_evaluations: int | None = None,
    seed: int = 0,
    margin: float | None = None,
) -> Iterator[Generation | Unmet | SearchResult]:
    """Search a supernet's space under budgets.

    The front is drawn against the cost that has several budgets, if that is a sum, else the latency of the
    first device, else MACs.

    Args:
        estimators: Of the supernet.
        budgets: Of any costs; none means the most accurate architecture there is. One cost may have several,
            each of which is answered.
        method: Plug-in of `ofa_nas.search.methods`; without, the one that promises most.
        max_evaluations: Architectures to score at most; without, the method's own limit. A list of peaks is
            searched once for each.
        seed: Of everything random.
        margin: Share of a latency budget that is kept free; without, that of the budget, or of its table.

    Yields:
        Budgets that nothing meets, generations, then a result for each of the others, by rising budget.

    Raises:
        BudgetError: Nothing meets any of the budgets.
        ConfigError: `seed` is no whole number from 0 on, `max_evaluations` none from 1 on, or the method is
            exact and tries none.
    """
    rng = rng_of(seed)
    levels = budget_levels([with_margin(budget, estimators.tables, margin) for budget in budgets])
    keys = _cost_keys(estimators, levels)
    met, witnesses = yield from _met_levels(estimators, levels, rng)
    listed = {levels[-1][place].key for place in _listed(levels)}
    is_one = listed <= {keys[0]}
    before: SearchResult | None = None
    for part in [slice(None)] if is_one else [slice(place, place + 1) for place in range(len(met))]:
        seeds = np.concatenate(witnesses[part]) if witnesses else None
        problem = make_problem(estimators, keys, met[part], seeds=seeds)
        last: Unmet | SearchResult | None = None
        method = searching_method(problem, method, max_evaluations)
        records = generations(method, problem, rng=rng, max_evaluations=max_evaluations)
        for record in _answer(records, problem, estimators, keys, met[part], method=method):
            answer = _add_up(before, record) if isinstance(record, SearchResult) else record
            last = last if isinstance(answer, Generation) else answer
            yield answer
        before = last if isinstance(last, SearchResult) else before


def searching_method(problem: Problem, method: str | None, max_evaluations: int | None) -> str:
    """The method that was asked for, or the one that promises most for a problem.

    Raises:
        ConfigError: It is exact, and is to score so many architectures at most: it tries none.
    """
    method = method or strongest_method(problem)
    if method == "exact" and max_evaluations is not None:
        raise ConfigError(
            f"--evaluations {max_evaluations} limits a search that tries subnets, and exact solves for the "
            "best of all: leave it out, or give --method evolution, local, optuna, random or ageing"
        )
    return method


def _met_levels(
    estimators: Estimators, levels: Sequence[tuple[Budget, ...]], rng: np.random.Generator
) -> Generator[Unmet, None, tuple[list[tuple[Budget, ...]], list[Genes]]]:
    """Levels that something meets, and one architecture `(1, d)` of each that limits anything.

    Raises:
        BudgetError: Nothing meets even the loosest.
    """
    met: list[tuple[Budget, ...]] = []
    witnesses: list[Genes] = []
    for level in levels:
        try:
            witnesses += [find_within(estimators, level, rng=rng)] if level else []
        except BudgetError as error:
            if level is levels[-1]:
                raise
            yield Unmet(level, str(error))
        else:
            met.append(level)
    return met, witnesses


def _add_up(before: SearchResult | None, result: SearchResult) -> SearchResult:
    """A result that has spent what the one before had spent, too."""
    if before is None:
        return result
    return replace(
        result,
        cpu_seconds=before.cpu_seconds + result.cpu_seconds,
        evaluations=before.evaluations + result.evaluations,
    )


def _answer(
    records: Iterator[Generation],
    problem: Problem,
    estimators: Estimators,
    keys: Sequence[Cost],
    levels: Sequence[tuple[Budget, ...]],
    *,
    method: str,
) -> Iterator[Generation | Unmet | SearchResult]:
    """Pass one search on, and answer each of the levels that its problem is of."""
    last: Generation | None = None
    for last in records:
        yield last
    assert last is not None
    if last.best is None:
        raise BudgetError(f"{method} found nothing within the budgets in {last.evaluations} architectures")
    bounds = last.bounds or (None,) * len(levels)
    for level, part, bound in zip(levels, problem.at_levels(), bounds, strict=True):
        best = best_of(part, last.front)
        if best is None:
            yield Unmet(level, f"{method} found nothing in {last.evaluations} architectures")
            continue
        flags = dict(zip(keys, binding_budgets(part, best), strict=True))
        (chosen,) = estimators.candidates(best.genes)
        yield SearchResult(
            chosen=chosen,
            front=tuple(estimators.candidates(last.front.genes)),
            axis=keys[0],
            budgets=level,
            binding=tuple(flags[budget.key] for budget in level),
            evaluations=last.evaluations,
            cpu_seconds=last.cpu_seconds,
            method=method,
            bound=None if bound is None else min(1.0, 1.0 - bound),
            is_exact=bound is not None and bound >= float(best.errors[0]),
            by_seed=(chosen.accuracy,),
        )


def with_margin(budget: Budget, tables: Mapping[str, LatencyTable], margin: float | None) -> Budget:
    """A latency budget with a margin: the one given, its own, or that of its table; others as they are.

    Raises:
        BudgetError: It is of a device without a table or needs none, or the margin leaves nothing.
    """
    if budget.name != "latency":
        if budget.device:
            raise BudgetError(f"{budget}: only a latency is that of a device")
        return budget
    if budget.device not in tables:
        known = ", ".join(tables)
        raise BudgetError(
            f"{budget}: the search has tables of {known}"
            if known
            else "a latency budget needs a device: add --device host, a shipped table or a table file"
        )
    share = (budget.margin or default_margin(tables[budget.device])) if margin is None else margin
    if not 0.0 <= share < 1.0:
        raise BudgetError(
            f"a margin of {format_share(share)} leaves nothing of a {budget.title} budget: search with a "
            "table that is less far off, or give --margin 0"
        )
    return replace(budget, margin=share)


def _cost_keys(estimators: Estimators, levels: Sequence[tuple[Budget, ...]]) -> list[Cost]:
    """The cost that the front is drawn against, then every other one that has a limit."""
    first = estimators.first_cost
    for place in _listed(levels):
        listed = levels[-1][place].key
        first = first if estimators.costs[listed].table.is_peak else listed
    return [first, *(budget.key for budget in levels[-1] if budget.key != first)]


def _listed(levels: Sequence[tuple[Budget, ...]]) -> list[int]:
    """The place of the budget that has several values; none where each has one."""
    return [place for place, pair in enumerate(zip(levels[0], levels[-1], strict=True)) if pair[0] != pair[1]]


def limited_costs(estimators: Estimators, budgets: Sequence[Budget]) -> list[BudgetedCost]:
    """Budgets with the tables of what they limit."""
    return [BudgetedCost(budget, estimators.costs[budget.key].table) for budget in budgets]


def find_within(estimators: Estimators, budgets: Sequence[Budget], *, rng: np.random.Generator) -> Genes:
    """An architecture `(1, d)` within budgets, of which there are some.

    Raises:
        BudgetError: There is none.
    """
    return check_reach(limited_costs(estimators, budgets), precision=estimators.precision, rng=rng)


def make_problem(
    estimators: Estimators,
    keys: Sequence[Cost],
    levels: Sequence[tuple[Budget, ...]],
    *,
    seeds: Genes | None,
) -> Problem:
    """The search within the loosest of some levels, with the others as limits of the first cost.

    Args:
        estimators: Of accuracy and costs.
        keys: Of the costs.
        levels: By rising limit of the first cost, if they are several.
        seeds: `(s, d)` architectures within the levels.
    """
    predictor = estimators.predictor
    unlimited = {key: estimators.costs[key] for key in keys}
    limited = {cost.budget.key: cost for cost in limited_costs(estimators, levels[-1])}
    costs = list((unlimited | limited).values())
    firsts = [budget.searched_limit for level in levels[:-1] for budget in level if budget.key == keys[0]]

    def error_rate(genes: Genes) -> Floats:
        return 1.0 - predictor.predict(genes)

    def cost_values(genes: Genes) -> Floats:
        return np.stack([cost.values(genes) for cost in costs], axis=1)

    return Problem(
        space=estimators.encoding,
        predict=error_rate,
        costs=cost_values,
        limits=np.array([cost.budget.searched_limit for cost in costs]),
        names=tuple(cost.budget.title for cost in costs),
        levels=tuple(firsts),
        seeds=seeds,
        swaps=stage_swaps(estimators.encoding),
        tables=_tables(estimators, costs),
    )


def _tables(estimators: Estimators, costs: Sequence[BudgetedCost]) -> Tables:
    form = estimators.predictor.additive(estimators.encoding)
    worth: Worth | None = None
    if form is not None:
        link = form.link
        worth = Worth(form.worth, lambda sums: 1.0 - link(sums))
    return Tables(tuple(cost.table for cost in costs), worth)
