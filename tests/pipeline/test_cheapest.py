"""The least cost at an accuracy: the enumerated answer, proven where that is claimed."""

from collections.abc import Sequence

import numpy as np
import pytest

from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.searching.cheapest import search_cheapest
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import Goal, SearchResult
from ofa_nas.search.budgets import Budget, Cost, parse_accuracy
from tests.pipeline.enumerated import budget_of, costs_of, keeps, limits_at


def key_of(name: str) -> Cost:
    return Cost(name, "exact" if name == "latency" else "")


def cheapest(
    estimators: Estimators, budgets: Sequence[Budget], goal: Goal, *, method: str | None = None
) -> SearchResult:
    *_, result = search_cheapest(estimators, budgets, goal, method=method, margin=0.0)
    assert isinstance(result, SearchResult)
    return result


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, None) for name in ("latency", "macs", "model_size", "peak_memory")),
        *(
            pytest.param(name, "evolution", marks=pytest.mark.slow)
            for name in ("latency", "macs", "model_size")
        ),
        pytest.param("peak_memory", "evolution", marks=pytest.mark.campaign),
    ],
)
@pytest.mark.parametrize(
    "shares", [{}, {"peak_memory": 0.6}, {"model_size": 0.7, "macs": 0.9}, {"latency": 0.8, "macs": 0.85}]
)
@pytest.mark.parametrize("quantile", [0.2, 0.6])
def test_the_enumerated_cheapest_is_found(
    exact: Estimators,
    candidates: list[Candidate],
    method: str | None,
    name: str,
    shares: dict[str, float],
    quantile: float,
) -> None:
    budgets = limits_at(candidates, **shares)
    kept = [one for one in candidates if keeps(one, budgets)]
    goal = Goal(key_of(name), float(np.quantile([one.accuracy for one in kept], quantile)))
    result = cheapest(exact, budgets, goal, method=method)
    reached = [costs_of(one)[name] for one in kept if one.accuracy >= goal.accuracy]
    assert keeps(result.chosen, budgets)
    assert result.chosen.accuracy >= goal.accuracy
    assert costs_of(result.chosen)[name] == pytest.approx(min(reached))
    if method is None and set(shares) <= {"peak_memory"}:
        assert result.is_exact
    assert method is None or not result.is_exact
    assert result.goal == goal


@pytest.mark.parametrize(("name", "other"), [("model_size", "macs"), ("macs", "model_size")])
def test_a_budget_binds_where_without_it_something_cheaper_would_do(
    exact: Estimators, candidates: list[Candidate], name: str, other: str
) -> None:
    def rivals(accuracy: float) -> tuple[Candidate, list[Candidate]]:
        free = cheapest(exact, [], Goal(key_of(name), accuracy)).chosen
        reached = [one for one in candidates if one.accuracy >= accuracy]
        return free, [one for one in reached if costs_of(one)[other] < costs_of(free)[other]]

    for accuracy in sorted({one.accuracy for one in candidates}, reverse=True):
        free, cheaper = rivals(accuracy)
        if cheaper:
            break
    goal = Goal(key_of(name), accuracy)
    loose = budget_of(other, costs_of(free)[other])
    assert cheapest(exact, [loose], goal).binding == (False,)
    tight = budget_of(other, max(costs_of(one)[other] for one in cheaper))
    result = cheapest(exact, [tight], goal)
    assert result.binding == (True,)
    assert costs_of(result.chosen)[name] > costs_of(free)[name]


def test_what_nothing_reaches_is_refused_with_the_most_accurate(
    exact: Estimators, candidates: list[Candidate]
) -> None:
    best = max(candidates, key=lambda one: one.accuracy)
    with pytest.raises(BudgetError, match=r"nothing is predicted to reach a top-1 of 100%: ") as caught:
        cheapest(exact, [], Goal(key_of("macs"), 1.0))
    told = parse_accuracy(str(caught.value).split("is predicted ")[2].split(" (")[0])
    assert best.accuracy - 1e-4 < told <= best.accuracy
    assert cheapest(exact, [], Goal(key_of("macs"), told)).chosen == best
    budgets = limits_at(candidates, macs=0.3)
    with pytest.raises(BudgetError, match=r"nothing within the budgets .* or raise a budget"):
        cheapest(exact, budgets, Goal(key_of("model_size"), best.accuracy))
    with pytest.raises(BudgetError, match="the least latency is that of a device"):
        cheapest(exact, [], Goal(Cost("latency", "other"), 0.1))


@pytest.mark.parametrize(("text", "share"), [("65%", 0.65), ("0.65", 0.65), ("1", 1.0), ("100%", 1.0)])
def test_accuracies_are_shares_or_percent(text: str, share: float) -> None:
    assert parse_accuracy(text) == pytest.approx(share)


def test_a_percentage_is_the_share_of_a_thousand_images_that_it_names() -> None:
    assert [parse_accuracy(f"{count / 10}%") for count in range(1, 1001)] == [
        count / 1000 for count in range(1, 1001)
    ]


@pytest.mark.parametrize("text", ["65", "0", "0%", "-5%", "much", "101%", ""])
def test_what_is_no_accuracy_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match=r"expected a top-1 to reach such as 65% or 0\.65"):
        parse_accuracy(text)
