"""Reference networks tell how fast a machine is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ofa_nas.devices import AnyModel, DeviceInfo, MeasuringProtocol, Model, Profile, Visit
from ofa_nas.latency.references import (
    Timed,
    reference_architectures,
    reference_models,
    reference_name,
    slowdown,
    time_among_references,
)
from ofa_nas.precisions import FP32
from ofa_nas.space.search_space import SearchSpace


def test_slowdown_is_the_geometric_mean_over_shared_references() -> None:
    then = {"a": 1.0, "b": 4.0, "gone": 3.0}
    assert slowdown({"a": 2.0, "b": 8.0, "new": 9.0}, then) == pytest.approx(2.0)
    assert slowdown({"a": 2.0, "b": 4.0}, then) == pytest.approx(2.0**0.5)
    assert slowdown({}, then) == 1.0


def test_references_are_the_same_every_time(tiny: SearchSpace) -> None:
    first, second = list(reference_models(tiny)), list(reference_models(tiny))
    assert first == second
    archs = reference_architectures(tiny)
    assert [model.name for model in first] == [reference_name(arch) for arch in reversed(archs)]


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


@dataclass(slots=True)
class Listener:
    """A device that takes 4 ms for everything, and remembers in which order it was asked."""

    asked: list[str] = field(default_factory=list)
    forgotten: int = 0

    def info(self) -> DeviceInfo:
        raise NotImplementedError

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        self.asked = [model.name for model in models]
        for name in self.asked * protocol.rounds:
            yield Visit(name, (4.0,) * 5, (4.0,) * 5, spoilt=False, throttled=False)

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        raise NotImplementedError

    def forget(self) -> None:
        self.forgotten += 1


def time_on(device: Listener, space: SearchSpace, then_ms: dict[str, float]) -> Timed:
    models, protocol = [Model("own", b"")], MeasuringProtocol(rounds=2)
    *visits, timed = time_among_references(
        models, device, space=space, then_ms=then_ms, precision=FP32, protocol=protocol
    )
    assert all(isinstance(visit, Visit) for visit in visits)
    assert isinstance(timed, Timed)
    return timed


def test_models_are_timed_at_the_speed_of_the_references_and_the_largest_is_the_sentinel(
    tiny: SearchSpace,
) -> None:
    device, names = Listener(), [reference_name(arch) for arch in reference_architectures(tiny)]
    timed = time_on(device, tiny, {names[0]: 1.0, names[1]: 4.0, "gone": 2.0})
    assert device.asked == [*reversed(names), "own"]
    assert device.asked[0] == reference_name(tiny.largest)
    assert timed.slowdown == pytest.approx(2.0)
    assert timed.ratios == {names[0]: 4.0, names[1]: 1.0}
    assert timed.at_table_speed["own"].latency_ms == pytest.approx(2.0)
    assert timed.judged["own"].latency_ms == 4.0  # as it is, for the table is stale
    assert timed.stale == ("the references take 2.000 times as long as they did",)
    assert device.forgotten == 1


def test_where_nobody_knows_what_references_took_there_are_none(tiny: SearchSpace) -> None:
    device = Listener()
    timed = time_on(device, tiny, {})
    assert (device.asked, timed.slowdown, timed.ratios) == (["own"], 1.0, {})
    assert timed.judged["own"].latency_ms == 4.0
