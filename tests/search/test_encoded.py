"""One's own predictor and costs over a search space, without a supernet."""

from collections.abc import Sequence

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.encoded import encoding_problem
from ofa_nas.search.methods import load_method, strongest_method
from ofa_nas.search.problem import Problem, Worth
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import MACS, PEAK, TINY, error_rate, every_architecture

ENERGY = tabulate(TINY, lambda layer: 1e-6 * layer_macs(layer) + 0.01)  # mJ
GAINS = CostTable.by_gene(TINY, np.random.default_rng(3).uniform(size=(TINY.length, TINY.width)))
WORTH = Worth(GAINS, lambda sums: np.exp(-sums))
MEDIAN = float(np.median(ENERGY.total(every_architecture())))
PEAKS = float(np.quantile(PEAK.peak(every_architecture()), 0.7))


def enumerated(problem: Problem) -> float:
    scored = problem.score(every_architecture())
    return float(scored.errors[problem.is_feasible(scored.costs)].min())


@pytest.mark.parametrize(
    ("costs", "limits"), [((), ()), (ENERGY, (MEDIAN,)), ((ENERGY, MACS, PEAK), (MEDIAN, np.inf, PEAKS))]
)
def test_tables_are_searched_exactly(costs: CostTable | Sequence[CostTable], limits: Sequence[float]) -> None:
    problem = encoding_problem(TINY, WORTH, costs=costs, limits=limits)
    assert strongest_method(problem) == "exact"
    *_, last = load_method("exact").search(problem, rng=np.random.default_rng(0))
    assert last.best is not None
    assert last.best.errors[0] == enumerated(problem)
    assert last.bounds[0] == pytest.approx(last.best.errors[0])


def test_callables_are_searched_by_evolution_at_several_levels() -> None:
    def costs(genes: np.ndarray) -> Floats:
        return np.sqrt(ENERGY.total(genes))

    problem = encoding_problem(
        TINY, error_rate, costs=costs, limits=[MEDIAN**0.5], levels=[0.8 * MEDIAN**0.5]
    )
    assert strongest_method(problem) == "evolution"
    *_, last = load_method("evolution").search(problem, rng=np.random.default_rng(0))
    assert last.best is not None
    assert last.best.errors[0] == enumerated(problem)
    assert [level.limits[0] / MEDIAN**0.5 for level in problem.at_levels()] == pytest.approx([0.8, 1.0])


def test_a_callable_predictor_serves_with_tables() -> None:
    problem = encoding_problem(TINY, error_rate, costs=ENERGY, limits=[MEDIAN])
    assert strongest_method(problem) == "evolution"
    *_, last = load_method("evolution").search(problem, rng=np.random.default_rng(0))
    assert last.best is not None
    assert last.best.errors[0] == enumerated(problem)


def test_tables_of_another_space_are_refused() -> None:
    lite = tabulate(Encoding.of(SearchSpace.load("efficientnet_lite")), layer_macs)
    with pytest.raises(ConfigError, match="expected tables of tiny, got efficientnet_lite"):
        encoding_problem(TINY, WORTH, costs=lite)
    with pytest.raises(ConfigError, match="expected tables of tiny, got efficientnet_lite"):
        encoding_problem(TINY, Worth(lite, lambda sums: -sums))
    with pytest.raises(ConfigError, match="expected tables of tiny, got 3"):
        encoding_problem(TINY, WORTH, costs=[3])  # type: ignore[list-item]


def test_limits_are_those_of_the_costs() -> None:
    with pytest.raises(ConfigError, match="expected at most 1 limits"):
        encoding_problem(TINY, WORTH, costs=ENERGY, limits=[1.0, 2.0])
