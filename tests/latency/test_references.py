"""Reference networks tell how fast a machine is."""

from dataclasses import replace

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


def test_references_stand_at_every_resolution_and_at_both_ends(tiny: SearchSpace) -> None:
    archs = reference_architectures(tiny)
    assert {arch.resolution for arch in archs} == set(tiny.resolutions)
    assert archs[0] == tiny.smallest
    assert archs[-1] == tiny.largest
    assert len(archs) > 3


def test_a_table_of_fewer_resolutions_shares_their_random_references(tiny: SearchSpace) -> None:
    fewer = replace(tiny, resolutions=tiny.resolutions[1:])
    shared = set(reference_architectures(tiny)) & set(reference_architectures(fewer))
    assert {arch.resolution for arch in shared} == set(fewer.resolutions)


def test_of_many_resolutions_five_have_a_random_reference() -> None:
    space = SearchSpace.load("mobilenet_v3")
    assert len(space.resolutions) > 5
    assert len(reference_architectures(space)) == 8
