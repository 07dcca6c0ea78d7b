"""What a measurement tells of its runs: interval, 90th percentile, throttling."""

from math import comb

import numpy as np
import pytest

from ofa_nas.devices import MeasuringProtocol, Visit
from ofa_nas.devices.agent import bootstrap_interval
from ofa_nas.latency.measure import summarise


def exact_bootstrap_ranks(count: int) -> tuple[int, int]:
    """Ranks, from 0, between which the median of a resample of so many values lies in 95 % of all cases.

    Of an odd count it is at most the value of rank k where more than half of the draws are: a binomial.
    """
    half = (count + 1) // 2

    def chance_up_to(rank: int) -> float:
        p = (rank + 1) / count
        return sum(comb(count, hits) * p**hits * (1 - p) ** (count - hits) for hits in range(half, count + 1))

    chances = [chance_up_to(rank) for rank in range(count)]
    low, high = (next(rank for rank, chance in enumerate(chances) if chance >= q) for q in (0.025, 0.975))
    return low, high


def test_the_intervals_ends_are_those_of_all_resamples() -> None:
    """By the binomial distribution, without a draw; 400 draws find the same ranks nearly."""
    ratios = []
    for count in (41, 61, 81, 101, 121, 141, 161, 181):
        values = np.random.default_rng(count).permutation(count).astype(float)
        low, high = bootstrap_interval(values.tolist())
        ranks = exact_bootstrap_ranks(count)
        middle = (count - 1) / 2
        ratios.append([(middle - low) / (middle - ranks[0]), (high - middle) / (ranks[1] - middle)])
    assert np.mean(ratios, axis=0) == pytest.approx([1.0, 1.0], abs=0.06)  # 90 % would be 0.84 of it


def test_a_skewed_sample_has_a_skewed_interval() -> None:
    ranks = np.arange(101.0)
    low, high = bootstrap_interval(ranks.tolist())
    skewed_low, skewed_high = bootstrap_interval((1.05**ranks).tolist())
    assert (skewed_low, skewed_high) == pytest.approx((1.05**low, 1.05**high), rel=0.01)
    assert skewed_high - 1.05**50 > 1.3 * (1.05**50 - skewed_low)


def test_a_measurements_interval_is_that_of_its_visits_medians() -> None:
    """Not of the runs; one model is too few to divide drift out."""
    medians = np.random.default_rng(4).permutation(np.linspace(9.0, 11.0, num=41)).tolist()
    walls = [(ms, 0.2 * ms, ms, 5 * ms, ms) for ms in medians]
    (one,) = summarise(
        [Visit("m", wall, wall, spoilt=False, throttled=False) for wall in walls],
        protocol=MeasuringProtocol(),
    )
    assert (one.low_ms, one.high_ms) == bootstrap_interval(medians)
    assert one.latency_ms == pytest.approx(10.0)
    assert one.uncertainty == pytest.approx((one.high_ms - one.low_ms) / (2 * 1.96) / 10.0)
    assert one.noisy
    width = (one.high_ms - one.low_ms) / one.latency_ms
    for interval, is_noisy in ((0.99 * width, True), (1.01 * width, False)):
        protocol = MeasuringProtocol(interval=interval)
        (again,) = summarise([Visit("m", wall, wall, False, False) for wall in walls], protocol=protocol)
        assert again.noisy == is_noisy


@pytest.mark.parametrize(("clock", "factor"), [("wall", 1.0), ("cpu", 0.5)])
def test_the_90th_percentile_is_that_of_all_runs(clock: str, factor: float) -> None:
    """Of 1 to 99 ms that is 89.2, however visits share them out."""
    shuffled = np.random.default_rng(3).permutation(np.arange(1.0, 100.0)).tolist()
    runs = [tuple(shuffled[start : start + 9]) for start in range(0, 99, 9)]
    visits = [Visit("m", one, tuple(ms / 2 for ms in one), spoilt=False, throttled=False) for one in runs]
    (found,) = summarise(visits, protocol=MeasuringProtocol(clock=clock))
    assert found.runs == 99
    assert found.p90_ms == pytest.approx(factor * 89.2)


@pytest.mark.parametrize(("count", "is_throttled"), [(0, False), (4, False), (5, True), (10, True)])
def test_half_of_the_visits_make_a_throttled_measurement(count: int, is_throttled: bool) -> None:
    visits = [
        Visit("m", (1.0,) * 5, (1.0,) * 5, spoilt=False, throttled=number < count) for number in range(10)
    ]
    (found,) = summarise(visits, protocol=MeasuringProtocol())
    assert found.throttled == is_throttled
