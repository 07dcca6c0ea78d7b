"""The contract of every search method, on a space small enough to enumerate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.plugins import plugin_names
from ofa_nas.search.methods import Generation, best_of, evolution, load_method
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.polish import is_improvable, polish
from ofa_nas.search.problem import Problem, Scored, stage_swaps
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import (
    MACS,
    PEAK,
    TINY,
    enumerated_best,
    error_rate,
    every_architecture,
    made_up_problem,
    tiny_problem,
)

METHODS = plugin_names("search.methods")
SEARCHING = [
    name for name in METHODS if name not in {"exact", "optuna", "ageing"}
]  # which find anything on a tiny space
# Of the others' evaluations: a climb takes small steps, a trial long, and one at a time is slow.
SHARE = {"local": 0.3, "optuna": 0.03, "ageing": 0.1}
_MACS = np.quantile(MACS.total(every_architecture()), [0.02, 0.2, 0.5, 0.9])
_PEAKS = np.quantile(PEAK.peak(every_architecture()), [0.3, 0.6])
LIMITS = [np.array([macs, peak]) for macs in (*_MACS, np.inf) for peak in (*_PEAKS, np.inf)]
ADDITIVE = made_up_problem(TINY, (0.4, 1, 1, 0.5), seed=1)  # the kind that every method takes


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


LARGE = Encoding.of(SearchSpace.load("mobilenet_v3"))
LITE = Encoding.of(SearchSpace.load("efficientnet_lite"))


def _large_problem() -> Problem:
    """A rugged objective over 1e20 architectures."""

    def predict(genes: Genes) -> Floats:
        return np.asarray(np.sin(genes @ np.arange(genes.shape[1])) - 0.1 * np.sqrt(genes).sum(axis=1))

    def costs(genes: Genes) -> Floats:
        return np.asarray(genes.sum(axis=1, keepdims=True), dtype=np.float64)

    return Problem(LARGE, predict, costs, np.array([60.0]), ("sum",))


class Counted:
    """A problem that counts the architectures whose error was asked for."""

    def __init__(self, problem: Problem) -> None:
        self.count, self.predict = 0, problem.predict
        self.problem = replace(problem, predict=self._predict)

    def _predict(self, genes: Genes) -> Floats:
        self.count += len(genes)
        return self.predict(genes)


def run(method: str, problem: Problem, seed: int, most: int = 30_000) -> Generation:
    most = int(SHARE.get(method, 1) * most)
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(seed), max_evaluations=most)
    return last


def points(scored: Scored) -> Floats:
    return np.stack([scored.costs[:, 0], scored.errors], axis=1)


def test_there_are_several_methods() -> None:
    assert set(METHODS) >= {"ageing", "exact", "evolution", "random", "local", "optuna"}


@pytest.mark.parametrize("method", SEARCHING)
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_it_finds_the_enumerated_optimum(method: str, limits: Floats) -> None:
    problem = tiny_problem(limits)
    last = run(method, problem, seed=1)
    best = enumerated_best(problem)
    assert last.best is not None
    assert last.best.errors[0] == best.errors[0]
    assert last.best.genes.tolist() == best.genes.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_every_seed_finds_the_enumerated_optimum(seed: int) -> None:
    rugged = tiny_problem(LIMITS[4])
    for method, problem in [("exact", ADDITIVE), ("evolution", ADDITIVE), ("evolution", rugged)]:
        last = run(method, problem, seed)
        assert last.best is not None
        assert last.best.errors[0] == enumerated_best(problem).errors[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["ageing", "optuna"])
def test_the_others_come_near_the_enumerated_optimum(method: str, seed: int) -> None:
    problem = tiny_problem(LIMITS[4])
    scored = problem.score(every_architecture())
    errors = scored.errors[problem.is_feasible(scored.costs)]
    last = run(method, problem, seed)
    assert last.best is not None
    assert (errors < last.best.errors[0]).mean() < 0.05


def test_every_level_is_answered(method: str) -> None:
    *lower, first = np.quantile(ADDITIVE.costs(every_architecture())[:, 0], [0.1, 0.4, 0.7]).tolist()
    problem = replace(ADDITIVE, limits=np.array([first, *ADDITIVE.limits[1:]]), levels=tuple(lower))
    last = run(method, problem, seed=1)
    for level in problem.at_levels():
        best = best_of(level, last.front)
        assert best is not None
        slack = 0.01 if method in {"ageing", "optuna"} else 0.0
        assert best.errors[0] <= enumerated_best(level).errors[0] + slack


@pytest.mark.parametrize("limits", [(0.4, 1, 1, 0.5), (0.3, 0.3, 1, 1)], ids=str)
def test_it_keeps_the_budgets_and_never_gets_worse(
    method: str, limits: tuple[float, float, float, float]
) -> None:
    counted = Counted(made_up_problem(TINY, limits, seed=2))
    problem, most = counted.problem, int(9000 * SHARE.get(method, 1))
    errors: list[float] = []
    for generation in load_method(method).search(problem, rng=np.random.default_rng(2), max_evaluations=most):
        assert counted.count <= generation.evaluations <= most
        assert problem.is_shown(generation.front.costs).all()
        assert non_dominated(points(generation.front)).all()
        assert (generation.front.errors == counted.predict(generation.front.genes)).all()
        if generation.best is not None:
            assert (problem.costs(generation.best.genes) <= problem.limits).all()
            errors.append(generation.best.errors[0])
    assert errors
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("method", SEARCHING)
def test_its_front_is_the_enumerated_front(method: str) -> None:
    problem = tiny_problem(np.array([_MACS[2], np.inf]))
    last = run(method, problem, seed=3, most=40_000)
    everything = points(problem.score(every_architecture()))
    front = np.unique(everything[non_dominated(everything)], axis=0)
    assert points(last.front) == pytest.approx(front, rel=1e-12)  # sums of a batch of another size round anew


def test_the_same_seed_gives_the_same_result(method: str) -> None:
    problem = ADDITIVE if method == "exact" else _large_problem()
    first, again, other = (str(run(method, problem, seed, 5000).front.genes.tolist()) for seed in (7, 7, 8))
    assert first == again
    assert (first != other) == (method != "exact")  # which draws nothing


@pytest.mark.parametrize("most", [1500, 5000, 12_345])
def test_it_never_spends_more_than_it_may(method: str, most: int) -> None:
    counted = Counted(made_up_problem(LITE, (0.3, 0.3, 1, 1), seed=1))
    last = run(method, counted.problem, 4, most)
    allowed = int(most * SHARE.get(method, 1))
    assert counted.count <= last.evaluations <= allowed
    assert method in {"exact", "evolution"} or last.evaluations > 0.9 * allowed  # which end of themselves


@pytest.mark.parametrize("most", [1, 2, 7, 60])
@pytest.mark.parametrize("seeds", [0, 1, 20])
def test_it_yields_something_however_little_it_may_spend(method: str, most: int, seeds: int) -> None:
    counted = Counted(ADDITIVE)
    seeded = TINY.sample(seeds, np.random.default_rng(0)) if seeds else None
    problem = replace(counted.problem, seeds=seeded)
    rng = np.random.default_rng(1)
    generations = list(load_method(method).search(problem, rng=rng, max_evaluations=most))
    assert generations
    assert counted.count == generations[-1].evaluations <= most


@pytest.mark.parametrize("most", [0, -1])
def test_nothing_to_spend_is_refused(method: str, most: int) -> None:
    with pytest.raises(ConfigError, match=f"max_evaluations {most}: expected 1 or more"):
        next(iter(load_method(method).search(ADDITIVE, rng=np.random.default_rng(0), max_evaluations=most)))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda errors: errors[:, None], r"gave an array \(\d+, 1\) for \d+ rows of genes"),
        (lambda _: 0.5, r"gave an array \(\) for"),
        (lambda errors: errors[:-1], r"gave an array"),
        (lambda errors: ["low"] * len(errors), "expected an array of numbers, got"),
        (lambda errors: errors - np.inf, "minus infinity"),
    ],
)
def test_what_is_no_error_for_each_is_refused(
    method: str, answer: Callable[[Floats], Any], told: str
) -> None:
    problem = replace(ADDITIVE, predict=lambda genes: answer(ADDITIVE.predict(genes)))
    with pytest.raises(ConfigError, match=f"predict: .*{told}"):
        run(method, problem, seed=1, most=2000)


@pytest.mark.parametrize("method", [*SEARCHING, "ageing", "optuna"])
def test_gaps_in_a_table_are_no_answers(method: str) -> None:
    def predict(genes: Genes) -> Floats:
        return np.where(genes.sum(axis=1) % 3 == 0, np.nan, error_rate(genes))

    problem = replace(tiny_problem(LIMITS[4]), predict=predict)
    everything = every_architecture()
    known = everything[everything.sum(axis=1) % 3 != 0]
    scored = problem.score(known)
    last = run(method, problem, seed=1)
    assert last.best is not None
    assert (last.front.genes.sum(axis=1) % 3 != 0).all()
    if method in SEARCHING:
        assert last.best.errors[0] == scored.errors[problem.is_feasible(scored.costs)].min()
    nothing = replace(problem, predict=lambda genes: np.full(len(genes), np.nan))
    last = run(method, nothing, seed=1, most=3000)
    assert last.best is None
    assert not len(last.front)


def test_populations_evolve_apart_until_they_are_joined_where_the_error_is_no_sum() -> None:
    problem = replace(_large_problem(), swaps=stage_swaps(LARGE))
    run = evolution._Run(problem, np.random.default_rng(1), 2 * evolution.APART)
    run.start()
    assert len(run.herds) == evolution.HERDS
    for _ in range(3):
        assert run.evolve()
    rows = [{tuple(row) for row in herd.genes.tolist()} for herd in run.herds]
    assert len(set.union(*rows)) == sum(map(len, rows))
    best = min(float(herd.errors[problem.is_feasible(herd.costs)].min()) for herd in run.herds)
    assert run.best is not None
    assert run.best.errors[0] == best
    run.join()
    assert not run.is_apart
    assert run.best.errors[0] == best


@pytest.mark.parametrize(
    ("problem", "most"),
    [(made_up_problem(LITE, (0.3, 1, 1, 1), seed=1), 2 * evolution.APART), (_large_problem(), 50_000)],
    ids=["a sum", "little to spend"],
)
def test_one_population_serves_where_the_error_is_nearly_a_sum_or_little_is_to_spend(
    problem: Problem, most: int
) -> None:
    run = evolution._Run(problem, np.random.default_rng(1), most)
    run.start()
    assert not run.is_apart


def test_evolution_ends_where_no_single_swap_gains() -> None:
    problem = _large_problem()
    problem = replace(problem, swaps=stage_swaps(LARGE))
    *_, last = evolution.search(problem, rng=np.random.default_rng(6))
    assert last.best is not None
    assert not is_improvable(problem, last.best)


def test_it_ends_with_no_best_when_nothing_is_feasible(method: str) -> None:
    problem = replace(ADDITIVE, limits=np.array([1e-9, *ADDITIVE.limits[1:]]))
    assert run(method, problem, seed=5, most=5000).best is None


def test_polish_ends_where_no_single_swap_gains() -> None:
    problem = tiny_problem(LIMITS[4])
    genes = every_architecture()
    scored = problem.score(genes)
    feasible = scored.take(problem.is_feasible(scored.costs))
    start = feasible.take(np.array([np.argmax(feasible.errors)]))
    assert is_improvable(problem, start)
    *_, last = polish(problem, start)
    assert last.errors[0] < start.errors[0]
    assert not is_improvable(problem, last)


def test_swaps_that_always_fit_stay_in_the_space() -> None:
    row = LARGE.sample(1, np.random.default_rng(2))
    for swap in stage_swaps(LARGE):
        rows = np.repeat(row, len(swap.options), axis=0)
        rows[:, swap.columns] = swap.options
        assert swap.always_fits
        assert LARGE.is_canonical(rows).all()


def test_swaps_reach_every_architecture_of_a_stage() -> None:
    swaps = stage_swaps(TINY)
    assert [len(swap.options) for swap in swaps] == [2, 20, 20]
    large = stage_swaps(Encoding.of(SearchSpace.load("mobilenet_v3")))
    assert [len(swap.options) for swap in large] == [25, 7371, 7371, 7371, 7371, 7371]
