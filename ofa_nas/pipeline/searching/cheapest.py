"""The search turned round: the least of one cost that reaches an accuracy, within budgets on all others."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import (
    Goal,
    SearchResult,
    find_within,
    make_problem,
    searching_method,
    with_margin,
)
from ofa_nas.randomness import rng_of
from ofa_nas.search.budgets import KINDS, Budget, budget_levels
from ofa_nas.search.fronts import limited_sums
from ofa_nas.search.methods import Generation, generations
from ofa_nas.search.problem import Problem, Scored
from ofa_nas.space.encoding import Genes

ROUNDS = 8  # searches at most, each below the cost that the last one found


def search_cheapest(
    estimators: Estimators,
    budgets: Sequence[Budget],
    goal: Goal,
    *,
    method: str | None = None,
    max_evaluations: int | None = None,
    seed: int = 0,
    margin: float | None = None,
) -> Iterator[Generation | SearchResult]:
    """Find the architecture of least cost that is predicted to be accurate enough.

    The front of accuracy against that cost holds the answer. Where a method may have missed some of the
    front, it searches again below the cost that it found, until nothing there is accurate enough. A peak can
    only be one of its layers' figures: the least that will do is found by halving.

    Args:
        estimators: Of the supernet.
        budgets: One value each.
        goal: Accuracy, and which cost to make small.
        method: Plug-in of `ofa_nas.search.methods`; without, the one that promises most.
        max_evaluations: Architectures that each of the searches may score; without, the method's own limit.
        seed: Of everything random.
        margin: Share of a latency budget that is kept free; without, that of the budget, or of its table.

    Yields:
        Generations, then the result.

    Raises:
        BudgetError: Nothing is accurate enough, or nothing meets the budgets.
        ConfigError: As `search`.
    """
    if goal.key not in estimators.costs:
        raise BudgetError(f"the least {KINDS[goal.key.name].title} is that of a device: add --device")
    (level,) = budget_levels([with_margin(budget, estimators.tables, margin) for budget in budgets])
    rng = rng_of(seed)
    witness = find_within(estimators, level, rng=rng) if level else None
    heads = [estimators.first_cost, goal.key] if estimators.costs[goal.key].table.is_peak else [goal.key]
    keys = list(dict.fromkeys([*heads, *(budget.key for budget in level)]))
    problem = make_problem(estimators, keys, [level], seeds=witness)
    method = searching_method(problem, method, max_evaluations)
    run = _Run(method, 1.0 - goal.accuracy, rng, max_evaluations, index=keys.index(goal.key))
    yield from run.search(problem)
    if run.best is None:
        raise BudgetError(_describe_shortfall(estimators, goal, run.nearest, has_budgets=bool(level)))
    assert run.front is not None
    binding = tuple(_binds(replace(run), problem, keys.index(budget.key)) for budget in level)
    (chosen,) = estimators.candidates(run.best.genes)
    yield SearchResult(
        chosen=chosen,
        front=tuple(estimators.candidates(run.front)),
        axis=keys[0],
        budgets=level,
        binding=binding,
        evaluations=run.evaluations,
        cpu_seconds=run.cpu_seconds,
        method=method,
        bound=None,
        is_exact=run.is_proven,
        by_seed=(chosen.cost(goal.key),),
        goal=goal,
    )


@dataclass
class _Run:
    """One search for the least cost, and what it found.

    Attributes:
        method: Name of that which searches.
        most_error: Error rate at the goal.
        rng: Of everything random.
        max_evaluations: Of each search; None leaves it to the method.
        index: Of the cost that is made small, among the problem's; above 0 it is a peak.
        best: One row, the cheapest that is accurate enough; None while there is none.
        nearest: One row, the most accurate within the budgets, where none is accurate enough.
        front: `(n, d)` of the first search.
        is_proven: Whether nothing cheaper is accurate enough.
    """

    method: str
    most_error: float
    rng: np.random.Generator
    max_evaluations: int | None
    index: int = 0
    best: Scored | None = None
    nearest: Scored | None = None
    front: Genes | None = None
    evaluations: int = 0
    cpu_seconds: float = 0.0
    is_proven: bool = False

    def search(self, problem: Problem) -> Iterator[Generation]:
        """Search until nothing cheaper is left to find."""
        return self._search_peak(problem) if self.index else self._search_sum(problem)

    def _search_sum(self, problem: Problem) -> Iterator[Generation]:
        """Search, and again below each answer."""
        for _ in range(ROUNDS):
            last = yield from self._run(problem)
            found = last.front
            found = found.take(problem.is_feasible(found.costs) & (found.errors <= self.most_error))
            if not len(found):
                self.is_proven = self._is_out_of_reach(last)
                return
            self.best = found.take(np.argsort(found.costs[:, 0], kind="stable")[:1])
            if last.bounds and last.bounds[0] is not None and _is_whole(problem):
                self.is_proven = True
                return
            below = np.nextafter(self.best.costs[0, 0], -np.inf)
            problem = _limit(problem, 0, below, seeds=self.best.genes)

    def _search_peak(self, problem: Problem) -> Iterator[Generation]:
        """Halve what the peak may be."""
        assert problem.tables is not None
        table = problem.tables.costs[self.index]
        values = np.unique(np.concatenate([table.fixed.ravel(), table.choices.ravel()]))
        values = values[values <= problem.limits[self.index]]  # and so no absent choices
        low, high, is_proven = 0, len(values), True  # from `high` on it is known to do
        while low < high:
            middle = (low + high) // 2 if self.best is not None else len(values) - 1
            last = yield from self._run(_limit(problem, self.index, values[middle], seeds=problem.seeds))
            if last.best is not None and last.best.errors[0] <= self.most_error:
                self.best, high = last.best, middle
            else:
                is_proven, low = is_proven and self._is_out_of_reach(last), middle + 1
        self.is_proven = is_proven

    def _run(self, problem: Problem) -> Generator[Generation, None, Generation]:
        """One search; its last generation."""
        last: Generation | None = None
        for last in generations(self.method, problem, rng=self.rng, max_evaluations=self.max_evaluations):
            yield last
        assert last is not None
        self.evaluations += last.evaluations
        self.cpu_seconds += last.cpu_seconds
        self.front = last.front.genes if self.front is None else self.front
        self.nearest = last.best if self.best is None else self.nearest
        return last

    def _is_out_of_reach(self, last: Generation) -> bool:
        """Whether it is proven that nothing is accurate enough."""
        bound = last.bounds[0] if last.bounds else None
        return bound is not None and bound > self.most_error


def _limit(problem: Problem, index: int, value: float, *, seeds: Genes | None) -> Problem:
    limits = problem.limits.copy()
    limits[index] = value
    return replace(problem, limits=limits, seeds=seeds)


def _is_whole(problem: Problem) -> bool:
    """Whether the front of a method that tells bounds is the whole front: no further sum is limited."""
    return problem.tables is not None and set(limited_sums(problem.tables.costs, problem.limits)) <= {0}


def _binds(run: _Run, problem: Problem, index: int) -> bool:
    """Whether something cheaper is accurate enough without a limit."""
    assert run.best is not None
    least = run.best.costs[0, run.index]
    for _ in run.search(_limit(problem, index, np.inf, seeds=run.best.genes)):
        pass
    return bool(run.best.costs[0, run.index] < least)


def _describe_shortfall(
    estimators: Estimators, goal: Goal, nearest: Scored | None, *, has_budgets: bool
) -> str:
    within = " within the budgets" if has_budgets else ""
    text = f"nothing{within} is predicted to reach a top-1 of {100.0 * goal.accuracy:.6g}%"
    if nearest is None:
        return text
    (best,) = estimators.candidates(nearest.genes)
    within_reach = math.floor(1e4 * best.accuracy) / 1e2  # rounded down, so that it is accepted
    return (
        f"{text}: the most accurate is predicted {within_reach:.2f}% ({best.architecture}); lower --accuracy"
        + (", or raise a budget" if has_budgets else "")
    )
