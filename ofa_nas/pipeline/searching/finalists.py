"""Before one is chosen, the best candidates are timed where the device can be reached.

A table says which architectures are worth timing; the device says which of them keeps the budget. Where
none does, or much of the budget is left, what was timed tells how far off the table is, and others are timed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from ofa_nas.devices import Device, MeasuringProtocol, Visit, describe_threads, open_device
from ofa_nas.devices.provided import with_provider
from ofa_nas.devices.quiet import quiet
from ofa_nas.errors import BudgetError
from ofa_nas.figures import format_amount
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import Timed, time_among_references, write_network
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.verification import find_changes_of_machine
from ofa_nas.pipeline.searching.estimators import Candidate, by_accuracy
from ofa_nas.pipeline.searching.promise import Place
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.randomness import rng_of
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace

FINALISTS, ROUNDS = 5, 3
LEAST_SPREAD = 0.1  # of the budget: how far finalists lie apart where there is little or no margin
WELL_USED = 0.95  # of the budget: whoever takes so much and keeps it ends the rounds


@dataclass(frozen=True, slots=True)
class Site:
    """Where finalists are timed.

    Attributes:
        device: That is reached.
        table: Of the device; its reference networks tell the device's speed now, beside then.
        address: Of the device.
        protocol: How to time.
    """

    device: Device
    table: LatencyTable
    address: str
    protocol: MeasuringProtocol

    @classmethod
    def at(cls, place: Place, table: LatencyTable, *, seed: int) -> "Site":
        """Where a device of a table is.

        Raises:
            DeviceError: It cannot be reached.
        """
        protocol = MeasuringProtocol(threads=place.threads, seed=seed)
        return cls(open_device(place.address), table, place.address, protocol)

    @property
    def timed_on(self) -> str:
        """The address, with the execution provider of the table."""
        return with_provider(self.address, self.table.provider)


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate and what it takes on the device.

    Attributes:
        candidate: With its predictions.
        measured: At the speed that the device had for its table; as it is where the table is stale.
        is_within: Whether the measured median keeps the latency budget; true without one.
        round: In which it was timed, from 1.
    """

    candidate: Candidate
    measured: Measurement
    is_within: bool
    round: int = 1


@dataclass(frozen=True, slots=True)
class Finals:
    """Finalists and the one that was chosen.

    Attributes:
        device: Name of its table.
        address: Of the device, with the execution provider that was timed.
        slowdowns: How many times as long the reference networks took as for the table, in each round.
        threads: Of ONNX Runtime.
        finalists: The most wanted first.
        chosen: The first of those within the budget.
        stale: Why, in some round, the table's milliseconds were not those of the device any more; nothing
            if they were in all.
    """

    device: str
    address: str
    slowdowns: tuple[float, ...]
    threads: int
    finalists: tuple[Finalist, ...]
    chosen: Candidate
    stale: tuple[str, ...]

    @property
    def slowdown(self) -> float:
        """That of the last round."""
        return self.slowdowns[-1]


def pick_finalists(result: SearchResult, device: str, *, count: int = FINALISTS) -> list[Candidate]:
    """Candidates of the front that are worth timing, by falling accuracy; the chosen one is among them.

    The others are the best at evenly spaced predicted latencies, from the budget itself to twice the margin
    below it, a tenth at least. Those above the chosen one are more accurate and keep the budget if the table
    is right; those below it keep the budget if the table is too fast by more than its margin. On other
    devices all of them keep their budgets as predicted, with the margins.

    Args:
        result: Of a search; without a latency budget on the device, or where the least cost at an accuracy
            was sought, there is nothing to choose between.
        device: Name of the table of the device on which they are timed.
        count: At most so many.
    """
    budget = _latency_budget(result, device)
    if budget is None or count < 2 or result.goal is not None:
        return [result.chosen]
    levels = budget.limit * (1.0 - np.linspace(0.0, max(2.0 * budget.margin, LEAST_SPREAD), count))
    levels = np.delete(levels, int(np.argmin(np.abs(levels - budget.searched_limit))))
    return by_accuracy([result.chosen, *_best_at(levels, _eligible(result, device), device)])


def pick_again(
    result: SearchResult, device: str, finalists: Sequence[Finalist], *, count: int
) -> list[Candidate]:
    """Candidates of the front for another round, by falling accuracy; none where one is not called for.

    It is where no finalist keeps the budget, and where the best that does leaves much of it unused. What the
    timed ones took, over what was predicted, says up to which prediction the budget should hold.

    Args:
        result: Of the search.
        device: Name of the table of the device on which they are timed.
        finalists: Timed ones, of all rounds.
        count: At most so many.
    """
    budget = _latency_budget(result, device)
    if budget is None or count < 2 or result.goal is not None:
        return []
    kept = [one for one in finalists if one.is_within]
    best = max(kept, key=lambda one: one.candidate.accuracy, default=None)
    if best is not None and best.measured.latency_ms >= WELL_USED * budget.limit:
        return []
    ratios = [one.measured.latency_ms / one.candidate.latencies_ms[device] for one in finalists]
    most = budget.limit / float(np.median(ratios))
    least = best.candidate.latencies_ms[device] if best else (1.0 - LEAST_SPREAD) * most
    reached = best.candidate.accuracy if best else 0.0
    timed = {one.candidate.architecture for one in finalists}
    left = [one for one in _eligible(result, device) if one.architecture not in timed]
    better = [one for one in left if one.accuracy > reached]
    return by_accuracy(_best_at(np.linspace(most, least, count), better, device))


