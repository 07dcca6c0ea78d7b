"""The search turned round: the least of one cost that reaches an accuracy, within budgets on all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.estimators import Estimators
from ofa_nas.pipeline.search import Goal, SearchResult, limited_costs, make_problem, with_margin
from ofa_nas.search.budgets import KINDS, Budget, budget_levels
from ofa_nas.search.feasibility import check_budgets
from ofa_nas.search.fronts import limited_sums
from ofa_nas.search.methods import Generation, SearchMethod, load_method, strongest_method
from ofa_nas.search.problem import Problem, Scored
from ofa_nas.space.encoding import Genes

ROUNDS = 8  # searches at most, each below the cost that the last one found


def search_cheapest(
    estimators: Estimators,
    budgets: Sequence[Budget],
    goal: Goal,
    *,
    method: str | None = None,
    seed: int = 0,
    margin: float | None = None,
) -> Iterator[Generation | SearchResult]:
    """Find the architecture of least cost that is predicted to be accurate enough.

    The front of accuracy against that cost holds the answer. Where a method may have missed some of the
    front, it searches again below the cost that it found, until nothing there is accurate enough.

    Args:
        estimators: Of the supernet.
        budgets: One value each.
        goal: Accuracy, and which cost to make small.
        method: Plug-in of `ofa_nas.search.methods`; without, the one that promises most.
        seed: Of everything random.
        margin: Share of a latency budget that is kept free; without, that of the estimators.

    Yields:
        Generations, then the result.

    Raises:
        BudgetError: Nothing is accurate enough, or nothing meets the budgets.
    """
    if goal.key not in estimators.costs:
        raise BudgetError(f"the least {KINDS[goal.key[0]].title} is that of a device: add --device")
    (level,) = budget_levels([with_margin(budget, estimators, margin) for budget in budgets])
    rng = np.random.default_rng(seed)
    witness = check_budgets(limited_costs(estimators, level), rng=rng).witness if level else None
    keys = [goal.key, *(budget.key for budget in level if budget.key != goal.key)]
    problem = make_problem(estimators, keys, [level], seeds=witness)
    method = method or strongest_method(problem)
    run = _Run(load_method(method), 1.0 - goal.accuracy, rng)
    yield from run.search(problem)
    if run.best is None:
        raise BudgetError(_describe_shortfall(estimators, goal, run.nearest, has_budgets=bool(level)))
    assert run.front is not None
    binding = tuple(_binds(replace(run), problem, keys.index(budget.key)) for budget in level)
    yield SearchResult(
        chosen=estimators.candidates(run.best.genes)[0],
        front=tuple(estimators.candidates(run.front)),
        budgets=level,
        binding=binding,
        evaluations=run.evaluations,
        cpu_seconds=run.cpu_seconds,
        method=method,
        bound=None,
        is_exact=run.is_proven,
        goal=goal,
    )


@dataclass
class _Run:
    """One search for the least cost, and what it found.

    Attributes:
        method: That searches.
        most_error: Error rate at the goal.
        rng: Of everything random.
        best: One row, the cheapest that is accurate enough; None while there is none.
        nearest: One row, the most accurate within the budgets, where none is accurate enough.
        front: `(n, d)` of the first search.
        is_proven: Whether nothing cheaper is accurate enough.
    """

    method: SearchMethod
    most_error: float
    rng: np.random.Generator
    best: Scored | None = None
    nearest: Scored | None = None
    front: Genes | None = None
    evaluations: int = 0
    cpu_seconds: float = 0.0
    is_proven: bool = False

    def search(self, problem: Problem) -> Iterator[Generation]:
        """Search, and again below each answer."""
        for _ in range(ROUNDS):
            last: Generation | None = None
            for last in self.method.search(problem, rng=self.rng):
                yield last
            assert last is not None
            self.evaluations += last.evaluations
            self.cpu_seconds += last.cpu_seconds
            self.front = last.front.genes if self.front is None else self.front
            found = last.front
            found = found.take(problem.is_feasible(found.costs) & (found.errors <= self.most_error))
            if not len(found):
                bound = last.bounds[0] if last.bounds else None
                self.nearest = last.best
                self.is_proven = bound is not None and bound > self.most_error
                return
            self.best = found.take(np.argsort(found.costs[:, 0], kind="stable")[:1])
            if last.bounds and last.bounds[0] is not None and _is_whole(problem):
                self.is_proven = True
                return
            below = np.nextafter(self.best.costs[0, 0], -np.inf)
            problem = replace(problem, limits=np.array([below, *problem.limits[1:]]), seeds=self.best.genes)


def _is_whole(problem: Problem) -> bool:
    """Whether the front of a method that tells bounds is the whole front: no further sum is limited."""
    return problem.tables is not None and set(limited_sums(problem.tables, problem.limits)) <= {0}


def _binds(run: _Run, problem: Problem, index: int) -> bool:
    """Whether something cheaper is accurate enough without a limit."""
    assert run.best is not None
    limits = problem.limits.copy()
    limits[index] = np.inf
    least = run.best.costs[0, 0]
    for _ in run.search(replace(problem, limits=limits, seeds=run.best.genes)):
        pass
    return bool(run.best.costs[0, 0] < least)


def _describe_shortfall(
    estimators: Estimators, goal: Goal, nearest: Scored | None, *, has_budgets: bool
) -> str:
    within = " within the budgets" if has_budgets else ""
    text = f"nothing{within} is predicted to reach a top-1 of {goal.accuracy:.1%}"
    if nearest is None:
        return text
    (best,) = estimators.candidates(nearest.genes)
    return (
        f"{text}: the most accurate is predicted {best.accuracy:.1%} ({best.architecture}); lower --accuracy"
        + (", or raise a budget" if has_budgets else "")
    )
