"""Reference networks tell how fast a machine is."""

import pytest

from ofa_nas.latency.references import reference_architectures, reference_models, slowdown
from ofa_nas.space.search_space import SearchSpace


def test_slowdown_is_the_geometric_mean_over_shared_references() -> None:
    then = {"a": 1.0, "b": 4.0, "gone": 3.0}
    assert slowdown({"a": 2.0, "b": 8.0, "new": 9.0}, then) == pytest.approx(2.0)
    assert slowdown({"a": 2.0, "b": 4.0}, then) == pytest.approx(2.0**0.5)
    assert slowdown({}, then) == 1.0


def test_references_are_the_same_every_time(tiny: SearchSpace) -> None:
    first, second = reference_models(tiny), reference_models(tiny)
    assert first == second
    assert len(first) == len(reference_architectures(tiny)) == len({model.name for model in first})
