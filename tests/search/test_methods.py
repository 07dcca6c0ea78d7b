"""The contract of every search method, on a space small enough to enumerate."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.plugins import plugin_names
from ofa_nas.search.methods import evolution, load_method
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.polish import is_improvable, polish
from ofa_nas.search.problem import Floats, Problem, stage_swaps
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import MACS, PEAK, TINY, enumerated_best, every_architecture, tiny_problem

METHODS = [name for name in plugin_names("search.methods") if name != "exact"]  # which needs sums
_MACS = np.quantile(MACS.total(every_architecture()), [0.02, 0.2, 0.5, 0.9])
_PEAKS = np.quantile(PEAK.peak(every_architecture()), [0.3, 0.6])
LIMITS = [np.array([macs, peak]) for macs in (*_MACS, np.inf) for peak in (*_PEAKS, np.inf)]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


LARGE = Encoding.of(SearchSpace.load("mobilenet_v3"))


def _large_problem() -> Problem:
    """A rugged objective over 1e20 architectures."""

    def predict(genes: Genes) -> Floats:
        return np.asarray(np.sin(genes @ np.arange(genes.shape[1])) - 0.1 * np.sqrt(genes).sum(axis=1))

    def costs(genes: Genes) -> Floats:
        return np.asarray(genes.sum(axis=1, keepdims=True), dtype=np.float64)

    return Problem(LARGE, predict, costs, np.array([60.0]), ("sum",))


def test_there_are_several_methods() -> None:
    assert {"evolution", "random"} <= set(METHODS)


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_it_finds_the_enumerated_optimum(method: str, limits: Floats) -> None:
    problem = tiny_problem(limits)
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(1), max_evaluations=30_000)
    best = enumerated_best(problem)
    assert last.best is not None
    assert last.best.errors[0] == best.errors[0]
    assert last.best.genes.tolist() == best.genes.tolist()


def test_it_keeps_the_budgets_and_never_gets_worse(method: str) -> None:
    problem = tiny_problem(LIMITS[4])
    errors: list[float] = []
    for generation in load_method(method).search(problem, rng=np.random.default_rng(2), max_evaluations=9000):
        assert problem.is_shown(generation.front.costs).all()
        if generation.best is not None:
            assert (problem.costs(generation.best.genes) <= problem.limits).all()
            errors.append(generation.best.errors[0])
    assert errors == sorted(errors, reverse=True)


def test_its_front_is_the_enumerated_front(method: str) -> None:
    problem = tiny_problem(np.array([_MACS[2], np.inf]))
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(3), max_evaluations=40_000)
    everything = problem.score(every_architecture())
    points = np.stack([everything.costs[:, 0], everything.errors], axis=1)
    front = np.unique(points[non_dominated(points)], axis=0)
    found = np.stack([last.front.costs[:, 0], last.front.errors], axis=1)
    assert found.tolist() == front.tolist()


def test_the_same_seed_gives_the_same_result(method: str) -> None:
    def run(seed: int) -> str:
        rng = np.random.default_rng(seed)
        *_, last = load_method(method).search(_large_problem(), rng=rng, max_evaluations=5000)
        return str(last.front.genes.tolist())

    assert run(7) == run(7)
    assert run(7) != run(8)


@pytest.mark.parametrize("most", [1500, 5000, 12_345])
def test_it_never_spends_more_than_it_may(method: str, most: int) -> None:
    rng = np.random.default_rng(4)
    *_, last = load_method(method).search(_large_problem(), rng=rng, max_evaluations=most)
    assert 0.9 * most < last.evaluations <= most


def test_evolution_ends_where_no_single_swap_gains() -> None:
    problem = _large_problem()
    problem = replace(problem, swaps=stage_swaps(LARGE))
    *_, last = evolution.search(problem, rng=np.random.default_rng(6))
    assert last.best is not None
    assert not is_improvable(problem, last.best)


def test_it_ends_with_no_best_when_nothing_is_feasible(method: str) -> None:
    problem = tiny_problem(np.array([1.0, np.inf]))
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(5), max_evaluations=20_000)
    assert last.best is None


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


def test_swaps_reach_every_architecture_of_a_stage() -> None:
    swaps = stage_swaps(TINY)
    assert [len(swap.options) for swap in swaps] == [2, 20, 20]
    large = stage_swaps(Encoding.of(SearchSpace.load("mobilenet_v3")))
    assert [len(swap.options) for swap in large] == [25, 7371, 7371, 7371, 7371, 7371]