def _best_at(levels: Iterable[float], candidates: Sequence[Candidate], device: str) -> Iterator[Candidate]:
    """The most accurate candidate within each of some latencies [ms], where there is one."""
    for level in levels:
        within = [one for one in candidates if one.latencies_ms[device] <= level]
        yield from sorted(within, key=lambda one: one.accuracy)[-1:]


def _eligible(result: SearchResult, device: str) -> list[Candidate]:
    """Candidates of the front that keep the budgets of all other devices."""
    others = [one for one in result.budgets if one.name == "latency" and one.device != device]
    return [one for one in result.front if all(map(one.keeps, others))]


def measure_finalists(
    result: SearchResult,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    site: Site,
    *,
    rounds: int = 1,
) -> Iterator[Visit | Finals]:
    """Time finalists in one interleaved session a round, and choose the first that keeps the budget.

    Args:
        result: Of a search with the device's table.
        candidates: The finalists of the first round, the most wanted first.
        space: Of the supernet.
        site: Where and how.
        rounds: At most so many. In a second one `pick_again` says which are timed, so the most accurate are
            the most wanted then.

    Yields:
        Visits, then the finals.

    Raises:
        BudgetError: None of them keeps the latency budget.
        TableError: The device is another machine than the table's.
        DeviceError: The device cannot be reached, or refuses a network.
    """
    table = site.table
    finalists: list[Finalist] = []
    number, picked = 0, list(candidates)
    seen: list[Timed] = []  # of each round
    with quiet(site.address):
        while picked and number < rounds:
            number += 1
            archs = [one.architecture for one in picked]
            for record in time_architectures(
                archs, site.device, space=space, table=table, protocol=site.protocol
            ):
                if isinstance(record, Timed):
                    seen.append(record)
                else:
                    yield record
            finalists += [
                _judge(one, seen[-1], _latency_budget(result, table.name), number) for one in picked
            ]
            picked = pick_again(result, table.name, finalists, count=len(candidates))
    if number > 1:
        finalists.sort(key=lambda one: one.candidate.accuracy, reverse=True)
    chosen = next((one.candidate for one in finalists if one.is_within), None)
    if chosen is None:
        raise BudgetError(_describe_failure(result, finalists, seen[-1], site))
    yield Finals(
        device=table.name,
        address=site.timed_on,
        slowdowns=tuple(one.slowdown for one in seen),
        threads=site.protocol.threads,
        finalists=tuple(finalists),
        chosen=chosen,
        stale=tuple(_why_stale(seen)),
    )


def _why_stale(rounds: Sequence[Timed]) -> Iterator[str]:
    """Reasons of all rounds; those that not all had say which had them."""
    for reason in dict.fromkeys(reason for one in rounds for reason in one.stale):
        had = [str(number) for number, one in enumerate(rounds, start=1) if reason in one.stale]
        yield reason if len(had) == len(rounds) else f"in round {', '.join(had)} {reason}"


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
    rng = rng_of(protocol.seed)
    precision, protocol = table.device.precision, replace(protocol, provider=table.provider)
    models = [write_network(space, arch, rng, name=str(arch), precision=precision) for arch in archs]
    yield from time_among_references(
        models,
        device,
        space=space,
        then_ms=table.references,
        precision=precision,
        protocol=protocol,
        changes=changes,
    )


def _latency_budget(result: SearchResult, device: str) -> Budget | None:
    return next((budget for budget in result.budgets if budget.key == Cost("latency", device)), None)


def _judge(candidate: Candidate, timed: Timed, budget: Budget | None, number: int) -> Finalist:
    found = timed.judged[str(candidate.architecture)]
    return Finalist(candidate, found, budget is None or found.latency_ms <= budget.limit, number)


def _describe_failure(result: SearchResult, finalists: Sequence[Finalist], timed: Timed, site: Site) -> str:
    budget, table = _latency_budget(result, site.table.name), site.table
    assert budget is not None
    told = f"; the table {table.name} is stale ({'; '.join(timed.stale)})" if timed.stale else ""
    if table.device.threads is None:
        threads = describe_threads(site.protocol.threads)
        told += f"; timed with {threads}, the table's are unknown (--threads)"
    nearest = min(finalists, key=lambda one: one.measured.latency_ms)
    predicted = nearest.candidate.latencies_ms[budget.device]
    found = nearest.measured.latency_ms
    margin = min(99, ceil(100.0 * (1.0 - predicted / found)) + 1)
    return (
        f"{budget}: none of {len(finalists)} finalists keeps it on {site.timed_on}; the nearest takes "
        f"{format_amount(found, budget.unit)} where {format_amount(predicted, budget.unit)} was predicted "
        f"({nearest.candidate.architecture}){told}; measure the table anew (ofa-nas profile), or search with "
        f"--margin {margin}%"
    )
