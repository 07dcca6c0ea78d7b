"""What users type for a budget."""

import math
from typing import Any

import pytest

from ofa_nas.errors import BudgetError
from ofa_nas.search.budgets import (
    KINDS,
    Budget,
    Cost,
    budget_levels,
    parse_budget,
    parse_budgets,
    parse_margin,
)


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("latency", "30ms", 30.0),
        ("latency", "0.03s", 30.0),
        ("latency", " 30 ", 30.0),
        ("latency", "500us", 0.5),
        ("latency", ".5 ms", 0.5),
        ("peak_memory", "8MB", 8e6),
        ("peak_memory", "8MiB", 8 * 2**20),
        ("peak_memory", "512kB", 512e3),
        ("model_size", "1.5GB", 1.5e9),
        ("model_size", "6000000B", 6e6),
        ("macs", "200M", 200e6),
        ("macs", "1.2G", 1.2e9),
        ("macs", "1.2GMACs", 1.2e9),
        ("macs", "221 k MACs", 221e3),  # as messages and tables give it
        ("macs", "2e8", 2e8),
    ],
)
def test_a_text_becomes_a_limit_in_raw_units(name: str, text: str, limit: float) -> None:
    budget = parse_budget(name, text)
    assert budget.limit == pytest.approx(limit)
    assert budget.unit == KINDS[name].unit


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("latency", "30mb", "30ms or 0.03s"),
        ("latency", "fast", "30ms or 0.03s"),
        ("latency", "-3ms", "30ms or 0.03s"),
        ("latency", "0ms", "above zero"),
        ("latency", "1e999s", "finite"),
        ("latency", "", "30ms or 0.03s"),
        ("peak_memory", "8", "the unit is missing"),
        ("macs", "200MB", "200M or 1.2G"),
        ("macs", "nan", "200M or 1.2G"),
    ],
)
def test_a_wrong_text_is_answered_with_what_is_right(name: str, text: str, right: str) -> None:
    with pytest.raises(BudgetError, match=right) as caught:
        parse_budget(name, text)
    assert KINDS[name].option in str(caught.value)


def test_budgets_read_well() -> None:
    assert str(Budget("latency", 30.0, "ms", "rpi4")) == "latency on rpi4 ≤ 30 ms"


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (
            ("latencies", 30.0, "ms"),
            "budget 'latencies': expected one of latency, peak_memory",
        ),
        (("peak-memory", 1e6, "bytes"), "budget 'peak-memory': expected one of"),
        (("latency", 0.03, "s"), "latency budget in 's': expected ms"),
        (("model_size", 8.0, "MB"), "model size budget in 'MB': expected bytes"),
        (("latency", math.nan, "ms"), "latency budget of nan ms"),
        (("macs", -1.0, "MACs"), "MACs budget of -1.0 MACs"),
        (("latency", 30.0, "ms", "rpi4", 5.0), "with a margin of 5.0: expected a limit above 0 and a share"),
    ],
)
def test_a_budget_that_is_none_is_refused_when_it_is_made(budget: Any, told: str) -> None:
    with pytest.raises(BudgetError, match=told):
        Budget(*budget)


def test_a_name_that_no_budget_has_is_told_with_those_there_are() -> None:
    with pytest.raises(BudgetError, match="budget 'memory': expected one of latency, peak_memory"):
        parse_budget("memory", "1MB")


@pytest.mark.parametrize(
    ("text", "share"),
    [("0", 0.0), ("0.05", 0.05), ("5%", 0.05), (" 10.4 % ", 0.104), (".5", 0.5), ("0%", 0.0)],
)
def test_a_margin_is_a_share_of_the_budget(text: str, share: float) -> None:
    assert parse_margin(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "100%", "1", "-0.1", "5ms", "", "nan", "%"])
def test_a_wrong_margin_is_answered_with_what_is_right(text: str) -> None:
    with pytest.raises(BudgetError, match=r"--margin .*: expected a share of the budget such as 0\.05 or 5%"):
        parse_margin(text)


def test_a_margin_holds_for_predictions_that_are_off_by_so_much_of_what_was_measured() -> None:
    budget = Budget("latency", 30.0, "ms", "rpi4", margin=0.104)
    assert budget.searched_limit == pytest.approx(26.88)
    measured = budget.searched_limit / (1.0 - 0.104)  # predicted too fast by 10.4 % of it
    assert measured == pytest.approx(budget.limit)
    assert str(budget) == "latency on rpi4 ≤ 30 ms"


@pytest.mark.parametrize(
    ("name", "text", "limits"),
    [
        ("latency", "30ms", [30.0]),
        ("latency", "10,15, 20 ms", [10.0, 15.0, 20.0]),
        ("latency", "500us,1,1.5s", [0.5, 1000.0, 1500.0]),
        ("latency", "1e1,20", [10.0, 20.0]),
        ("macs", "50,100M", [50e6, 100e6]),
        ("macs", "500k,1M", [500e3, 1e6]),
        ("peak_memory", "512,1024KiB", [2.0**19, 2.0**20]),
    ],
)
def test_in_a_list_amounts_without_a_unit_have_that_of_the_last(
    name: str, text: str, limits: list[float]
) -> None:
    budgets = parse_budgets(name, text, device="rpi4")
    assert [budget.limit for budget in budgets] == pytest.approx(limits)
    assert {budget.key for budget in budgets} == {Cost(name, "rpi4")}


@pytest.mark.parametrize(
    ("name", "text"),
    [("latency", "10,,20ms"), ("latency", "10,20ms,"), ("latency", "0,20ms"), ("macs", "5ms,10M"),
     ("peak_memory", "1MB,2"), ("latency", "10;20ms"), ("latency", ",")],
)  # fmt: skip
def test_a_wrong_list_is_answered_with_what_is_right(name: str, text: str) -> None:
    with pytest.raises(BudgetError, match=f"{KINDS[name].option} .*: expected {KINDS[name].title} such as"):
        parse_budgets(name, text)


def test_the_budgets_of_a_list_become_sets_that_share_the_others() -> None:
    macs = Budget("macs", 1e8, "MACs")
    here, there = (parse_budgets("latency", text, device=name) for text, name in (("9,3,3", "a"), ("7", "b")))
    assert [[budget.limit for budget in level] for level in budget_levels([*here, macs, *there])] == [
        [3.0, 1e8, 7.0],
        [9.0, 1e8, 7.0],
    ]
    assert budget_levels([macs, *there, *there]) == [(macs, *there)]
    assert budget_levels([]) == [()]
    two = parse_budgets("latency", "1,2", device="b")
    with pytest.raises(
        BudgetError, match="latency on a and latency on b are lists: only one budget may be one"
    ):
        budget_levels([*here, *two])
