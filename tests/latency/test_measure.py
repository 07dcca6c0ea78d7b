"""Medians of interleaved visits, drift divided out."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.devices import MeasuringProtocol, Visit
from ofa_nas.latency.measure import divide_out_drift, summarise


def visits_of(levels: list[float], speeds: list[float], *, throttled: bool = False) -> list[Visit]:
    """One round a speed: every model once, in an order of its own."""
    rng = np.random.default_rng(0)
    found = []
    for speed in speeds:
        for model in rng.permutation(len(levels)).tolist():
            walls = (levels[model] * speed,) * 5
            cpus = tuple(wall / 2 for wall in walls)
            found.append(Visit(f"m{model}", walls, cpus, False, throttled))
    return found


def test_steady_machine_gives_the_levels_themselves() -> None:
    levels = [1.0 + model for model in range(12)]
    found = {one.model: one for one in summarise(visits_of(levels, [1.0] * 10), protocol=MeasuringProtocol())}
    for model, level in enumerate(levels):
        one = found[f"m{model}"]
        assert one.latency_ms == pytest.approx(level)
        assert (one.runs, one.noisy, one.throttled) == (50, False, False)


def test_drift_is_divided_out() -> None:
    rng = np.random.default_rng(1)
    levels = np.linspace(1.0, 3.0, 20)
    which = np.concatenate([rng.permutation(20) for _ in range(10)])
    drift = 1.0 + 0.4 * np.sin(np.arange(200) / 25.0)
    steady = divide_out_drift(levels[which] * drift, which)
    ratios = np.array([np.median(steady[which == model]) for model in range(20)]) / levels
    assert ratios / np.median(ratios) == pytest.approx(np.ones(20), rel=0.02)
    raw = np.array([np.median((levels[which] * drift)[which == model]) for model in range(20)]) / levels
    assert np.ptp(raw) > 5 * np.ptp(ratios)
    assert np.median(levels[which] * drift / steady) == pytest.approx(1.0, abs=1e-3)


def test_one_models_own_noise_is_not_taken_for_drift() -> None:
    rng = np.random.default_rng(2)
    which = np.concatenate([rng.permutation(20) for _ in range(10)])
    values = np.ones(200)
    outlier = int(np.flatnonzero(which == 3)[4])
    values[outlier] = 2.0
    steady = divide_out_drift(values, which)
    assert steady[outlier] == pytest.approx(2.0)
    assert np.delete(steady, outlier) == pytest.approx(np.ones(199))


def test_few_models_are_left_as_they_are() -> None:
    values = np.array([1.0, 2.0, 1.1, 2.2, 1.2, 2.4, 1.3, 2.6, 1.0, 2.0])
    assert divide_out_drift(values, np.arange(10) % 2).tolist() == values.tolist()


def test_wide_interval_is_noisy_and_slow_device_is_throttled() -> None:
    restless = [1.0, 1.5, 0.7, 1.2, 0.8, 1.4, 0.9, 1.1, 1.3, 0.6]
    one = summarise(visits_of([1.0], restless, throttled=True), protocol=MeasuringProtocol())[0]
    assert one.noisy
    assert one.throttled
    assert one.low_ms < one.latency_ms < one.high_ms


def test_spoilt_visits_of_few_models_count_only_where_there_are_no_others() -> None:
    visits = visits_of([1.0], [1.0] * 5 + [5.0] * 5)
    some = [replace(visit, spoilt=visit.wall_ms[0] > 1.0) for visit in visits]
    (one,) = summarise(some[:9], protocol=MeasuringProtocol())
    assert (one.latency_ms, one.p90_ms, one.runs, one.noisy, one.uncertainty) == (1.0, 1.0, 25, False, 0.0)
    (half,) = summarise(some, protocol=MeasuringProtocol())
    assert (half.latency_ms, half.runs, half.noisy) == (1.0, 25, True)
    assert half.uncertainty > 0.5  # five visits that agree do not make up for five that were spoilt
    (wholly,) = summarise([replace(visit, spoilt=True) for visit in visits], protocol=MeasuringProtocol())
    assert (wholly.latency_ms, wholly.runs, wholly.noisy) == (3.0, 50, True)


def test_spoilt_visits_of_many_models_count_once_their_drift_is_divided_out() -> None:
    rng = np.random.default_rng(0)
    speed = np.repeat(np.where(np.arange(20) % 2, 1.2, 1.0), 20)  # half of the visits are slow
    visits: list[Visit] = []
    for _ in range(10):
        for model in rng.permutation(40):
            ms = (1.0 + model / 40) * speed[len(visits)] * float(np.exp(rng.normal(0.0, 0.03)))
            is_slow = bool(speed[len(visits)] > 1.0)
            visits.append(Visit(f"{model}", (ms,) * 5, (ms,) * 5, spoilt=is_slow, throttled=False))
    found = {one.model: one for one in summarise(visits, protocol=MeasuringProtocol())}
    errors = np.array([found[f"{model}"].latency_ms / (1.0 + model / 40) for model in range(40)])
    assert np.abs(errors / np.median(errors) - 1.0).mean() < 0.013  # 0.0156 by the calm ones alone
    assert {one.runs for one in found.values()} == {50}
    throttled = [replace(visit, throttled=visit.spoilt) for visit in visits]
    assert max(one.runs for one in summarise(throttled, protocol=MeasuringProtocol())) < 50


def test_processor_time_serves_where_the_protocol_asks() -> None:
    one = summarise(visits_of([1.0], [1.0] * 10), protocol=MeasuringProtocol(clock="cpu"))[0]
    assert one.latency_ms == pytest.approx(0.5)
