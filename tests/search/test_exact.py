"""What is called exact is the optimum: against everything there is, and against a MILP solver."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search import gap
from ofa_nas.search.chain import prune, whole_front
from ofa_nas.search.fronts import weigh
from ofa_nas.search.methods import Generation, best_of, exact
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.problem import Problem, Tables, Worth
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import MACS, TINY, every_architecture, made_up_problem, tiny_problem


def solve(problem: Problem) -> Generation:
    *_, last = exact.search(problem, rng=np.random.default_rng(0))
    return last


def solver_error(problem: Problem) -> float:
    """The least error by HiGHS, one program for each resolution."""
    tables = problem.tables
    assert tables is not None
    assert tables.worth is not None
    worths = [
        _solver_worth(problem, tables, tables.worth.table, row) for row in range(len(tables.costs[0].fixed))
    ]
    return float(tables.worth.error(np.array([max(worths)]))[0])


def _solver_worth(problem: Problem, tables: Tables, table: CostTable, resolution: int) -> float:
    encoding, worth = table.encoding, table.choices[resolution]
    cells = [(row, value) for row, value in np.ndindex(worth.shape) if np.isfinite(worth[row, value])]
    rows, values = np.array(cells).T
    constraints = [LinearConstraint(np.equal.outer(np.arange(len(worth)), rows).astype(float), 1, 1)]
    present = values > 0
    for span, stage in zip(encoding.spans, encoding.space.stages, strict=True):
        for row in range(span.start - 1, span.stop - 1):
            depth = row - span.start + 2
            if depth <= stage.depths[0]:
                constraints.append(LinearConstraint(((rows == row) & present).astype(float)[None], 1, 1))
            if depth > 1:
                order = ((rows == row - 1) & present).astype(float) - ((rows == row) & present)
                constraints.append(LinearConstraint(order[None], 0, np.inf))
    highest = np.ones(len(cells))
    for cost, limit in zip(tables.costs, problem.limits, strict=True):
        spent, fixed = cost.choices[resolution, rows, values], cost.fixed[resolution]
        if cost.is_peak:
            highest[spent > limit] = 0.0
            if fixed.max() > limit:
                return -np.inf
        elif np.isfinite(limit):
            constraints.append(LinearConstraint(spent[None] / limit, -np.inf, 1.0 - fixed.sum() / limit))
    solved = milp(
        -worth[rows, values],
        integrality=np.ones(len(cells)),
        bounds=Bounds(0, highest),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    return (
        -np.inf
        if solved.x is None
        else float(worth[rows, values] @ np.round(solved.x) + table.fixed[resolution].sum())
    )


_SHARES = (0.05, 0.4, 1.0)


@pytest.mark.parametrize("quantiles", list(product(_SHARES, repeat=4)), ids=str)
def test_it_is_the_best_of_everything_there_is(quantiles: tuple[float, ...]) -> None:
    problem = made_up_problem(TINY, quantiles, seed=1)
    everything = problem.score(every_architecture())
    feasible = everything.take(problem.is_feasible(everything.costs))
    last = solve(problem)
    if not len(feasible):
        assert last.best is None
        return
    assert last.best is not None
    assert last.best.errors[0] == feasible.errors.min()
    assert last.bounds == (last.best.errors[0],)


@pytest.mark.campaign
@pytest.mark.parametrize("is_below", [False, True])
def test_limits_to_the_last_bit_are_kept_and_used(is_below: bool) -> None:
    problem = made_up_problem(TINY, (1, 1, 1, 1), seed=4)
    everything = problem.score(every_architecture())
    for first in np.random.default_rng(0).permutation(len(everything))[:400]:
        met = everything.costs[first, :2]
        limits = np.append(np.nextafter(met, 0.0) if is_below else met, [np.inf, np.inf])
        tight = replace(problem, limits=limits)
        feasible = everything.take(tight.is_feasible(everything.costs))
        last = solve(tight)
        if len(feasible):
            assert last.best is not None
            assert last.best.errors[0] == feasible.errors.min()
            assert last.bounds == (feasible.errors.min(),)


def test_one_limit_to_the_last_bit_is_used_however_costs_are_added_up() -> None:
    rng = np.random.default_rng(0)
    shape = TINY.length, 1 + int(TINY.choice_counts.max())
    for _ in range(8):
        draws = 0.1 * rng.integers(5, size=shape), 0.1 * rng.integers(20, size=shape)
        tables = [np.where(np.arange(shape[1]) > 0, drawn, 0.0) for drawn in draws]
        cost, worth = (CostTable.by_gene(TINY, table) for table in tables)
        problem = _one_cost(cost, worth)
        everything = problem.score(every_architecture())
        limits = np.unique(everything.costs[everything.costs > 0.0])
        problem = replace(problem, limits=limits[-1:], levels=tuple(limits[:-1].tolist()))
        last = solve(problem)
        for level, bound in zip(problem.at_levels(), last.bounds, strict=True):
            best = best_of(level, last.front)
            least = everything.errors[level.is_feasible(everything.costs)].min()
            assert best is not None
            assert best.errors[0] == pytest.approx(least, abs=1e-12)
            assert bound == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize("most_parts", [gap.MOST_PARTS, 0])
def test_what_lies_on_no_weighed_front_is_found_without_a_start(
    most_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gap, "MOST_PARTS", most_parts)
    problem = _one_gene_counts([(0, 10, 3), (10, 0, 3), (6, 6, 2), (7, 7, 4)])
    last = solve(replace(problem, limits=np.array([6.5, 6.5])))
    assert last.best is not None
    assert last.best.costs.tolist() == [[6.0, 6.0]]
    assert most_parts == 0 or last.bounds == (last.best.errors[0],)
    nothing = solve(replace(problem, limits=np.array([5.5, 5.5])))
    assert nothing.best is None
    assert most_parts == 0 or nothing.bounds == (np.inf,)


def _one_cost(cost: CostTable, worth: CostTable, *others: CostTable) -> Problem:
    """Nothing limited; other costs may stand behind the first."""
    tables = cost, *others
    return Problem(
        space=TINY,
        predict=lambda genes: 1.0 - 0.01 * worth.total(genes),
        costs=lambda genes: np.stack([table.total(genes) for table in tables], axis=1),
        limits=np.full(len(tables), np.inf),
        names=tuple(f"cost {number}" for number in range(len(tables))),
        tables=Tables(tables, Worth(worth, lambda sums: 1.0 - 0.01 * sums)),
    )


def _one_gene_counts(choices: list[tuple[float, float, float]]) -> Problem:
    """Two costs and a worth of the first block's choices; all else costs and is worth nothing."""
    tables = []
    for values in zip(*choices, strict=True):
        table = np.zeros((TINY.length, 1 + len(choices)))
        table[1, 1:] = values
        tables.append(CostTable.by_gene(TINY, table))
    *costs, worth = tables
    return Problem(
        space=TINY,
        predict=lambda genes: 1.0 - 0.1 * worth.total(genes),
        costs=lambda genes: np.stack([cost.total(genes) for cost in costs], axis=1),
        limits=np.array([np.inf, np.inf]),
        names=("first", "second"),
        tables=Tables(tuple(costs), Worth(worth, lambda sums: 1.0 - 0.1 * sums)),
    )


