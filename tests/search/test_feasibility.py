"""Budgets that cannot be met, that can, and that change nothing."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.errors import BudgetError
from ofa_nas.search import feasibility
from ofa_nas.search.budgets import Budget, parse_budget
from ofa_nas.search.feasibility import BudgetedCost, binding_budgets, check_budgets
from ofa_nas.search.methods import evolution, exact
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.search.worlds import MACS, PEAK, TINY, every_architecture, made_up_problem, tiny_problem

GENES = every_architecture()
BYTES = tabulate(TINY, weight_bytes)
# A device whose latency falls where MACs rise: met alone each, never together.
CONTRARY = CostTable(
    TINY, MACS.fixed, np.where(MACS.choices > 0.0, np.nanmax(MACS.choices) - MACS.choices, 0.0)
)

_RNG = np.random.default_rng(0)


def _costs(macs: float, peak: float, weight: float) -> list[BudgetedCost]:
    return [
        BudgetedCost(Budget("macs", macs, "MACs"), MACS),
        BudgetedCost(Budget("peak_memory", peak, "bytes"), PEAK),
        BudgetedCost(Budget("model_size", weight, "bytes"), BYTES),
    ]


def advised_limits(message: str, costs: list[BudgetedCost]) -> dict[int, float]:
    """What a message says each budget would have to be, by its place."""
    advice = message.split("the others kept: ")[1].split(", or give", maxsplit=1)[0]
    found = {}
    for index, cost in enumerate(costs):
        for part in advice.split(" or "):
            if part.startswith(f"{cost.budget.title} "):
                amount = part.removeprefix(f"{cost.budget.title} ").removesuffix(" MACs")
                found[index] = parse_budget(cost.budget.name, amount).limit
    return found


def _values(costs: list[BudgetedCost]) -> Floats:
    return np.stack([cost.values(GENES) for cost in costs], axis=1)


def test_an_infeasible_budget_names_the_smallest_architecture_and_its_value() -> None:
    cost = BudgetedCost(Budget("latency", 3.0, "ms", "host"), replace(MACS, fixed=MACS.fixed + 1.0))
    smallest = cost.values(GENES).min()
    with pytest.raises(BudgetError, match=r"^latency on host ≤ 3 ms cannot be met") as caught:
        check_budgets([cost], rng=np.random.default_rng(0))
    arch = TINY.decode(GENES[[np.argmin(cost.values(GENES))]])[0]
    assert f"({arch})" in str(caught.value)
    advised = str(caught.value).split("--latency to ")[1].removesuffix(" or more")
    limit = parse_budget("latency", advised).limit
    assert smallest <= limit <= 1.01 * smallest
    assert " " not in advised  # one word of a shell
    assert f" reaches is {advised} ({arch})" in str(caught.value).replace(" s (", "s (")


def test_a_margin_that_makes_a_budget_infeasible_is_named() -> None:
    cost = BudgetedCost(
        Budget("latency", 1.0, "ms", "host", margin=0.2), replace(MACS, fixed=MACS.fixed + 1.0)
    )
    smallest = float(cost.values(GENES).min())

    def check(limit: float) -> str:
        with pytest.raises(BudgetError) as caught:
            check_budgets(
                [replace(cost, budget=replace(cost.budget, limit=limit))], rng=np.random.default_rng(0)
            )
        return str(caught.value)

    near = check(1.1 * smallest)
    assert "cannot be met with a margin of 20 %, at " in near
    assert near.endswith(" or more, or give --margin 0")
    limit = parse_budget("latency", near.split("--latency to ")[1].split(" or more")[0]).limit
    assert smallest / 0.8 <= limit <= 1.01 * smallest / 0.8
    check_budgets([replace(cost, budget=replace(cost.budget, limit=limit))], rng=np.random.default_rng(0))
    assert "--margin 0" not in check(0.9 * smallest)  # out of reach anyway


def test_a_margin_that_keeps_budgets_from_being_met_together_is_named() -> None:
    peak = BudgetedCost(Budget("peak_memory", float(np.quantile(PEAK.peak(GENES), 0.05)), "bytes"), PEAK)
    kept = GENES[peak.values(GENES) <= peak.budget.limit]
    least = float(CONTRARY.total(kept).min())
    latency = BudgetedCost(Budget("latency", 1.05 * least, "ms", margin=0.1), CONTRARY)
    with pytest.raises(BudgetError, match=r"latency ≤ .* \(with a margin of 10 %\), peak memory ≤") as caught:
        check_budgets([latency, peak], rng=_RNG)
    assert str(caught.value).endswith(", or give --margin 0: then the nearest keeps them all")
    advised = advised_limits(str(caught.value), [latency, peak])
    assert advised.keys() == {0, 1}
    for place, limit in advised.items():
        raised = [latency, peak]
        raised[place] = replace(raised[place], budget=replace(raised[place].budget, limit=limit))
        check_budgets(raised, rng=_RNG)
    check_budgets([replace(latency, budget=replace(latency.budget, margin=0.0)), peak], rng=_RNG)


def test_latencies_on_two_devices_that_cannot_be_kept_together_are_told_apart() -> None:
    tables = {"host": MACS, "board": CONTRARY}
    costs = [
        BudgetedCost(Budget("latency", 1.01 * float(table.total(GENES).min()), "ms", device), table)
        for device, table in tables.items()
    ]
    with pytest.raises(
        BudgetError, match=r"the budgets latency on host ≤ .*, latency on board ≤ .* can each be met, but"
    ) as caught:
        check_budgets(costs, rng=np.random.default_rng(0))
    message = str(caught.value)
    nearest = message.split("the nearest is ")[1]
    assert " with latency on host " in nearest
    assert ", latency on board " in nearest
    alone = message.split("alone, the least are ")[1].split("; ", maxsplit=1)[0]
    for cost in costs:
        least = float(cost.values(GENES).min())
        given = parse_budget("latency", alone.split(f"{cost.budget.title} ")[1].split(", ")[0]).limit
        assert given == pytest.approx(least, rel=0.01)


def test_a_budget_that_is_no_part_of_a_conflict_is_not_to_be_raised() -> None:
    tables = {"host": MACS, "board": CONTRARY}
    costs = [
        BudgetedCost(Budget("latency", 1.01 * float(table.total(GENES).min()), "ms", device), table)
        for device, table in tables.items()
    ]
    loose = BudgetedCost(Budget("peak_memory", 1.1 * float(PEAK.peak(GENES).max()), "bytes"), PEAK)
    with pytest.raises(BudgetError) as caught:
        check_budgets([*costs, loose], rng=np.random.default_rng(0))
    advice = str(caught.value).split("the others kept: ")[1]
    assert "latency on host " in advice
    assert "latency on board " in advice
    assert "peak memory" not in advice
    third = replace(costs[1], budget=replace(costs[1].budget, device="other"))
    with pytest.raises(BudgetError, match=r"raise one of them, the others kept: latency on host [^,]*$"):
        check_budgets([*costs, third], rng=np.random.default_rng(0))
    fourth = replace(costs[0], budget=replace(costs[0].budget, device="elsewhere"))
    with pytest.raises(BudgetError, match=r"; raise several of them$"):
        check_budgets([*costs, third, fourth], rng=np.random.default_rng(0))


def test_every_infeasible_budget_is_named_at_once() -> None:
    with pytest.raises(BudgetError, match=r"MACs ≤ .*; peak memory ≤ ") as caught:
        check_budgets(_costs(10.0, 10.0, np.inf), rng=np.random.default_rng(0))
    assert "model size" not in str(caught.value)


def joint_budgets(rng: np.random.Generator, *, most: float) -> list[BudgetedCost]:
    """Three that contend, each kept by up to a share `most` of all architectures."""
    costs = [
        BudgetedCost(Budget("macs", 1.0, "MACs"), MACS),
        BudgetedCost(Budget("peak_memory", 1.0, "bytes"), PEAK),
        BudgetedCost(Budget("latency", 1.0, "ms", "contrary"), CONTRARY),
    ]
    limits = [np.quantile(column, rng.uniform(0.0, most)) for column in _values(costs).T]
    return [
        replace(cost, budget=replace(cost.budget, limit=float(limit)))
        for cost, limit in zip(costs, limits, strict=True)
    ]


def test_what_is_called_impossible_is_so_without_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "MAX_EVALUATIONS", 1)
    rng, told = np.random.default_rng(0), []
    for _ in range(60):
        costs = joint_budgets(rng, most=0.6)
        is_possible = bool((_values(costs) <= [cost.budget.limit for cost in costs]).all(axis=1).any())
        try:
            check_budgets(costs, rng=rng)
        except BudgetError as error:
            told.append((is_possible, "but no architecture of tiny" in str(error)))
    assert (False, True) in told
    assert (True, True) not in told


@pytest.mark.parametrize("seed", range(30))
def test_the_verdict_on_joint_budgets_is_that_of_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = joint_budgets(rng, most=0.15)
    values, limits = _values(costs), np.array([cost.budget.limit for cost in costs])
    if (values <= limits).all(axis=1).any():
        witness = check_budgets(costs, rng=rng)
        assert all(cost.values(witness)[0] <= cost.budget.limit for cost in costs)
        assert TINY.is_canonical(witness).all()
    else:
        with pytest.raises(BudgetError, match="can each be met, but") as caught:
            check_budgets(costs, rng=rng)
        nearest = TINY.space.parse(str(caught.value).split("the nearest is ")[1].split(" ")[0])
        excess = (_values(costs) / limits).max(axis=1)
        found = max(float(cost.values(TINY.encode([nearest]))[0]) / cost.budget.limit for cost in costs)
        assert found <= 1.1 * excess.min()
        advised = advised_limits(str(caught.value), costs)
        for index, budget in enumerate(limits):
            others = np.delete(values <= limits, index, axis=1).all(axis=1)
            if not others.any():
                assert index not in advised
                continue
            least = float(values[others, index].min())
            assert budget < least <= advised[index] <= 1.01 * least + 1.0


def test_a_sum_against_a_peak_is_decided_by_proof() -> None:
    costs = _costs(1.0, float(np.quantile(PEAK.peak(GENES), 0.05)), np.inf)
    kept = GENES[costs[1].values(GENES) <= costs[1].budget.limit]
    for share in (0.999, 1.001):
        # Latency that rewards what needs memory: least where the peak is largest.
        contrary = BudgetedCost(Budget("latency", share * float(CONTRARY.total(kept).min()), "ms"), CONTRARY)
        if share > 1.0:
            assert contrary.values(check_budgets([contrary, costs[1]], rng=_RNG))[0] > 0.0
        else:
            with pytest.raises(BudgetError, match="but no architecture of tiny meets them together"):
                check_budgets([contrary, costs[1]], rng=_RNG)


def test_a_large_space_is_decided_too() -> None:
    encoding = Encoding.of(SearchSpace.load("mobilenet_v3"))
    macs, peak = tabulate(encoding, layer_macs), tabulate(encoding, peak_bytes, is_peak=True)
    costs = [
        BudgetedCost(parse_budget("macs", "60M"), macs),
        BudgetedCost(parse_budget("peak_memory", "2MB"), peak),
    ]
    witness = check_budgets(costs, rng=np.random.default_rng(0))
    assert macs.total(witness)[0] <= 60e6
    assert peak.peak(witness)[0] <= 2e6


def test_a_budget_that_changes_nothing_does_not_bind() -> None:
    macs = float(np.quantile(MACS.total(GENES), 0.3))
    for peak, expected in ((np.inf, (True, False)), (1e9, (True, False))):
        problem = tiny_problem(np.array([macs, peak]))
        *_, last = evolution.search(problem, rng=np.random.default_rng(0), max_evaluations=20_000)
        assert last.best is not None
        assert binding_budgets(problem, last.best) == expected


@pytest.mark.parametrize("quantiles", [(0.4, 0.3, 1, 0.6), (0.3, 0.4, 0.5, 1), (0.5, 0.5, 0.2, 0.4)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_a_budget_binds_if_something_better_breaks_no_other(quantiles: tuple[float, ...], seed: int) -> None:
    problem = made_up_problem(TINY, quantiles, seed)
    everything = problem.score(GENES)
    *_, last = exact.search(problem, rng=np.random.default_rng(0))
    assert last.best is not None
    kept, limits = everything.costs <= problem.limits, problem.limits.copy()
    for index in range(len(limits)):
        others = np.delete(kept | np.isinf(limits), index, axis=1).all(axis=1)
        if everything.errors[others].min() >= last.best.errors[0] - 1e-7:
            limits[index] = np.inf
    assert binding_budgets(problem, last.best) == tuple(np.isfinite(limits).tolist())


def test_of_two_equal_budgets_one_binds() -> None:
    macs = float(np.quantile(MACS.total(GENES), 0.3))
    single = tiny_problem(np.array([macs, np.inf]))
    problem = replace(
        single,
        costs=lambda genes: np.repeat(MACS.total(genes)[:, None], 2, axis=1),
        limits=np.array([macs, macs]),
    )
    *_, last = evolution.search(problem, rng=np.random.default_rng(0), max_evaluations=20_000)
    assert last.best is not None
    assert binding_budgets(problem, last.best) == (False, True)
