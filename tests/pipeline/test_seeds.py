"""A search from several seeds: what is taken, what is told, and where one seed says it all."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.searching.cheapest import search_cheapest
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import Goal, SearchResult, Unmet, search_supernet
from ofa_nas.pipeline.searching.seeds import search_from_seeds
from ofa_nas.search.budgets import Cost
from ofa_nas.search.methods import Generation
from tests.pipeline.enumerated import limits_at


@pytest.fixture(scope="module")
def result(exact: Estimators, candidates: list[Candidate]) -> SearchResult:
    *_, last = search_supernet(exact, limits_at(candidates, latency=0.4), method="evolution")
    assert isinstance(last, SearchResult)
    return last


def test_the_best_answer_is_taken_and_all_are_told(result: SearchResult) -> None:
    low, next_low = result.front[:2]
    lesser = [replace(result, chosen=one, front=(one,), by_seed=(one.accuracy,)) for one in (low, next_low)]
    told = [lesser[0], result, lesser[1]]

    (best,) = search_from_seeds(lambda seed: iter([told[seed - 5]]), range(5, 8))
    assert isinstance(best, SearchResult)
    assert best.chosen == result.chosen
    assert best.front == result.front
    assert best.by_seed == (low.accuracy, result.chosen.accuracy, next_low.accuracy)
    assert (best.evaluations, best.cpu_seconds) == (3 * result.evaluations, 3 * result.cpu_seconds)


def test_the_front_is_that_of_all_fronts(result: SearchResult) -> None:
    parts = [replace(result, front=result.front[start::2]) for start in (1, 0)]
    worse = replace(result.front[2], accuracy=result.front[0].accuracy, macs=0)
    parts[0] = replace(parts[0], front=(*parts[0].front, worse))
    (best,) = search_from_seeds(lambda seed: iter([parts[seed]]), range(2))
    assert isinstance(best, SearchResult)
    assert best.front == result.front
    assert all(one.cost(best.axis) < two.cost(best.axis) for one, two in pairwise(best.front))


def test_what_is_proven_is_searched_once(exact: Estimators, candidates: list[Candidate]) -> None:
    budgets, seen = limits_at(candidates, latency=0.4), []

    def run(seed: int) -> Iterator[Generation | Unmet | SearchResult]:
        seen.append(seed)
        return search_supernet(exact, budgets, seed=seed)

    *_, last = search_from_seeds(run, range(3, 8))
    assert isinstance(last, SearchResult)
    assert last.is_exact
    assert (seen, last.by_seed) == ([3], (last.chosen.accuracy,))


def test_one_answer_without_a_proof_asks_all_seeds(result: SearchResult) -> None:
    told, seen = [replace(result, is_exact=True), replace(result, budgets=())], []

    def run(seed: int) -> Iterator[Generation | Unmet | SearchResult]:
        seen.append(seed)
        return iter(told)

    assert len([*search_from_seeds(run, range(2))]) == 2
    assert seen == [0, 1]


def test_a_seed_that_finds_nothing_leaves_the_others(result: SearchResult) -> None:
    def run(seed: int) -> Iterator[Generation | Unmet | SearchResult]:
        if seed < 2:
            raise BudgetError(f"seed {seed} found nothing")
        yield result if seed == 3 else Unmet(result.budgets, "found nothing")

    (best,) = search_from_seeds(run, range(5))
    assert best == result
    assert [*search_from_seeds(run, range(2, 3))] == [Unmet(result.budgets, "found nothing")]
    with pytest.raises(BudgetError, match="seed 0 found nothing"):
        list(search_from_seeds(run, range(2)))


def test_of_the_least_costs_the_least_is_taken(exact: Estimators, candidates: list[Candidate]) -> None:
    goal = Goal(Cost("macs"), sorted(one.accuracy for one in candidates)[600])
    *_, last = search_from_seeds(
        lambda seed: search_cheapest(exact, [], goal, method="random", seed=seed), range(2)
    )
    assert isinstance(last, SearchResult)
    assert len(last.by_seed) == 2
    assert last.chosen.macs == min(last.by_seed)