def test_a_first_cost_that_is_nothing_everywhere_does_not_disturb_a_limit_of_another() -> None:
    nothing = CostTable.by_gene(TINY, np.zeros((TINY.length, 1 + int(TINY.choice_counts.max()))))
    problem = replace(_one_cost(nothing, MACS, MACS), limits=np.array([np.inf, 400_000.0]))
    everything = problem.score(every_architecture())
    last = solve(problem)
    assert last.best is not None
    assert last.best.errors[0] == everything.errors[problem.is_feasible(everything.costs)].min()


def test_a_search_that_was_cut_short_claims_nothing() -> None:
    problem = made_up_problem(Encoding.of(SearchSpace.load("efficientnet_lite")), (0.5, 1, 1, 1), 1)
    for most in (1, 50):
        *_, last = exact.search(problem, rng=np.random.default_rng(0), max_evaluations=most)
        assert last.bounds == (None,)
        assert last.evaluations <= most


@pytest.mark.parametrize("quantiles", [(0.4, 1, 1, 1), (1, 1, 1, 0.4)], ids=str)
def test_its_front_is_the_enumerated_front(quantiles: tuple[float, ...]) -> None:
    problem = made_up_problem(TINY, quantiles, seed=2)
    everything = problem.score(every_architecture())
    shown = everything.take(problem.is_shown(everything.costs))
    points = np.stack([shown.costs[:, 0], shown.errors], axis=1)
    front = solve(problem).front
    found = np.stack([front.costs[:, 0], front.errors], axis=1)
    assert found.tolist() == np.unique(points[non_dominated(points)], axis=0).tolist()


@pytest.mark.parametrize(
    ("space", "quantiles", "seed"),
    [
        ("efficientnet_lite", (0.3, 1, 1, 1), 0),
        ("efficientnet_lite", (0.3, 0.3, 1, 1), 1),
        ("efficientnet_lite", (1, 0.2, 1, 0.5), 2),
        ("efficientnet_lite", (0.3, 0.3, 0.25, 0.8), 3),
        ("mobilenet_v3", (0.2, 1, 1, 0.6), 4),
        ("mobilenet_v3", (0.3, 0.3, 1, 1), 5),
    ],
)
def test_a_solver_of_integer_programs_agrees(space: str, quantiles: tuple[float, ...], seed: int) -> None:
    problem = made_up_problem(Encoding.of(SearchSpace.load(space)), quantiles, seed)
    last = solve(problem)
    assert last.best is not None
    assert problem.is_feasible(last.best.costs).all()
    assert last.best.errors[0] == pytest.approx(solver_error(problem), abs=1e-9)
    assert last.bounds == (last.best.errors[0],)


