"""The fast filters against plain loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.arrays import Flags, Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.pareto import hypervolume, non_dominated


def _non_dominated_by_loops(objectives: Floats) -> Flags:
    def is_dominated(point: Floats) -> bool:
        return any(bool((other <= point).all() and (other < point).any()) for other in objectives)

    return np.array([not is_dominated(point) for point in objectives], dtype=np.bool_)


@given(
    st.integers(2, 4),
    st.integers(1, 60),
    st.integers(2, 12),
    st.integers(0, 2**32 - 1),
)
def test_the_filter_agrees_with_plain_loops(objectives: int, count: int, levels: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(levels, size=(count, objectives)).astype(float)
    assert non_dominated(points).tolist() == _non_dominated_by_loops(points).tolist()


def test_the_front_ignores_input_order() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(30, size=(400, 2)).astype(float)
    order = rng.permutation(400)
    assert non_dominated(points[order]).tolist() == non_dominated(points)[order].tolist()


def test_nothing_is_dominated_on_a_falling_line_and_all_but_one_on_a_rising_line() -> None:
    rising = np.stack([np.arange(100_000.0), np.arange(100_000.0)], axis=1)
    falling = rising * [1.0, -1.0]
    assert non_dominated(falling).all()
    assert np.flatnonzero(non_dominated(rising)).tolist() == [0]


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


@pytest.mark.parametrize("width", [2, 3])
def test_what_is_no_number_is_told_and_infinity_is_one(width: int) -> None:
    points = np.arange(4.0 * width).reshape(4, width)
    points[2, 1] = np.inf
    assert np.flatnonzero(non_dominated(points)).tolist() == [0]
    points[2, 1] = np.nan
    with pytest.raises(ConfigError, match=r"^objectives: NaN in place \[2, 1\], which"):
        non_dominated(points)


def test_an_area_of_what_is_no_number_is_told() -> None:
    points = np.array([[1.0, 1.0], [np.nan, 0.5]])
    with pytest.raises(ConfigError, match=r"^objectives: NaN in place \[1, 0\], which"):
        hypervolume(points, reference=np.array([2.0, 2.0]))
    with pytest.raises(ConfigError, match=r"^reference: NaN in place \[1\], which"):
        hypervolume(points[:1], reference=np.array([2.0, np.nan]))
