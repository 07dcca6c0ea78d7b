"""The learning rate of a phase, in closed form."""

from dataclasses import replace

import pytest

from ofa_nas.training.phase import Phase

PHASE = Phase("p", "largest", epochs=2.5, learning_rate=0.4, warmup=0.1)


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 0.0), (0.05, 0.2), (0.1, 0.4), (0.55, 0.2), (1.0, 0.0), (0.325, 0.341421)]
)
def test_rate_rises_to_the_peak_and_falls_as_a_cosine(progress: float, rate: float) -> None:
    assert PHASE.rate_at(progress) == pytest.approx(rate, abs=1e-6)


def test_a_floor_is_where_the_cosine_ends() -> None:
    floored = replace(PHASE, rate_floor=0.05)
    assert floored.rate_at(1.0) == pytest.approx(0.02)
    assert floored.rate_at(0.1) == pytest.approx(0.4)
