"""Methods side by side: what is counted, and the best error after each evaluation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.choices import ChoiceSpace
from ofa_nas.search.comparison import MethodRun, compare_methods
from ofa_nas.search.methods import load_method
from ofa_nas.search.problem import Problem
from ofa_nas.space.encoding import Genes
from tests.search.worlds import TINY, made_up_problem

SPACE = ChoiceSpace((4,) * 5)
TABLE = np.random.default_rng(0).random(SPACE.counts)
COSTS = np.random.default_rng(1).uniform(1.0, 2.0, SPACE.counts)


def table_problem(limit: float = 1.5) -> Problem:
    return SPACE.problem(
        lambda genes: TABLE[tuple(genes.T)], costs=lambda genes: COSTS[tuple(genes.T)], limits=[limit]
    )


def test_a_run_ends_with_what_the_method_itself_finds_and_every_method_is_run_from_every_seed() -> None:
    methods, seeds = ["random", "evolution", "local", "ageing"], (3, 4)
    runs = list(compare_methods(table_problem(), methods, seeds=seeds, max_evaluations=150))
    assert [(run.method, run.seed) for run in runs] == [(name, seed) for name in methods for seed in seeds]
    for run in runs:
        rng = np.random.default_rng(run.seed)
        *_, last = load_method(run.method).search(table_problem(), rng=rng, max_evaluations=150)
        assert last.best is not None
        assert run.errors[-1] == last.best.errors[0]
        assert run.evaluations.tolist() == list(range(1, 1 + last.evaluations))
        assert (np.diff(run.errors) <= 0.0).all()
        assert run.cpu_seconds >= 0.0


def test_errors_are_the_least_so_far_of_what_keeps_every_limit() -> None:
    asked = list[Genes]()

    def predict(genes: Genes) -> Floats:
        asked.append(genes)
        errors = TABLE[tuple(genes.T)]
        return np.where(genes[:, 0] == 0, np.nan, errors)

    problem = replace(table_problem(1.2), predict=predict)
    (run,) = compare_methods(problem, ["random"], seeds=[0], max_evaluations=300)
    least, expected = np.inf, []
    for row in np.concatenate(asked).tolist():
        is_answer = COSTS[tuple(row)] <= 1.2 and row[0] != 0
        least = min(least, float(TABLE[tuple(row)])) if is_answer else least
        expected.append(least)
    assert run.errors.tolist() == expected
    assert run.errors[0] == np.inf > run.errors[-1]


def test_the_error_after_so_many_evaluations_is_that_of_the_last_where_a_method_ended_before() -> None:
    run = MethodRun("mine", 0, np.arange(1, 4), np.array([np.inf, 0.4, 0.3]), 0.0)
    assert [run.error_after(count) for count in (0, 1, 2, 3, 100)] == [np.inf, np.inf, 0.4, 0.3, 0.3]
    assert MethodRun("mine", 0, np.arange(0), np.empty(0), 0.0).error_after(9) == np.inf


def test_the_exact_method_is_counted_by_what_it_asks() -> None:
    problem = made_up_problem(TINY, (0.4, 1, 1, 1), seed=1)
    exact, evolution = compare_methods(problem, ["exact", "evolution"], seeds=[0], max_evaluations=900)
    assert exact.errors[-1] <= evolution.errors[-1] < np.inf
    assert 0 < len(exact.evaluations) < 900


def test_a_problem_of_ones_own_may_give_one_cost_as_a_vector() -> None:
    known = table_problem()
    problem = Problem(SPACE, known.predict, lambda genes: known.costs(genes)[:, 0], np.array([1.5]), ("ms",))
    (run,), (again,) = (
        compare_methods(one, ["local"], seeds=[1], max_evaluations=90) for one in (problem, known)
    )
    assert run.errors.tolist() == again.errors.tolist()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"methods": "evolution"}, r"methods 'evolution': expected a list of one or more"),
        ({"methods": []}, r"methods \[\]: expected a list of one or more"),
        ({"methods": ["random", "annealing"]}, "there is no 'annealing'; there are ageing, evolution"),
        ({"methods": ["random", 7]}, "methods: found 7; expected names"),
        ({"seeds": 3}, "seeds 3: expected a list of one or more"),
        ({"seeds": []}, r"seeds \[\]: expected a list of one or more"),
        ({"seeds": [0, -1]}, "seed -1: expected a whole number, 0 or more"),
        ({"max_evaluations": 0}, "max_evaluations 0: expected 1 or more"),
        ({"max_evaluations": 1e3}, "max_evaluations 1000.0: expected a whole number"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_before_anything_is_searched(
    wrong: dict[str, Any], told: str
) -> None:
    asked: dict[str, Any] = {"methods": ["random"], "seeds": [0], "max_evaluations": 10} | wrong
    problem = replace(table_problem(), predict=lambda _: pytest.fail("searched"))
    with pytest.raises(ConfigError, match=told):
        compare_methods(problem, asked.pop("methods"), **asked)


def test_a_method_that_asks_for_more_than_it_may_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy_lab").mkdir()
    (tmp_path / "greedy_lab" / "greedy.py").write_text(
        "from ofa_nas.search.methods import Generation, best_of, front_of\n\n\n"
        "def search(problem, *, rng, max_evaluations=10):\n"
        "    scored = problem.score(problem.space.sample(max_evaluations + 1, rng))\n"
        "    yield Generation(0, len(scored), best_of(problem, scored), front_of(problem, scored), 0.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="greedy: search: asked for 11 errors; expected 10 at most"):
        list(compare_methods(table_problem(), ["greedy_lab.greedy"], seeds=[0], max_evaluations=10))


@pytest.mark.parametrize("spoil", [lambda errors: errors[:-1], lambda errors: errors[:, None]])
def test_a_predictor_that_gives_no_error_for_each_is_refused(spoil: Callable[[Floats], Floats]) -> None:
    problem = replace(table_problem(), predict=lambda genes: spoil(TABLE[tuple(genes.T)]))
    with pytest.raises(ConfigError, match="predict: gave an array"):
        list(compare_methods(problem, ["random"], seeds=[0], max_evaluations=10))
