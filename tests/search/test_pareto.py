"""The fast filters against plain loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.arrays import Flags, Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.pareto import non_dominated


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


@pytest.mark.parametrize("width", [2, 3])
def test_what_is_no_number_is_told_and_infinity_is_one(width: int) -> None:
    points = np.arange(4.0 * width).reshape(4, width)
    points[2, 1] = np.inf
    assert np.flatnonzero(non_dominated(points)).tolist() == [0]
    points[2, 1] = np.nan
    with pytest.raises(ConfigError, match=r"^objectives: NaN in place \[2, 1\], which"):
        non_dominated(points)
