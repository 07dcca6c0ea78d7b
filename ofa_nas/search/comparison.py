"""How search methods get on with one problem: the best error after each evaluation, seed by seed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.randomness import checked_seed, rng_of
from ofa_nas.search.methods import Meter, generations, load_method
from ofa_nas.search.problem import Problem, cost_columns, error_rates
from ofa_nas.space.encoding import Genes


@dataclass(frozen=True, slots=True, eq=False)
class MethodRun:
    """One search by one method from one seed.

    Attributes:
        method: As it was named.
        seed: Of everything random.
        evaluations: `(n,)` 1 to n: architectures whose error the method had asked for.
        errors: `(n,)` the least of these errors within every limit so far; infinite while there is none.
        cpu_seconds: Processor time of the whole search, what the problem's callables took among it [s].
    """

    method: str
    seed: int
    evaluations: npt.NDArray[np.int64]
    errors: Floats
    cpu_seconds: float

    def error_after(self, evaluations: int) -> float:
        """The best error after so many evaluations, or after all where the method ended before."""
        known = self.errors[: max(evaluations, 0)]
        return float(known[-1]) if len(known) else np.inf


def compare_methods(
    problem: Problem, methods: Sequence[str], *, seeds: Sequence[int], max_evaluations: int
) -> Iterator[MethodRun]:
    """Search by each method from each seed, and tell how the best error fell.

    What counts is what the problem's `predict` was asked for, row by row, in whichever order a method asks.

    Args:
        problem: To search.
        methods: Names, or dotted paths to modules of one's own.
        seeds: Whole numbers, 0 or more; a seed is `numpy.random.default_rng(seed)`.
        max_evaluations: That each search may spend. Some methods plan with it: what they have found after a
            tenth of it is less than what they find where a tenth is all there is.

    Yields:
        A record after each search, all seeds of a method before the next method.

    Raises:
        ConfigError: There is no such method, no method or no seed is given, `max_evaluations` is no number
            from 1 on, a method asks for more, or as `SearchMethod.search` does.
    """
    names, starts = _listed(methods, "methods"), _listed(seeds, "seeds")
    starts = [checked_seed(seed) for seed in starts]
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"methods: found {name!r:.60}; expected names")
        load_method(name)
    Meter(problem, max_evaluations)
    return (_run(problem, name, seed, max_evaluations) for name in names for seed in starts)


def _listed(values: Any, what: str) -> list[Any]:
    """Several values in a list.

    Raises:
        ConfigError: There are none, or only one that is no list.
    """
    try:
        listed = [] if isinstance(values, str) else list(values)
    except TypeError:
        listed = []
    if not listed:
        raise ConfigError(f"{what} {values!r:.60}: expected a list of one or more")
    return listed


def _run(problem: Problem, method: str, seed: int, max_evaluations: int) -> MethodRun:
    asked, errors = [problem.space.sample(0, rng_of(0))], [np.empty(0)]
    watched = replace(problem, predict=_watch(problem.predict, asked, errors))
    started = time.process_time()
    for _ in generations(method, watched, rng=rng_of(seed), max_evaluations=max_evaluations):
        pass
    cpu_seconds = time.process_time() - started
    genes, found = np.concatenate(asked), np.concatenate(errors)
    if len(genes) > max_evaluations:  # a module of a user's own, without a `Meter`
        raise ConfigError(
            f"{method}: search: asked for {len(genes)} errors; expected {max_evaluations} at most"
        )
    costs = cost_columns(problem.costs, genes, count=len(problem.limits))
    best = np.minimum.accumulate(np.where(problem.is_feasible(costs), found, np.inf))
    return MethodRun(method, seed, np.arange(1, 1 + len(best)), best, cpu_seconds)


def _watch(
    predict: Callable[[Genes], Floats], asked: list[Genes], errors: list[Floats]
) -> Callable[[Genes], Floats]:
    """The same predictor, which notes what it is asked and what it says."""

    def watched(genes: Genes) -> Floats:
        asked.append(genes.copy())
        errors.append(error_rates(predict, genes))
        return errors[-1].copy()

    return watched
