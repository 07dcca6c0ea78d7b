"""What the search benchmark reports and how once-for-all's samples are read, in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search_contenders import Outcome, Recorder
from benchmarks.search_peer import _Predictor
from benchmarks.search_problems import every_architecture
from benchmarks.search_report import gap_curves, hypervolume
from ofa_nas.search.problem import Problem, Tables
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from tests.search import worlds


def test_gaps_are_means_over_budgets_at_what_was_spent() -> None:
    run = Outcome(
        evaluations=np.array([10.0, 20.0]),
        cpu_seconds=np.array([0.5, 2.0]),
        errors=np.array([[0.5, 0.3], [0.4, 0.2]]),
        points=np.empty((0, 2)),
        violations=0,
    )
    least = np.array([0.4, 0.1])
    by_evaluations = gap_curves([run], least, np.array([9.0, 10.0, 99.0]), by_seconds=False)
    assert by_evaluations.tolist() == [[np.inf, pytest.approx(15.0), pytest.approx(5.0)]]
    assert gap_curves([run], least, np.array([1.0]), by_seconds=True) == pytest.approx(15.0)


def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps() -> None:
    stairs = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [2.5, 2.5], [9.0, 0.0]])
    assert hypervolume(stairs, reference=np.array([4.0, 4.0])) == pytest.approx(1 + 2 + 3)


def test_hypervolume_counts_equal_points_once_and_points_beyond_the_reference_never() -> None:
    points = np.array([[1.0, 1.0], [1.0, 1.0], [5.0, 0.0], [2.0, 2.0]])
    assert hypervolume(points, reference=np.array([2.0, 2.0])) == pytest.approx(1.0)
    assert hypervolume(points, reference=np.array([1.0, 1.0])) == 0.0


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_hypervolume_agrees_with_counting_cells(count: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(12, size=(count, 2)).astype(float)
    cells = [(x, y) for x in range(10) for y in range(10)]
    covered = sum(any(px <= x and py <= y for px, py in points) for x, y in cells)
    assert hypervolume(points, reference=np.array([10.0, 10.0])) == pytest.approx(covered)


def test_a_recorder_keeps_the_best_within_each_budget() -> None:
    first = float(np.median(worlds.MACS.total(worlds.every_architecture())))
    problem = worlds.tiny_problem(np.array([first, np.inf]))
    recorder = Recorder(problem)
    for genes in np.array_split(worlds.every_architecture(), 7):
        recorder.score(genes)
    outcome = recorder.outcome()
    assert outcome.evaluations[-1] == 800
    assert (np.diff(outcome.errors[:, 0]) <= 0).all()
    assert outcome.errors[-1, 0] == worlds.enumerated_best(problem).errors[0]


def test_every_architecture_is_there_once() -> None:
    rows = every_architecture(worlds.TINY)
    assert np.array_equal(np.unique(rows, axis=0), np.unique(worlds.every_architecture(), axis=0))
    assert len(rows) == 800


def test_samples_of_once_for_all_are_read_as_the_architectures_they_are() -> None:
    encoding = Encoding.of(SearchSpace.load("mobilenet_v3"))
    macs = tabulate(encoding, layer_macs)
    problem = Problem(
        space=encoding,
        predict=lambda genes: np.zeros(len(genes)),
        costs=lambda genes: macs.total(genes)[:, None],
        limits=np.array([np.inf]),
        names=("macs",),
        tables=Tables((macs,)),
    )
    predictor = _Predictor(Recorder(problem))
    for row in encoding.sample(20, np.random.default_rng(0)):
        (arch,) = encoding.decode(row[None])
        deep = [[*stage, *[stage[0]] * (4 - len(stage))] for stage in arch.stages[1:]]  # theirs fills up
        sample = {
            "wid": None,
            "r": [arch.resolution],
            "d": [len(stage) for stage in arch.stages[1:]],
            "ks": [block.kernel_size for stage in deep for block in stage],
            "e": [block.expand_ratio for stage in deep for block in stage],
        }
        assert predictor.genes([sample]).tolist() == [row.tolist()]
        assert predictor.predict_efficiency(sample) == pytest.approx(macs.total(row[None])[0])
