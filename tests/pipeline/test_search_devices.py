"""A search for several devices at once, and one that answers a list of budgets."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ofa_nas.errors import BudgetError, TableError
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import SearchResult, Unmet, search_supernet
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.search.methods import Generation
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import every_architecture
from tests.small_supernet import CONSTANT_MS, SmallSupernet, exact_table

MS_PER_BYTE, MS_PER_LAYER = 2e-5, 0.02  # of the device `slim`


def slim_table(space: SearchSpace) -> LatencyTable:
    """A device for which weights count, and the number of layers."""
    table = exact_table(space)
    assert table.measured
    rows = tuple(
        replace(row, ms=MS_PER_BYTE * weight_bytes(row.layer) + MS_PER_LAYER) for row in table.measured.rows
    )
    return replace(table, name="slim", held=replace(table.measured, rows=rows))


def with_error(table: LatencyTable, p95: float) -> LatencyTable:
    assert table.error
    return replace(table, error=replace(table.error, p95=p95))


@pytest.fixture(scope="module")
def both(small: SmallSupernet, tiny: SearchSpace) -> Estimators:
    return Estimators.load(small.name, exact_table(tiny), slim_table(tiny))


@pytest.fixture(scope="module")
def candidates(both: Estimators) -> list[Candidate]:
    """All 800 architectures of the space."""
    return both.candidates(every_architecture())


def costs_of(candidate: Candidate) -> dict[Cost, float]:
    return {
        **{Cost("latency", device): value for device, value in candidate.latencies_ms.items()},
        Cost("peak_memory"): candidate.peak_activation_bytes,
        Cost("macs"): candidate.macs,
    }


def at(candidates: Sequence[Candidate], share: float, name: str, device: str = "") -> Budget:
    """A budget that a share of all architectures keeps."""
    values = [costs_of(one)[Cost(name, device)] for one in candidates]
    unit = {"latency": "ms", "peak_memory": "bytes", "macs": "MACs"}[name]
    return Budget(name, float(np.quantile(values, share)), unit, device)


def keeps(candidate: Candidate, budgets: Sequence[Budget]) -> bool:
    return all(costs_of(candidate)[budget.key] <= budget.searched_limit for budget in budgets)


def best_within(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> float:
    return max(one.accuracy for one in candidates if keeps(one, budgets))


def answers_of(
    estimators: Estimators, budgets: Sequence[Budget], *, method: str | None = None
) -> list[Unmet | SearchResult]:
    return [
        record
        for record in search_supernet(estimators, budgets, method=method)
        if not isinstance(record, Generation)
    ]


def result_of(
    estimators: Estimators, budgets: Sequence[Budget], *, method: str | None = None
) -> SearchResult:
    (result,) = answers_of(estimators, budgets, method=method)
    assert isinstance(result, SearchResult)
    return result


def test_a_candidate_has_a_latency_on_each_device(both: Estimators, tiny: SearchSpace) -> None:
    for candidate in both.candidates(every_architecture()[::97]):
        layers = list(tiny.layers(candidate.architecture))
        plain = CONSTANT_MS + sum(MS_PER_BYTE * weight_bytes(one) + MS_PER_LAYER for one in layers)
        assert list(candidate.latencies_ms) == ["exact", "slim"]
        assert candidate.latencies_ms["slim"] == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("method", [None, "evolution"])
@pytest.mark.parametrize(("first", "second", "memory"), [(0.5, 0.5, 1.0), (0.7, 0.3, 0.5), (0.3, 0.7, 0.6)])
def test_the_enumerated_optimum_within_the_budgets_of_two_devices_is_found(
    first: float,
    second: float,
    memory: float,
    method: str | None,
    both: Estimators,
    candidates: list[Candidate],
) -> None:
    budgets = [
        at(candidates, first, "latency", "exact"),
        at(candidates, second, "latency", "slim"),
        at(candidates, memory, "peak_memory"),
    ]
    result = result_of(both, budgets, method=method)
    assert keeps(result.chosen, budgets)
    assert result.chosen.accuracy == best_within(candidates, budgets)
    assert result.is_exact == (method is None)
    assert all(keeps(one, budgets[1:]) for one in result.front)
    for budget in budgets[:2]:  # none is there for show
        alone = best_within(candidates, [other for other in budgets if other != budget])
        assert (alone > result.chosen.accuracy) == result.binding[budgets.index(budget)]


def test_the_front_is_drawn_against_the_first_device(
    small: SmallSupernet, tiny: SearchSpace, candidates: list[Candidate]
) -> None:
    turned = Estimators.load(small.name, slim_table(tiny), exact_table(tiny))
    budget = at(candidates, 0.5, "latency", "exact")
    front = result_of(turned, [budget]).front
    assert all(one.latencies_ms["slim"] < two.latencies_ms["slim"] for one, two in pairwise(front))
    assert all(keeps(one, [budget]) for one in front)
    assert len(front) > 3


def test_a_device_without_a_budget_is_reported_only(
    small: SmallSupernet, tiny: SearchSpace, both: Estimators, candidates: list[Candidate]
) -> None:
    budget = at(candidates, 0.4, "latency", "exact")
    alone = result_of(Estimators.load(small.name, exact_table(tiny)), [budget])
    result = result_of(both, [budget])
    assert result.chosen.architecture == alone.chosen.architecture
    assert (result.budgets, result.binding) == (alone.budgets, alone.binding)
    assert result.chosen.latencies_ms.keys() == {"exact", "slim"}


def test_each_device_keeps_its_own_margin_and_one_that_is_given_holds_for_all(
    small: SmallSupernet, tiny: SearchSpace, candidates: list[Candidate]
) -> None:
    doubtful = Estimators.load(
        small.name, with_error(exact_table(tiny), 0.1), with_error(slim_table(tiny), 0.2)
    )
    budgets = [at(candidates, 0.8, "latency", "exact"), at(candidates, 0.8, "latency", "slim")]
    result = result_of(doubtful, budgets)
    assert [budget.margin for budget in result.budgets] == [0.1, 0.2]
    assert result.chosen.accuracy == best_within(candidates, result.budgets)
    *_, same = search_supernet(doubtful, budgets, margin=0.05)
    assert isinstance(same, SearchResult)
    assert [budget.margin for budget in same.budgets] == [0.05, 0.05]


def test_the_search_is_narrowed_to_resolutions_that_all_tables_hold(
    small: SmallSupernet, tiny: SearchSpace
) -> None:
    narrow = exact_table(replace(tiny, resolutions=(24,)))
    estimators = Estimators.load(small.name, slim_table(tiny), narrow)
    assert (estimators.encoding.space.resolutions, estimators.left_out) == ((24,), (32,))
    assert result_of(estimators, []).chosen.architecture.resolution == 24
    with pytest.raises(TableError, match="share no resolution of tiny: slim 32 px; exact 24 px"):
        Estimators.load(small.name, slim_table(replace(tiny, resolutions=(32,))), narrow)


def test_two_tables_of_one_name_are_refused(small: SmallSupernet, tiny: SearchSpace) -> None:
    with pytest.raises(TableError, match="latency tables exact, exact: each must have a name of its own"):
        Estimators.load(small.name, exact_table(tiny), with_error(exact_table(tiny), 0.1))


def test_a_budget_on_a_device_without_a_table_is_refused(both: Estimators) -> None:
    with pytest.raises(BudgetError, match="latency on rpi4 ≤ 5 ms: the search has tables of exact, slim"):
        result_of(both, [Budget("latency", 5.0, "ms", "rpi4")])


def test_budgets_that_two_devices_cannot_meet_are_both_named(
    both: Estimators, candidates: list[Candidate]
) -> None:
    least = [at(candidates, 0.0, "latency", device) for device in both.tables]
    below = [replace(budget, limit=0.5 * budget.limit) for budget in least]
    with pytest.raises(BudgetError, match=r"latency on exact ≤ .*; latency on slim ≤ .*cannot be met"):
        result_of(both, below)


@pytest.mark.parametrize("method", [None, "evolution"])
@pytest.mark.parametrize("name", ["latency", "macs", "peak_memory"])
def test_a_list_is_answered_as_each_of_its_budgets_alone(
    name: str, method: str | None, both: Estimators, candidates: list[Candidate]
) -> None:
    device = "slim" if name == "latency" else ""
    others = [at(candidates, 0.6, "latency", "exact")]
    listed = [at(candidates, share, name, device) for share in (0.7, 0.2, 0.45)]
    answers = answers_of(both, [listed[0], *others, *listed[1:]], method=method)
    limits = []
    for answer in answers:
        assert isinstance(answer, SearchResult)
        assert answer.chosen.accuracy == best_within(candidates, answer.budgets)
        assert keeps(answer.chosen, answer.budgets)
        alone = result_of(both, answer.budgets, method=method)
        assert (answer.chosen, any(answer.binding)) == (alone.chosen, any(alone.binding))
        assert answer.is_exact == (method is None)
        assert answer.budgets[1] == others[0]
        limits.append(answer.budgets[0].limit)
    assert limits == sorted({budget.limit for budget in listed})
    assert len(limits) > 1


def test_the_front_of_a_list_is_drawn_against_its_cost(both: Estimators, candidates: list[Candidate]) -> None:
    listed = [at(candidates, share, "macs") for share in (0.2, 0.6)]
    first, second = answers_of(both, [*listed, at(candidates, 0.6, "latency", "slim")])
    assert isinstance(first, SearchResult)
    assert isinstance(second, SearchResult)
    assert first.front == second.front
    assert all(one.macs < two.macs for one, two in pairwise(first.front))


def test_budgets_of_a_list_that_nothing_meets_leave_the_others(
    both: Estimators, candidates: list[Candidate]
) -> None:
    least = min(one.macs for one in candidates)
    met = at(candidates, 0.4, "macs")
    hopeless = Budget("macs", 0.5 * least, "MACs")
    first, second = answers_of(both, [met, hopeless])
    assert isinstance(first, Unmet)
    assert first.budgets == (hopeless,)
    assert "cannot be met: the smallest that tiny reaches is" in first.reason
    assert isinstance(second, SearchResult)
    assert second.chosen.accuracy == best_within(candidates, [met])
    assert second.is_exact
    with pytest.raises(BudgetError, match="cannot be met: the smallest that tiny reaches is"):
        answers_of(both, [hopeless, Budget("macs", 0.9 * least, "MACs")])


def test_two_lists_are_refused(both: Estimators, candidates: list[Candidate]) -> None:
    lists = [at(candidates, share, name) for name in ("macs", "peak_memory") for share in (0.3, 0.5)]
    with pytest.raises(BudgetError, match="MACs and peak memory are lists: only one budget may be one"):
        answers_of(both, lists)


def test_each_peak_of_a_list_has_a_front_of_its_own(both: Estimators, candidates: list[Candidate]) -> None:
    listed = [at(candidates, share, "peak_memory") for share in (0.3, 0.6, 0.9)]
    answers = [one for one in answers_of(both, listed) if isinstance(one, SearchResult)]
    assert len(answers) == 3
    for answer in answers:
        assert answer.is_exact
        assert max(one.peak_activation_bytes for one in answer.front) <= answer.budgets[0].limit
        latencies = [one.latencies_ms["exact"] for one in answer.front]
        assert latencies == sorted(latencies)
    spent = [one.cpu_seconds for one in answers]
    assert spent == sorted(spent)
    assert [one.evaluations for one in answers] == sorted({one.evaluations for one in answers})
