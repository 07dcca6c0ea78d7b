"""Regularised evolution: who breeds, who dies, and how far it gets."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.search.choices import ChoiceSpace
from ofa_nas.search.methods import ageing, load_method
from ofa_nas.search.problem import Problem
from ofa_nas.space.encoding import Genes
from tests.search.worlds import TINY, made_up_problem

SPACE = ChoiceSpace((5,) * 8)


def problem_of(limits: tuple[float, ...] = (), seeds: Genes | None = None) -> Problem:
    """The sum of the genes is to be small, a product of them dear."""
    problem = SPACE.problem(
        lambda genes: genes.sum(axis=1) / 40, costs=lambda genes: 1.0 + (4 - genes).sum(axis=1), limits=limits
    )
    return replace(problem, seeds=seeds)


def test_a_child_is_one_of_the_best_of_a_sample_with_little_changed_and_takes_the_oldest_ones_place() -> None:
    rng, size = np.random.default_rng(0), ageing.POPULATION
    population = ageing._Population(problem_of(), size, rng)
    first, changed = population.rows.genes.copy(), list[int]()
    born = np.concatenate([first, *(population.breed(rng).genes for _ in range(250))])
    for number in range(size, len(born)):
        alive = born[number - size : number]
        changed.append(int((alive != born[number]).sum(axis=1).min()))
    assert np.mean(changed) < 1.5
    oldest_first = np.roll(population.rows.genes, -population.oldest, axis=0)
    assert (oldest_first == born[-size:]).all()
    assert (population.rows.errors == problem_of().predict(population.rows.genes)).all()
    assert population.rows.errors.mean() < problem_of().predict(first).mean() - 0.2


@pytest.mark.parametrize(("most", "size"), [(20_000, 100), (500, 100), (100, 20), (5, 1), (1, 1)])
def test_the_population_is_as_published_or_a_fifth_of_what_may_be_scored(most: int, size: int) -> None:
    first = next(iter(ageing.search(problem_of(), rng=np.random.default_rng(0), max_evaluations=most)))
    assert first.evaluations == size


def test_levels_have_populations_of_their_own_as_far_as_there_is_something_to_spend() -> None:
    problem = replace(problem_of((30.0,)), levels=(25.0, 20.0))
    for most, first in ((900, 180), (2, 2)):
        generations = list(ageing.search(problem, rng=np.random.default_rng(0), max_evaluations=most))
        assert generations[0].evaluations == first
        assert generations[-1].evaluations == most


def test_what_breaks_limits_less_breeds_until_something_keeps_them() -> None:
    problem = problem_of((5.0,))
    for seed in range(5):
        generations = list(ageing.search(problem, rng=np.random.default_rng(seed), max_evaluations=1500))
        assert generations[0].best is None
        assert generations[-1].best is not None
        assert generations[-1].best.costs[0, 0] == 5.0
        assert generations[-1].best.errors[0] == 28 / 40


def test_it_begins_with_the_seeds() -> None:
    best = np.zeros((1, 8), dtype=np.int16)
    first = next(
        iter(ageing.search(problem_of(seeds=best), rng=np.random.default_rng(0), max_evaluations=50))
    )
    assert first.best is not None
    assert (first.best.genes == best).all()


def test_its_children_are_canonical() -> None:
    asked = list[Genes]()
    known = made_up_problem(TINY, (0.4, 1, 1, 0.5), seed=1)

    def predict(genes: Genes) -> Floats:
        asked.append(genes)
        return known.predict(genes)

    rng = np.random.default_rng(0)
    *_, last = ageing.search(replace(known, predict=predict), rng=rng, max_evaluations=400)
    assert TINY.is_canonical(np.concatenate(asked)).all()
    assert last.evaluations == 400


def test_costs_that_a_caller_keeps_are_not_written_into() -> None:
    kept = list[Floats]()

    def costs(genes: Genes) -> Floats:
        kept.append(1.0 + genes[:, :1].astype(float))
        kept[-1].setflags(write=False)
        return kept[-1]

    problem = SPACE.problem(lambda genes: genes.sum(axis=1) / 40, costs=costs, limits=[3.0])
    *_, last = ageing.search(problem, rng=np.random.default_rng(0), max_evaluations=300)
    assert last.evaluations == 300


def test_it_is_better_than_drawing_and_the_same_from_the_same_seed() -> None:
    problem, errors = problem_of(), dict[str, list[float]]()
    for method in ("ageing", "random"):
        for seed in (*range(5), 0):
            rng = np.random.default_rng(seed)
            *_, last = load_method(method).search(problem, rng=rng, max_evaluations=500)
            assert last.best is not None
            errors.setdefault(method, []).append(float(last.best.errors[0]))
    assert max(errors["ageing"]) < min(errors["random"])
    assert all(found[0] == found[-1] for found in errors.values())
