"""A search from several seeds: the best of their answers, and what each of them found."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.searching.estimators import Candidate
from ofa_nas.pipeline.searching.search import SearchResult, Unmet
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.search.methods import Generation
from ofa_nas.search.pareto import non_dominated

Records = Iterator[Generation | Unmet | SearchResult]


def search_from_seeds(search: Callable[[int], Records], seeds: Sequence[int]) -> Records:
    """Search from one seed after the other; from the first alone where that proves its answers the best.

    Args:
        search: From a seed to the records of a search.
        seeds: One or more.

    Yields:
        Generations, then the answers: for each of the budgets the best, with what all of them spent, the
        front of all their fronts, and what each of them found.

    Raises:
        BudgetError: No seed found anything within the budgets.
    """
    found: dict[tuple[Budget, ...], list[Unmet | SearchResult]] = {}
    failure: BudgetError | None = None
    for seed in seeds:
        answers: list[Unmet | SearchResult] = []
        try:
            for record in search(seed):
                if isinstance(record, Generation):
                    yield record
                else:
                    answers.append(record)
        except BudgetError as error:
            failure = failure or error
            continue
        for answer in answers:
            found.setdefault(answer.budgets, []).append(answer)
        proofs = [answer.is_exact for answer in answers if isinstance(answer, SearchResult)]
        if proofs and all(proofs):
            break
    if failure is not None and not found:
        raise failure
    yield from map(_best, found.values())


def _best(answers: Sequence[Unmet | SearchResult]) -> Unmet | SearchResult:
    results = [answer for answer in answers if isinstance(answer, SearchResult)]
    if len(results) < 2:
        return (results or answers)[0]
    best = min(results, key=_rank)
    return replace(
        best,
        front=_front((one for result in results for one in result.front), best.axis),
        evaluations=sum(one.evaluations for one in results),
        cpu_seconds=sum(one.cpu_seconds for one in results),
        by_seed=tuple(value for one in results for value in one.by_seed),
    )


def _rank(result: SearchResult) -> tuple[float, float]:
    value = result.by_seed[0]
    return -value if result.goal is None else value, result.chosen.cost(result.axis)


def _front(candidates: Iterable[Candidate], axis: Cost) -> tuple[Candidate, ...]:
    """Those that no other beats in accuracy and cost, one for each point, by rising cost."""
    points = {(one.cost(axis), -one.accuracy): one for one in candidates}
    is_best = non_dominated(np.array(list(points), dtype=np.float64).reshape(-1, 2))
    return tuple(points[point] for point, is_kept in sorted(zip(points, is_best, strict=True)) if is_kept)
