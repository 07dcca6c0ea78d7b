"""Search methods, one module each: `search(problem, *, rng, max_evaluations)` yields generations and ends.

A method never returns an architecture over a limit and draws from `rng` only. It yields one generation or
more, and the last holds its answer. It asks a `Meter` for errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Protocol, cast

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_complete
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.problem import Problem, Scored, cost_columns, error_rates
from ofa_nas.space.encoding import Genes

DEFAULT_MAX_EVALUATIONS = 250_000


@dataclass(frozen=True, slots=True)
class Generation:
    """Where a search stands.

    Attributes:
        index: Counted from 0.
        evaluations: Architectures scored so far.
        best: One row, the least error within every limit; None while nothing is.
        front: Rows that nothing found so far beats in both error and first cost, by rising cost; they keep
            every limit but the first, to show what more of the first would buy.
        cpu_seconds: Processor time spent so far [s].
        bounds: One for each of `Problem.at_levels()`: error that no architecture within its limits is below,
            infinite where there is none, None where there is no telling; empty if the method never tells.
    """

    index: int
    evaluations: int
    best: Scored | None
    front: Scored
    cpu_seconds: float
    bounds: tuple[float | None, ...] = ()


class Meter:
    """Counts the architectures whose error a method asks for; takes `error_rates` and `cost_columns` only.

    Attributes:
        problem: The same one, counted.
        evaluations: So far.
        left: To spend; who asks for more has not looked.

    Raises:
        ConfigError: Nothing may be spent; later, `predict` or `costs` gives no number for each row of genes.
    """

    def __init__(self, problem: Problem, max_evaluations: int) -> None:
        try:
            self.evaluations, self.left = 0, index(max_evaluations)
        except TypeError as error:
            raise ConfigError(f"max_evaluations {max_evaluations!r:.40}: expected a whole number") from error
        if self.left < 1:
            raise ConfigError(f"max_evaluations {max_evaluations}: expected 1 or more")
        self._predict = problem.predict
        costs = partial(cost_columns, problem.costs, count=len(problem.limits))
        self.problem = replace(problem, predict=self._count, costs=costs)

    def _count(self, genes: Genes) -> Floats:
        assert len(genes) <= self.left
        self.evaluations, self.left = self.evaluations + len(genes), self.left - len(genes)
        return error_rates(self._predict, genes)


class SearchMethod(Protocol):
    """What a module of this folder offers."""

    def search(
        self, problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
    ) -> Iterator[Generation]:
        """Search until nothing gets better or `max_evaluations` are spent; never more.

        Raises:
            ConfigError: `max_evaluations` is no number from 1 on, or the problem's callables give no numbers.
        """


def load_method(name: str) -> SearchMethod:
    """A search method by the name of its module.

    Raises:
        ConfigError: There is none, or the module is no search method.
    """
    return cast(SearchMethod, load_complete("search.methods", name, ("search",), what="a search method"))


def generations(
    name: str, problem: Problem, *, rng: np.random.Generator, max_evaluations: int | None = None
) -> Iterator[Generation]:
    """Search by the method of a name; the last generation holds the answer.

    Args:
        name: Of its module.
        problem: To search.
        rng: Of everything random.
        max_evaluations: Architectures it may score; without, as many as the method itself sets.

    Raises:
        ConfigError: There is no such method, or it gives anything but generations, or none.
    """
    effort = {} if max_evaluations is None else {"max_evaluations": max_evaluations}
    last: Generation | None = None
    for last in load_method(name).search(problem, rng=rng, **effort) or ():
        if not isinstance(last, Generation):
            raise ConfigError(f"{name}: search: gave {type(last).__name__}; expected a Generation")
        yield last
    if last is None:
        raise ConfigError(
            f"{name}: search: gave no generation; expected one or more, the last with the answer"
        )


def strongest_method(problem: Problem) -> str:
    """The method that promises most for a problem: `exact` where error and first cost are sums."""
    tables = problem.tables
    is_sum = tables is not None and tables.worth is not None and not tables.costs[0].is_peak
    return "exact" if is_sum else "evolution"


def best_of(problem: Problem, scored: Scored) -> Scored | None:
    """The one row of least finite error within all limits, the cheapest of equals; None if there is none."""
    feasible = np.flatnonzero(problem.is_feasible(scored.costs) & (scored.errors < np.inf))
    if not len(feasible):
        return None
    errors = scored.errors[feasible]
    least = feasible[errors == errors.min()]
    return scored.take(least[[scored.costs[least, 0].argmin()]])


def front_of(problem: Problem, scored: Scored) -> Scored:
    """Rows that nothing beats in error and first cost, one for each point, by rising cost."""
    shown = scored.take(problem.is_shown(scored.costs))
    points = np.stack([shown.costs[:, 0], shown.errors], axis=1)
    front = np.flatnonzero(non_dominated(points))
    _, first = np.unique(points[front, 0], return_index=True)
    return shown.take(front[first])
