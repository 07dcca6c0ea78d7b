"""The comparison of searched with other networks: who stands beside whom, and on which images."""

import numpy as np
import pytest

from benchmarks.bench_comparison import Result, compare_all
from ofa_nas.devices import Visit
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.pipeline.delivery.contenders import Contender, Hits

NO_MODEL: OrtModel = None  # type: ignore[assignment]  # nobody runs it here


def result(group: str, name: str, latency_ms: float, *, even: int, odd: int) -> Result:
    """A network that is right on the first so many of 100 even and of 100 odd images."""
    hits: Hits = np.zeros(200, dtype=np.bool_)
    hits[: 2 * even : 2] = True
    hits[1 : 2 * odd : 2] = True
    visits = [
        Visit(name, (latency_ms * speed,) * 3, (), spoilt=False, throttled=False) for speed in (1, 2, 1)
    ]
    return Result(group, Contender(name, "architecture", NO_MODEL, "fp32", macs=1), hits, visits)


def test_the_fastest_as_accurate_on_even_images_is_judged_on_odd_ones() -> None:
    searched = [
        result("searched", "too weak", 1.0, even=59, odd=90),
        result("searched", "right", 2.0, even=60, odd=55),
        result("searched", "slower", 3.0, even=80, odd=80),
    ]
    others = [result("file", "plain", 5.0, even=60, odd=60)]
    (row,) = compare_all([*searched, *others], tolerance=0.0)
    assert (row.searched, row.searched_accuracy, row.name) == ("right", 0.575, "plain")
    assert row.ratio
    assert (row.ratio.value, row.ratio.low, row.ratio.high) == (2.5, 2.5, 2.5)
    assert row.difference
    assert row.difference.value == pytest.approx(-0.05)
    (row,) = compare_all([*searched, *others], tolerance=0.01)
    assert row.searched == "too weak"


def test_nothing_stands_beside_a_network_that_is_better_than_all() -> None:
    weak = result("searched", "weak", 1.0, even=10, odd=99)
    (row,) = compare_all([weak, result("largest", "largest", 9.0, even=90, odd=90)], tolerance=0.5)
    assert (row.searched, row.ratio, row.difference) == (None,) * 3
