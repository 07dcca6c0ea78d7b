"""Spaces described by choices per gene: a tabular benchmark, and every engine on it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.choices import ChoiceSpace
from ofa_nas.search.methods import best_of, evolution, load_method
from ofa_nas.search.polish import is_improvable
from ofa_nas.search.problem import Problem
from ofa_nas.space.encoding import Genes

SPACE = ChoiceSpace((5,) * 6 + (3,))
EVERY = SPACE.every()
EVALUATIONS = 4000  # of 46,875


def tabular_problem(seed: int, *, limits: Sequence[float] = (15.8,), levels: Sequence[float] = ()) -> Problem:
    """Error rates and latencies in two tables: sums with interactions of neighbours, and noise."""
    rng = np.random.default_rng(seed)
    worth, pairs = rng.normal(size=(7, 5)), 0.7 * rng.normal(size=(6, 5, 5))
    ms = rng.uniform(0.5, 5.0, size=(7, 5))
    places = np.arange(7)
    sums = worth[places, EVERY].sum(axis=1) + pairs[places[:-1], EVERY[:, :-1], EVERY[:, 1:]].sum(axis=1)
    errors = 0.3 / (1.0 + np.exp(0.5 * sums)) + 0.05 + 0.002 * rng.random(len(EVERY))
    latency_ms = ms[places, EVERY].sum(axis=1) * rng.uniform(0.98, 1.02, len(EVERY))
    tables = [table.reshape(SPACE.counts) for table in (errors, latency_ms)]

    def costs(genes: Genes) -> Floats:
        return np.asarray(tables[1][tuple(genes.T)])

    return SPACE.problem(lambda genes: tables[0][tuple(genes.T)], costs=costs, limits=limits, levels=levels)


def optimum(problem: Problem) -> float:
    scored = problem.score(EVERY)
    return float(scored.errors[problem.is_feasible(scored.costs)].min())


@pytest.mark.parametrize("seed", range(20))
def test_evolution_finds_the_enumerated_optimum(seed: int) -> None:
    problem = tabular_problem(1)
    rng = np.random.default_rng(seed)
    *_, last = load_method("evolution").search(problem, rng=rng, max_evaluations=EVALUATIONS)
    assert last.best is not None
    assert last.best.errors[0] == optimum(problem)
    assert last.evaluations <= EVALUATIONS


@pytest.mark.parametrize("most", [100, 500])
@pytest.mark.parametrize("limits", [(), (15.8,), (12.0,)], ids=str)
def test_evolution_of_a_few_hundred_evaluations_is_better_than_drawing(
    limits: Sequence[float], most: int
) -> None:
    problem = tabular_problem(1, limits=limits)
    least, errors = optimum(problem), dict[str, list[float]]()
    for method in ("evolution", "random"):
        engine = load_method(method)
        for seed in (*range(8), 0):
            rng = np.random.default_rng(seed)
            *_, last = engine.search(problem, rng=rng, max_evaluations=most)
            errors.setdefault(method, []).append(np.inf if last.best is None else last.best.errors[0] - least)
    assert np.mean(errors["evolution"]) < 0.3 * np.mean(errors["random"])
    assert all(found[0] == found[-1] for found in errors.values())


@pytest.mark.parametrize("most", [50, 100, 500, 1000, 2000, evolution.LITTLE - 1])
def test_evolution_spends_all_of_little_and_asks_once_for_each_row(most: int) -> None:
    asked, known = list[Genes](), tabular_problem(1)

    def predict(genes: Genes) -> Floats:
        asked.append(genes)
        return known.predict(genes)

    *_, last = evolution.search(
        replace(known, predict=predict), rng=np.random.default_rng(0), max_evaluations=most
    )
    rows = np.concatenate(asked)
    assert len(np.unique(rows, axis=0)) == len(rows) == last.evaluations == most


def test_evolution_of_little_begins_within_limits_that_few_keep() -> None:
    costs = tabular_problem(1).costs(EVERY)[:, 0]
    problem = tabular_problem(1, limits=[float(np.quantile(costs, 0.01))])
    for seed in range(5):
        first = next(iter(evolution.search(problem, rng=np.random.default_rng(seed), max_evaluations=50)))
        assert first.best is not None
        assert (first.best.costs <= problem.limits).all()


@pytest.mark.parametrize(
    ("method", "evaluations", "gap"),
    [
        ("local", EVALUATIONS, 0.0),
        ("ageing", 2000, 0.0),
        ("random", EVALUATIONS, 0.02),
        ("optuna", 200, 0.05),
    ],
)
def test_the_other_engines_take_it_and_come_near(method: str, evaluations: int, gap: float) -> None:
    problem = tabular_problem(1)
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(0), max_evaluations=evaluations)
    assert last.best is not None
    assert (last.best.costs <= problem.limits).all()
    assert optimum(problem) <= last.best.errors[0] <= optimum(problem) + gap


@pytest.mark.parametrize("most", [500, 250_000])
@pytest.mark.parametrize("method", ["evolution", "local"])
@pytest.mark.parametrize("counts", [(1, 1), (3, 1, 2), (5, 4, 3)], ids=str)
def test_a_space_that_is_soon_exhausted_is_searched_to_its_end(
    method: str, counts: tuple[int, ...], most: int
) -> None:
    space = ChoiceSpace(counts)
    errors = np.random.default_rng(0).random(counts)
    problem = space.problem(lambda genes: errors[tuple(genes.T)], costs=lambda genes: 1.0 + genes[:, 0])
    problem = replace(problem, limits=np.array([2.0]), levels=(1.0,))
    *_, last = load_method(method).search(problem, rng=np.random.default_rng(0), max_evaluations=most)
    assert method == "local" or last.evaluations <= space.cardinality
    for level in problem.at_levels():
        best = best_of(level, last.front)
        assert best is not None
        assert best.errors[0] == errors[: int(level.limits[0])].min()


@pytest.mark.parametrize("counts", [(5, 5, 5), (3,) * 7], ids=str)
def test_evolution_asks_once_for_each_row(counts: tuple[int, ...]) -> None:
    space, errors, asked = ChoiceSpace(counts), np.random.default_rng(0).random(counts), list[Genes]()

    def predict(genes: Genes) -> Floats:
        asked.append(genes.copy())
        return np.asarray(errors[tuple(genes.T)])

    problem = space.problem(predict, costs=lambda genes: 1.0 + genes[:, 0], limits=[3.0], levels=[2.0])
    *_, last = load_method("evolution").search(problem, rng=np.random.default_rng(0))
    rows = np.concatenate(asked)
    assert len(np.unique(rows, axis=0)) == len(rows) == last.evaluations


def test_several_limits_are_answered_in_one_run() -> None:
    problem = tabular_problem(1, levels=[12.9, 14.0])
    rng = np.random.default_rng(0)
    *_, last = load_method("evolution").search(problem, rng=rng, max_evaluations=EVALUATIONS)
    for level in problem.at_levels():
        best = best_of(level, last.front)
        assert best is not None
        assert best.errors[0] == optimum(level)


def test_without_costs_nothing_is_limited() -> None:
    errors = np.random.default_rng(0).random(SPACE.counts)
    problem = SPACE.problem(lambda genes: errors[tuple(genes.T)])
    for method in ("evolution", "local", "random"):
        rng = np.random.default_rng(0)
        *_, last = load_method(method).search(problem, rng=rng, max_evaluations=EVALUATIONS)
        assert last.best is not None
        assert last.best.errors[0] < np.quantile(errors, 0.005)


def test_costs_may_be_several_and_only_the_first_limited() -> None:
    problem = SPACE.problem(
        lambda genes: 1.0 / (1.0 + genes.sum(axis=1)),
        costs=lambda genes: np.stack([1.0 + genes[:, 0], 1.0 + genes[:, 1]], axis=1),
        limits=[2.0],
    )
    assert problem.limits.tolist() == [2.0, np.inf]
    *_, last = load_method("evolution").search(problem, rng=np.random.default_rng(0), max_evaluations=5000)
    assert last.best is not None
    assert last.best.genes.tolist() == [[1, 4, 4, 4, 4, 4, 2]]


@pytest.mark.parametrize("counts", [(), (3, 0), (40_000,)])
def test_counts_that_make_no_space_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="expected one count a gene"):
        ChoiceSpace(counts)


@pytest.mark.parametrize(("limits", "levels"), [([1.0, 2.0], []), ([3.0], [4.0])])
def test_limits_that_do_not_fit_are_refused(limits: list[float], levels: list[float]) -> None:
    with pytest.raises(ConfigError, match="expected at most 1 limits"):
        SPACE.problem(
            lambda genes: genes[:, 0] / 5, costs=lambda genes: genes[:, 0], limits=limits, levels=levels
        )


@pytest.mark.parametrize("counts", [5, 2.5, (2.5,), "ab", [[2, 3]], np.ones((2, 2), dtype=int), None])
def test_counts_that_are_no_counts_are_refused(counts: Any) -> None:
    with pytest.raises(ConfigError, match="expected one count a gene"):
        ChoiceSpace(counts)


def test_counts_may_be_an_array() -> None:
    assert ChoiceSpace(np.array([2, 3])) == ChoiceSpace([2, 3]) == ChoiceSpace((2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [5.0, [0.0], [-1.0], [float("nan")], ["much"], [[1.0]], None])
@pytest.mark.parametrize("name", ["limits", "levels"])
def test_limits_that_are_no_numbers_above_zero_are_refused(name: str, limits: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*: expected"):
        SPACE.problem(lambda genes: genes[:, 0] / 5, costs=lambda genes: genes[:, 0], **{name: limits})


@pytest.mark.parametrize(
    "costs",
    [
        lambda _: 1.0,
        lambda genes: np.ones(len(genes) + 1),
        lambda genes: np.ones((len(genes), 0)),
        lambda genes: np.ones((len(genes), 2, 2)),
        lambda genes: np.full(len(genes), np.nan),
        lambda genes: ["dear"] * len(genes),
        lambda genes: np.ones((len(genes), 1 + (len(genes) > 1))),
    ],
)
def test_what_are_no_costs_is_refused(costs: Any) -> None:
    with pytest.raises(ConfigError, match=r"costs: .*expected"):
        SPACE.problem(lambda genes: genes[:, 0] / 5, costs=costs, limits=[5.0]).costs(EVERY[:9])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 2**32), st.floats(0, 1))
def test_what_is_drawn_and_varied_stays_in_the_space(counts: list[int], seed: int, rate: float) -> None:
    space, rng = ChoiceSpace(tuple(counts)), np.random.default_rng(seed)
    first, second = space.sample(50, rng), space.sample(50, rng)
    child = space.crossover(first, second, rng)
    assert ((child == first) | (child == second)).all()
    for genes in (first, space.mutate(first, rng, rate=rate), child):
        assert genes.dtype == np.int16
        assert space.is_canonical(genes).all()
    assert not space.is_canonical(first + np.array(counts, dtype=np.int16)).any()
    assert not space.is_canonical(first - np.array(counts, dtype=np.int16)).any()
    every = space.every()
    assert len({tuple(row) for row in every.tolist()}) == len(every) == space.cardinality
    assert sum(len(swap.options) for swap in space.swaps()) == sum(count for count in counts if count > 1)


def test_mutation_redraws_as_many_genes_as_it_is_told() -> None:
    space, rng = ChoiceSpace((4,) * 10), np.random.default_rng(0)
    genes = space.sample(10_000, rng)
    assert np.array_equal(space.mutate(genes, rng, rate=0.0), genes)
    for rate in (0.1, 1.0):
        changed = (space.mutate(genes, rng, rate=rate) != genes).mean()
        assert changed == pytest.approx(0.75 * rate, abs=0.01)


def test_evolution_ends_where_no_single_gene_gains() -> None:
    space, places = ChoiceSpace((9,) * 30), np.arange(30)
    worth, pairs = np.random.default_rng(0).random((30, 9)), np.random.default_rng(1).random((29, 9, 9))

    def predict(genes: Genes) -> Floats:
        sums = worth[places, genes].sum(axis=1) + pairs[places[:-1], genes[:, :-1], genes[:, 1:]].sum(axis=1)
        return np.asarray(sums / 60)

    problem = space.problem(predict, costs=lambda genes: genes.sum(axis=1), limits=[80.0])
    *_, last = load_method("evolution").search(problem, rng=np.random.default_rng(0), max_evaluations=20_000)
    assert last.best is not None
    assert not is_improvable(problem, last.best)
    before = replace(problem, swaps=())
    *_, unpolished = load_method("evolution").search(
        before, rng=np.random.default_rng(0), max_evaluations=3000
    )
    assert unpolished.best is not None
    assert is_improvable(problem, unpolished.best)


@pytest.mark.parametrize("method", ["ageing", "evolution", "local", "random", "optuna"])
def test_a_callable_that_writes_into_its_genes_changes_no_answer(method: str) -> None:
    def spoil(genes: Genes) -> Floats:
        values = np.asarray(genes.sum(axis=1) / 100.0)
        genes[:] = 0
        return values

    def search(values: Callable[[Genes], Floats]) -> list[int] | None:
        problem = SPACE.problem(values, costs=values, limits=[0.2])
        engine = load_method(method)
        *_, last = engine.search(problem, rng=np.random.default_rng(0), max_evaluations=100)
        return None if last.best is None else last.best.genes[0].tolist()

    assert search(spoil) == search(lambda genes: np.asarray(genes.sum(axis=1) / 100.0))


@pytest.mark.parametrize("method", ["ageing", "evolution", "local", "random", "optuna"])
def test_a_problem_of_ones_own_may_have_one_cost_and_a_list_of_limits(method: str) -> None:
    known = tabular_problem(1)
    rng = np.random.default_rng(0)
    own = Problem(SPACE, known.predict, lambda genes: known.costs(genes)[:, 0], [15.8], ("latency",))  # type: ignore[arg-type]
    *_, last = load_method(method).search(own, rng=rng, max_evaluations=300)
    assert last.best is not None
    assert last.best.costs[0, 0] <= 15.8
    wrong = replace(own, costs=lambda genes: np.ones((len(genes), 3)))
    with pytest.raises(ConfigError, match=r"costs: gave an array \(\d+, 3\) for"):
        list(load_method(method).search(wrong, rng=rng, max_evaluations=300))


@pytest.mark.parametrize("limits", [5.0, [1.0, 2.0], [], [np.nan], "5"])
def test_limits_of_a_problem_of_ones_own_that_do_not_fit_are_refused(limits: Any) -> None:
    with pytest.raises(ConfigError, match=r"limits .*: expected"):
        replace(tabular_problem(1), limits=limits)


@pytest.mark.parametrize("most", [100.5, 1e3, None, "100"])
def test_what_is_no_number_of_evaluations_is_refused(most: Any) -> None:
    problem, rng = tabular_problem(1), np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"max_evaluations .*: expected a whole number"):
        next(iter(load_method("evolution").search(problem, rng=rng, max_evaluations=most)))


def test_of_equals_within_the_limits_the_cheapest_is_best() -> None:
    space = ChoiceSpace((4, 2))
    problem = space.problem(
        lambda genes: 0.1 * (genes[:, 1] == 0), costs=lambda genes: 1.0 + genes[:, 0], limits=[3.0]
    )
    rows = space.every()[::-1]  # the dearest first
    best = best_of(problem, problem.score(rows))
    assert best is not None
    assert (best.genes.tolist(), best.errors.tolist()) == ([[0, 1]], [0.0])
    assert best_of(problem, problem.score(rows[rows[:, 0] == 3])) is None
