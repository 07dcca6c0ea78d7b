"""Finalists: which are timed, and which of them is taken."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ofa_nas.devices import AnyModel, DeviceInfo, MeasuringProtocol, Profile, Visit, open_device
from ofa_nas.errors import BudgetError, TableError
from ofa_nas.latency.references import reference_architectures, reference_name
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.finalists import Finals, Site, measure_finalists, pick_finalists
from ofa_nas.pipeline.searching.promise import promise_of_result
from ofa_nas.pipeline.searching.search import Goal, SearchResult, search_supernet
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, exact_table

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0)
MARGIN, LIMIT_MS = 0.1, 5.0


@dataclass(slots=True)
class KnownDevice:
    """A device that takes what it is told to take for each network, in each round a share more or less."""

    latencies_ms: Mapping[str, float]
    swing: float = 0.0
    forgotten: int = 0
    environment: dict[str, object] = field(default_factory=dict)
    providers: set[str] = field(default_factory=set)

    def info(self) -> DeviceInfo:
        return DeviceInfo("known", "none", 1, "none", self.environment)

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        self.providers.add(protocol.provider)
        for turn in range(protocol.rounds):
            for model in models:
                ms = self.latencies_ms[model.name] * (1.0 + self.swing * (-1) ** turn)
                runs = (ms,) * protocol.visit_runs
                yield Visit(model.name, runs, runs, spoilt=False, throttled=False)

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        raise NotImplementedError

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture(scope="module")
def table(tiny: SearchSpace) -> LatencyTable:
    """Right in truth, and believed to be off by the margin."""
    found = exact_table(tiny)
    assert found.error
    return replace(found, error=replace(found.error, p95=MARGIN))


@pytest.fixture(scope="module")
def estimators(small: SmallSupernet, table: LatencyTable) -> Estimators:
    return Estimators.load(small.name, table)


def result_of(estimators: Estimators, *budgets: Budget, margin: float | None = None) -> SearchResult:
    *_, result = search_supernet(estimators, budgets, margin=margin)
    assert isinstance(result, SearchResult)
    return result


@pytest.fixture(scope="module")
def result(estimators: Estimators) -> SearchResult:
    return result_of(estimators, Budget("latency", LIMIT_MS, "ms", "exact"))


def latency_of(candidate: Candidate) -> float:
    return candidate.latencies_ms["exact"]


def finals_of(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace, device: KnownDevice, *, rounds: int = 1
) -> Finals:
    candidates = pick_finalists(result, table.name)
    site = Site(device, table, "known://", FAST)
    *visits, finals = measure_finalists(result, candidates, tiny, site, rounds=rounds)
    assert isinstance(finals, Finals)
    assert all(isinstance(visit, Visit) for visit in visits)
    return finals


def times_as_long(result: SearchResult, factor: float) -> KnownDevice:
    """A device on which every candidate takes so many times what was predicted."""
    return KnownDevice({str(one.architecture): factor * latency_of(one) for one in result.front})


def test_a_finalist_in_its_place_does_not_make_a_search_less_exact(result: SearchResult) -> None:
    assert result.is_exact
    assert replace(result, chosen=result.front[0]).is_exact


def test_finalists_lie_on_both_sides_of_the_margin(result: SearchResult) -> None:
    picked = pick_finalists(result, "exact", count=5)
    latencies = [latency_of(one) for one in picked]
    assert 3 <= len(picked) <= 5
    assert result.chosen in picked
    assert latency_of(result.chosen) <= (1.0 - MARGIN) * LIMIT_MS < latencies[0] <= LIMIT_MS
    assert latencies[0] == max(latency_of(one) for one in result.front if latency_of(one) <= LIMIT_MS)
    assert latencies[-1] < latency_of(result.chosen)
    assert latencies == sorted(set(latencies), reverse=True)
    assert [one.accuracy for one in picked] == sorted((one.accuracy for one in picked), reverse=True)


def test_a_file_must_keep_the_budget_and_not_its_margin(result: SearchResult, estimators: Estimators) -> None:
    promise = promise_of_result(result, estimators, places={})
    assert [one.limit_ms for one in promise.latencies] == [LIMIT_MS]


def test_without_a_choice_the_chosen_one_is_timed_alone(estimators: Estimators, result: SearchResult) -> None:
    assert pick_finalists(result, "exact", count=1) == [result.chosen]
    free = result_of(estimators)
    assert pick_finalists(free, "exact") == [free.chosen]


def test_without_a_margin_others_lie_below_the_chosen_one(estimators: Estimators) -> None:
    result = result_of(estimators, Budget("latency", LIMIT_MS, "ms", "exact"), margin=0.0)
    first, *others = pick_finalists(result, "exact")
    assert first == result.chosen
    assert others
    assert all(0.85 * LIMIT_MS < latency_of(one) < latency_of(first) for one in others)


def test_a_measured_one_within_the_budget_beats_the_one_within_the_margin(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    device = times_as_long(result, 1.0)
    finals = finals_of(result, table, tiny, device)
    assert finals.chosen == pick_finalists(result, "exact")[0]
    assert finals.chosen.accuracy > result.chosen.accuracy
    assert all(one.is_within for one in finals.finalists)
    assert [one.measured.latency_ms for one in finals.finalists] == pytest.approx(
        [latency_of(one) for one in pick_finalists(result, "exact")]
    )
    assert (finals.address, finals.slowdown, device.forgotten) == ("known://", 1.0, 1)


def test_a_finalist_that_misses_the_measured_budget_is_passed_over(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    finals = finals_of(result, table, tiny, times_as_long(result, 1.0 / (1.0 - MARGIN)))
    assert [one.is_within for one in finals.finalists] == [
        latency_of(one.candidate) <= result.budgets[0].searched_limit for one in finals.finalists
    ]
    assert not finals.finalists[0].is_within
    assert finals.chosen == result.chosen


def test_a_median_keeps_the_budget_or_not_however_uncertain_it_is(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    device = times_as_long(result, 1.0 / (1.0 - MARGIN))
    calm, restless = (finals_of(result, table, tiny, one) for one in (device, replace(device, swing=0.2)))
    assert restless.finalists[0].measured.low_ms < LIMIT_MS < restless.finalists[0].measured.latency_ms
    assert [one.is_within for one in restless.finalists] == [one.is_within for one in calm.finalists]


def test_when_even_the_margin_is_too_small_a_smaller_one_is_taken(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    factor = LIMIT_MS / latency_of(result.chosen) + 1e-6
    finals = finals_of(result, table, tiny, times_as_long(result, factor))
    assert latency_of(finals.chosen) < latency_of(result.chosen)
    assert factor * latency_of(finals.chosen) <= LIMIT_MS


def test_a_table_that_is_far_too_fast_fails_with_the_margin_it_needs(
    estimators: Estimators, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    with pytest.raises(
        BudgetError, match=r"none of \d finalists keeps it on known://; the nearest"
    ) as caught:
        finals_of(result, table, tiny, times_as_long(result, 1.5))
    assert "latency on exact ≤ 5 ms" in str(caught.value)
    assert str(caught.value).endswith("or search with --margin 35%")
    again = result_of(estimators, Budget("latency", LIMIT_MS, "ms", "exact"), margin=0.35)
    finals = finals_of(again, table, tiny, times_as_long(again, 1.5))
    assert 1.5 * latency_of(finals.chosen) <= LIMIT_MS


@pytest.mark.parametrize(("factor", "rounds"), [(1.5, 2), (1.13, 2), (0.7, 2), (1.0, 1)])
def test_what_was_timed_tells_how_far_off_the_table_is_and_others_are_timed(
    factor: float, rounds: int, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    device = times_as_long(result, factor)
    finals = finals_of(result, table, tiny, device, rounds=3)
    within = [one for one in result.front if factor * latency_of(one) <= LIMIT_MS]
    assert finals.chosen == max(within, key=lambda one: one.accuracy)
    assert (max(one.round for one in finals.finalists), device.forgotten) == (rounds, rounds)
    accuracies = [one.candidate.accuracy for one in finals.finalists]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len({one.candidate.architecture for one in finals.finalists}) == len(accuracies)


def test_a_budget_that_is_well_used_takes_one_round(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    best = max(latency_of(one) for one in result.front if latency_of(one) <= LIMIT_MS)
    finals = finals_of(result, table, tiny, times_as_long(result, 0.96 * LIMIT_MS / best), rounds=3)
    assert {one.round for one in finals.finalists} == {1}


def test_rounds_end_where_nothing_smaller_is_left(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    with pytest.raises(BudgetError, match="none of 5 finalists keeps it"):
        finals_of(result, table, tiny, times_as_long(result, 1000.0), rounds=3)


def test_a_device_on_which_everything_takes_the_same_is_given_up_after_so_many_rounds(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    device = KnownDevice({str(one.architecture): 1.01 * LIMIT_MS for one in result.front})
    with pytest.raises(BudgetError, match=r"none of \d+ finalists keeps it"):
        finals_of(result, table, tiny, device, rounds=3)
    assert device.forgotten == 3


def test_a_table_that_does_not_tell_its_threads_fails_with_those_that_were_timed(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    untold = replace(table, device=replace(table.device, threads=None))
    with pytest.raises(BudgetError, match=r"; timed with 1 thread, the table's are unknown \(--threads\)"):
        finals_of(result, untold, tiny, times_as_long(result, 1.5))


@pytest.mark.parametrize(("provider", "address"), [("", "known://"), ("cuda", "known+cuda://")])
def test_finalists_are_timed_with_the_provider_of_their_table(
    provider: str, address: str, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    assert table.measured
    protocol = replace(table.measured.protocol, provider=provider)
    device = times_as_long(result, 1.0)
    own = replace(table, held=replace(table.measured, protocol=protocol))
    assert finals_of(result, own, tiny, device).address == address
    assert device.providers == {provider}
    with pytest.raises(BudgetError, match=f" finalists keeps it on {re.escape(address)};"):
        finals_of(result, own, tiny, times_as_long(result, 9.0))


def with_references(table: LatencyTable, tiny: SearchSpace, **environment: object) -> LatencyTable:
    """The table of an environment, with references of 3 ms each."""
    assert table.measured
    references = {reference_name(arch): 3.0 for arch in reference_architectures(tiny)}
    return replace(table, held=replace(table.measured, references=references, environment=dict(environment)))


def finals_at(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace, factor: float, **environment: object
) -> Finals:
    """Finals on a device that takes so many times as long for everything."""
    device = times_as_long(result, factor)
    assert table.measured
    references = {name: factor * then for name, then in table.measured.references.items()}
    device.latencies_ms = {**device.latencies_ms, **references}
    device.environment = dict(environment)
    return finals_of(result, table, tiny, device)


@pytest.mark.parametrize("factor", [0.971, 1.029])
def test_within_the_tolerance_latencies_are_judged_at_the_speed_of_the_table(
    factor: float, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    finals = finals_at(result, with_references(table, tiny), tiny, factor)
    assert finals.slowdown == pytest.approx(factor)
    assert finals.stale == ()
    assert all(one.is_within for one in finals.finalists)
    assert finals.finalists[0].measured.latency_ms == pytest.approx(latency_of(finals.chosen))


@pytest.mark.parametrize("factor", [0.05, 0.96, 1.04, 1.0 / (1.0 - MARGIN)])
def test_a_stale_table_has_its_finalists_judged_by_the_milliseconds_of_now(
    factor: float, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    finals = finals_at(result, with_references(table, tiny), tiny, factor)
    assert finals.stale == (f"the references take {factor:.3f} times as long as they did",)
    for one in finals.finalists:
        assert one.measured.latency_ms == pytest.approx(factor * latency_of(one.candidate))
        assert one.is_within == (one.measured.latency_ms <= LIMIT_MS)


class Hurrying(KnownDevice):
    """A device that takes half as long as soon as something was measured."""

    def forget(self) -> None:
        """Drop what it keeps."""
        super().forget()
        if self.forgotten == 1:
            self.latencies_ms = {name: one / 2 for name, one in self.latencies_ms.items()}


def test_each_round_is_judged_by_the_speed_that_the_device_had_in_it(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    known = with_references(table, tiny)
    assert known.measured
    times = {str(one.architecture): 2.0 * latency_of(one) for one in result.front}
    device = Hurrying({**times, **{name: 2.0 * one for name, one in known.measured.references.items()}})
    finals = finals_of(result, known, tiny, device, rounds=3)
    assert finals.slowdowns[:2] == pytest.approx((2.0, 1.0))
    assert finals.slowdown == finals.slowdowns[-1]
    assert finals.stale == ("in round 1 the references take 2.000 times as long as they did",)
    for one in finals.finalists:
        factor = 2.0 if one.round == 1 else 1.0
        assert one.measured.latency_ms == pytest.approx(factor * latency_of(one.candidate))


def test_a_table_of_another_governor_is_stale_at_any_speed(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    known = with_references(table, tiny, governor="performance")
    finals = finals_at(result, known, tiny, 1.02, governor="powersave")
    assert finals.stale == ("governor was 'performance', is 'powersave'",)
    first = finals.finalists[0]
    assert first.measured.latency_ms == pytest.approx(1.02 * latency_of(first.candidate))


def test_a_stale_table_stands_in_the_failure(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    with pytest.raises(BudgetError, match=r"the table exact is stale \(the references take 2.000 times"):
        finals_at(result, with_references(table, tiny), tiny, 2.0)


@pytest.mark.parametrize(
    ("key", "there", "here"),
    [
        ("cpu", "Cortex-A72", "EPYC"),
        ("architecture", "aarch64", "x86_64"),
        ("cores", 4, 2),
        ("board", "Raspberry Pi 4 Model B", ""),
    ],
)
def test_another_machine_than_that_of_the_table_is_refused_before_it_is_timed(
    key: str, there: object, here: object, result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    known = with_references(table, tiny, **{key: there})
    told = f"latency table exact was measured on another machine .* {key} was {there!r}, is {here!r}"
    with pytest.raises(TableError, match=told):
        finals_at(result, known, tiny, 1.0, **{key: here})


def test_finalists_are_timed_on_this_machine(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    """A budget far above what these networks take: the most accurate finalist keeps it."""
    loose = replace(result, budgets=(Budget("latency", 1e6, "ms", "exact"),))
    three, site = pick_finalists(loose, table.name, count=3), Site(open_device("host"), table, "host", FAST)
    *_, finals = measure_finalists(loose, three, tiny, site)
    assert isinstance(finals, Finals)
    for one in finals.finalists:
        assert 0.0 < one.measured.low_ms <= one.measured.latency_ms <= one.measured.high_ms
        assert one.measured.p90_ms > 0.0
    tight = replace(result, budgets=(Budget("latency", 1e-6, "ms", "exact"),), front=result.front[:1])
    alone = pick_finalists(tight, table.name)
    with pytest.raises(BudgetError, match="none of 1 finalists keeps it on host"):
        list(measure_finalists(tight, alone, tiny, site))


def test_the_cheapest_at_an_accuracy_is_not_given_up_for_a_more_accurate_one(result: SearchResult) -> None:
    assert len(pick_finalists(result, "exact")) > 1
    sought = replace(result, chosen=result.front[0], goal=Goal(Cost("macs"), 0.1))
    assert pick_finalists(sought, "exact") == [result.front[0]]


def test_the_first_that_keeps_the_budget_is_chosen_whoever_ordered_them(
    result: SearchResult, table: LatencyTable, tiny: SearchSpace
) -> None:
    candidates = pick_finalists(result, table.name)[::-1]
    site = Site(times_as_long(result, 1.0), table, "known://", FAST)
    *_, finals = measure_finalists(result, candidates, tiny, site)
    assert isinstance(finals, Finals)
    assert [one.candidate for one in finals.finalists] == candidates
    assert finals.chosen == candidates[0]


def test_finalists_keep_the_budgets_of_other_devices_as_predicted(
    small: SmallSupernet, table: LatencyTable, tiny: SearchSpace
) -> None:
    estimators = Estimators.load(small.name, replace(table, name="other"), table)
    limits = {"other": 4.2 / (1.0 - MARGIN), "exact": LIMIT_MS}
    budgets = [Budget("latency", limit, "ms", name) for name, limit in limits.items()]
    result = result_of(estimators, *budgets)
    picked = pick_finalists(result, "exact")
    assert result.chosen in picked
    assert len(picked) > 1
    assert all(one.latencies_ms["other"] <= 4.2 for one in picked)
    assert any(4.2 < one.latencies_ms["other"] <= limits["other"] for one in result.front)
    finals = finals_of(result, table, tiny, times_as_long(result, 1.0))
    assert (finals.device, finals.address) == ("exact", "known://")
