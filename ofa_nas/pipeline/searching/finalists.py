"""Before one is chosen, the best candidates are timed where the device can be reached.

A table says which architectures are worth timing; the device says which of them keeps the budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from ofa_nas.devices import Device, MeasuringProtocol, Visit, describe_threads
from ofa_nas.errors import BudgetError
from ofa_nas.figures import format_amount
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import Timed, time_among_references, write_network
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.verification import find_changes_of_machine
from ofa_nas.pipeline.searching.estimators import Candidate
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace

FINALISTS = 5
LEAST_SPREAD = 0.1  # of the budget: how far finalists lie apart where there is little or no margin


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate and what it takes on the device.

    Attributes:
        candidate: With its predictions.
        measured: At the speed that the device had for its table; as it is where the table is stale.
        is_within: Whether the measured median keeps the latency budget; true without one.
    """

    candidate: Candidate
    measured: Measurement
    is_within: bool


@dataclass(frozen=True, slots=True)
class Finals:
    """Finalists and the one that was chosen.

    Attributes:
        device: Name of its table.
        address: Of the device.
        slowdown: How many times as long the reference networks take now as they did for the table.
        threads: Of ONNX Runtime.
        finalists: The most wanted first.
        chosen: The first of those within the budget.
        stale: Why the table's milliseconds are not those of the device any more; nothing if they are.
    """

    device: str
    address: str
    slowdown: float
    threads: int
    finalists: tuple[Finalist, ...]
    chosen: Candidate
    stale: tuple[str, ...]


def pick_finalists(result: SearchResult, device: str, *, count: int = FINALISTS) -> list[Candidate]:
    """Candidates of the front that are worth timing, by falling accuracy; the chosen one is among them.

    The others are the best at evenly spaced predicted latencies, from the budget itself to twice the margin
    below it. Those above the chosen one are more accurate and keep the budget if the table is right; those
    below it keep the budget if the table is too fast by more than its margin. On other devices all of them
    keep their budgets as predicted, with the margins.

    Args:
        result: Of a search; without a latency budget on the device, or where the least cost at an accuracy
            was sought, there is nothing to choose between.
        device: Name of the table of the device on which they are timed.
        count: At most so many.
    """
    budget = _latency_budget(result, device)
    picked = {result.chosen.architecture: result.chosen}
    if budget is not None and count > 1 and result.goal is None:
        levels = budget.limit * (1.0 - np.linspace(0.0, max(2.0 * budget.margin, LEAST_SPREAD), count))
        eligible = [one for one in result.front if _keeps_elsewhere(one, result, device)]
        levels = np.delete(levels, int(np.argmin(np.abs(levels - budget.searched_limit))))
        for level in levels:
            within = [one for one in eligible if one.latencies_ms[device] <= level]
            best = max(within, key=lambda one: one.accuracy, default=result.chosen)
            picked.setdefault(best.architecture, best)
    return sorted(picked.values(), key=lambda one: one.accuracy, reverse=True)


def measure_finalists(
    result: SearchResult,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    device: Device,
    *,
    table: LatencyTable,
    address: str,
    protocol: MeasuringProtocol,
) -> Iterator[Visit | Finals]:
    """Time finalists in one interleaved session, and choose the first that keeps the budget.

    Args:
        result: Of a search with the device's table.
        candidates: The finalists, the most wanted first.
        space: Of the supernet.
        device: Where.
        table: Whose reference networks tell the device's speed now, beside then.
        address: Of the device.
        protocol: How.

    Yields:
        Visits, then the finals.

    Raises:
        BudgetError: None of them keeps the latency budget.
        TableError: The device is another machine than the table's.
        DeviceError: The device cannot be reached, or refuses a network.
    """
    archs = [one.architecture for one in candidates]
    timed: Timed | None = None
    for record in time_architectures(archs, device, space=space, table=table, protocol=protocol):
        if isinstance(record, Timed):
            timed = record
        else:
            yield record
    assert timed is not None
    budget = _latency_budget(result, table.name)
    finalists = tuple(_judge(one, timed, budget) for one in candidates)
    kept = [one.candidate for one in finalists if one.is_within]
    if not kept:
        assert budget
        told = f"; the table {table.name} is stale ({'; '.join(timed.stale)})" if timed.stale else ""
        if table.device.threads is None:
            told += f"; timed with {describe_threads(protocol.threads)}, the table's are unknown (--threads)"
        raise BudgetError(_describe_failure(finalists, budget, address, told=told))
    yield Finals(table.name, address, timed.slowdown, protocol.threads, finalists, kept[0], timed.stale)


def time_architectures(
    archs: Sequence[Architecture],
    device: Device,
    *,
    space: SearchSpace,
    table: LatencyTable,
    protocol: MeasuringProtocol,
) -> Iterator[Visit | Timed]:
    """Time architectures in one interleaved session, among the reference networks of the device's table.

    They have the layers of the space, the precision of the table and random weights: a latency does not
    depend on those.

    Args:
        archs: Of the space, each once.
        device: Where.
        space: Of the supernet.
        table: Whose reference networks tell the device's speed now, beside then.
        protocol: How.

    Yields:
        Visits, then what they found.

    Raises:
        TableError: The device is another machine than the table's.
        DeviceError: The device cannot be reached, or refuses a network.
    """
    changes = find_changes_of_machine(table, device.info().environment) if table.measured else ()
    rng = np.random.default_rng(protocol.seed)
    precision = table.device.precision
    models = [write_network(space, arch, rng, name=str(arch), precision=precision) for arch in archs]
    then = table.measured.references if table.measured else {}
    yield from time_among_references(
        models, device, space=space, then_ms=then, precision=precision, protocol=protocol, changes=changes
    )


def _latency_budget(result: SearchResult, device: str) -> Budget | None:
    return next((budget for budget in result.budgets if budget.key == Cost("latency", device)), None)


def _keeps_elsewhere(candidate: Candidate, result: SearchResult, device: str) -> bool:
    return all(
        candidate.latencies_ms[budget.device] <= budget.searched_limit
        for budget in result.budgets
        if budget.name == "latency" and budget.device != device
    )


def _judge(candidate: Candidate, timed: Timed, budget: Budget | None) -> Finalist:
    found = timed.judged[str(candidate.architecture)]
    return Finalist(candidate, found, budget is None or found.latency_ms <= budget.limit)


def _describe_failure(finalists: tuple[Finalist, ...], budget: Budget, address: str, *, told: str) -> str:
    nearest = min(finalists, key=lambda one: one.measured.latency_ms)
    predicted = nearest.candidate.latencies_ms[budget.device]
    found = nearest.measured.latency_ms
    margin = min(99, ceil(100.0 * (1.0 - predicted / found)) + 1)
    return (
        f"{budget}: none of {len(finalists)} finalists keeps it on {address}; the nearest takes "
        f"{format_amount(found, budget.unit)} where {format_amount(predicted, budget.unit)} was predicted "
        f"({nearest.candidate.architecture}){told}; measure the table anew (ofa-nas profile), or search with "
        f"--margin {margin}%"
    )