@pytest.mark.parametrize("quantiles", [(0.6, 1, 1, 1), (0.6, 0.4, 1, 0.8)], ids=str)
def test_several_levels_are_answered_in_one_run(quantiles: tuple[float, ...]) -> None:
    problem = made_up_problem(Encoding.of(SearchSpace.load("efficientnet_lite")), quantiles, 6)
    first = float(problem.limits[0])
    problem = replace(problem, levels=(0.7 * first, 0.5 * first))
    last = solve(problem)
    for level, bound in zip(problem.at_levels(), last.bounds, strict=True):
        best = best_of(level, last.front)
        alone = solve(level).best
        assert best is not None
        assert alone is not None
        assert best.errors[0] == alone.errors[0] == bound


def test_a_gap_that_stays_open_is_told_and_evolution_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = made_up_problem(Encoding.of(SearchSpace.load("efficientnet_lite")), (0.3, 0.3, 1, 1), 1)
    best = solve(problem).best
    monkeypatch.setattr(gap, "MOST_PARTS", 0)
    last = solve(problem)
    assert best is not None
    assert last.best is not None
    (bound,) = last.bounds
    assert bound is not None
    assert bound < best.errors[0] <= last.best.errors[0]
    assert last.evaluations > 20_000


def test_an_error_that_is_not_additive_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs an additive predictor"):
        next(exact.search(tiny_problem(np.array([np.inf, np.inf])), rng=np.random.default_rng(0)))


def test_pruning_keeps_one_of_equal_rows_and_nothing_that_is_beaten() -> None:
    worth, costs = np.array([3.0, 1.0, 3.0, 2.0, 5.0, 0.0]), np.array([2.0, 1.0, 2.0, 1.0, 4.0, 0.5])
    kept = prune(worth, costs)
    assert worth[kept].tolist() == [0.0, 2.0, 3.0, 5.0]
    assert costs[kept].tolist() == [0.5, 1.0, 2.0, 4.0]


def test_pruning_is_what_looking_at_every_pair_finds_and_takes_the_first_of_equal_rows() -> None:
    rng = np.random.default_rng(0)
    for count, values in ((1, 2), (7, 3), (2000, 60), (2000, 8)):
        worth, costs = rng.integers(values, size=(2, count)).astype(np.float64)
        beats = (worth[:, None] >= worth) & (costs[:, None] <= costs)
        is_equal = (worth[:, None] == worth) & (costs[:, None] == costs)
        is_beaten = (beats & ~is_equal).any(axis=0) | np.triu(is_equal, 1).any(axis=0)
        unbeaten = np.flatnonzero(~is_beaten)
        assert prune(worth, costs).tolist() == unbeaten[np.argsort(costs[unbeaten])].tolist()


def test_a_limit_cuts_the_front_and_nothing_else() -> None:
    tables = made_up_problem(TINY, (1, 1, 1, 1), seed=3).tables
    assert tables is not None
    assert tables.worth is not None
    worth, cost = tables.worth.table, tables.costs[0]
    whole = whole_front(worth, cost)
    limit = float(np.median(whole.costs))
    cut = whole_front(worth, cost, limit=limit)
    assert cut.costs.tolist() == whole.costs[whole.costs <= limit].tolist()
    assert cut.genes.tolist() == whole.genes[whole.costs <= limit].tolist()


def test_a_chain_finds_what_meets_its_limits_to_the_last_bit() -> None:
    tables = made_up_problem(TINY, (1, 1, 1, 1), seed=4).tables
    assert tables is not None
    assert tables.worth is not None
    worth, latency, rng = tables.worth.table, tables.costs[0], np.random.default_rng(0)
    noises = [rng.uniform(0.9, 1.1, latency.choices.shape) for _ in range(2)]
    sums = tuple(replace(latency, choices=latency.choices * noise) for noise in noises)

    def costs(genes: Genes) -> Floats:
        return np.stack([table.total(genes) for table in sums], axis=1)

    def is_feasible(limits: Floats, genes: Genes) -> npt.NDArray[np.bool_]:
        return np.asarray((costs(genes) <= limits).all(axis=1))

    rows = every_architecture()
    rows = rows[rows[:, 0] == 0]
    for limits in costs(rows):
        key = weigh(sums, dict(enumerate(0.5 / limits)))
        chain = gap.Chain(worth, gap.Sums(sums, limits, key), 0)
        most = worth.total(rows)[is_feasible(limits, rows)].max()
        found = chain.best_above(most - 1e-6, partial(is_feasible, limits))
        assert found is not None
        assert worth.total(found).tolist() == [most]
