"""Budgets as users write them (`30ms`, `8MB`, `200M`) and as numbers in one unit."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ofa_nas.errors import BudgetError
from ofa_nas.figures import format_amount

_AMOUNT = re.compile(
    r"([0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+)\s*([a-z]*(?: macs)?)", re.ASCII | re.IGNORECASE
)
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_SHARE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(%?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class BudgetKind:
    """What a budget may limit.

    Attributes:
        title: Words for people.
        meaning: What is limited, for the help of its flag.
        option: Flag of the command line, named in messages.
        unit: `ms`, `bytes` or `MACs`.
        factors: Suffix in lower case → how many units it stands for; `""` where it may be left out.
        example: What is right, for messages.
        examples: A list of them, for the help of its flag.
        is_peak: A network's cost is the largest of its layers', not their sum.
        is_of_one_image: A file that takes several images at once has another cost.
    """

    title: str
    meaning: str
    option: str
    unit: str
    factors: dict[str, float]
    example: str
    examples: str
    is_peak: bool = False
    is_of_one_image: bool = False


_MS = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}
KINDS = {
    "latency": BudgetKind(
        title="latency",
        meaning="latency on the device, such as 30ms (a bare number is in ms)",
        option="--latency",
        unit="ms",
        factors=_MS,
        example="30ms or 0.03s",
        examples="10,15,20ms",
        is_of_one_image=True,
    ),
    "peak_memory": BudgetKind(
        title="peak memory",
        meaning="peak memory of the activations, such as 8MB",
        option="--peak-memory",
        unit="bytes",
        factors=_BYTES,
        example="8MB or 512KiB",
        examples="2,4,8MB",
        is_peak=True,
        is_of_one_image=True,
    ),
    "model_size": BudgetKind(
        title="model size",
        meaning="size of the weights, such as 6MB",
        option="--model-size",
        unit="bytes",
        factors=_BYTES,
        example="6MB or 512KiB",
        examples="4,6MB",
    ),
    "macs": BudgetKind(
        title="MACs",
        meaning="multiply-accumulate operations, such as 200M",
        option="--macs",
        unit="MACs",
        factors=_COUNTS,
        example="200M or 1.2G",
        examples="50,100M",
    ),
}
OBJECTIVES = {kind.option.removeprefix("--"): name for name, kind in KINDS.items()}  # as users write them


@dataclass(frozen=True, slots=True)
class Cost:
    """What an architecture may be limited in.

    Attributes:
        name: A key of `KINDS`.
        device: What it is measured or estimated on; empty where no device matters.
    """

    name: str
    device: str = ""

    @property
    def title(self) -> str:
        """Words for people: `latency on rpi4`."""
        return KINDS[self.name].title + (f" on {self.device}" if self.device else "")

    @property
    def unit(self) -> str:
        """`ms`, `bytes` or `MACs`."""
        return KINDS[self.name].unit

    def text(self, value: float) -> str:
        """An amount of it: `24.8 ms`."""
        return format_amount(value, self.unit)


def spread_text(values: Sequence[float], cost: Cost | None) -> str:
    """The least and the largest amount of a cost, or of accuracies without one: `82.10 to 82.20 %`."""
    ends = min(values), max(values)
    if cost is not None:
        return " to ".join(map(cost.text, ends))
    return "{:.2f} to {:.2f} %".format(*(100 * end for end in ends))


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that an architecture may cost.

    Attributes:
        name: A key of `KINDS`.
        limit: In `unit`; infinite for a cost that is reported but not limited.
        unit: `ms`, `bytes` or `MACs`, that of the name; `parse_budget` reads others.
        device: What the cost was measured or estimated on; empty where no device matters.
        margin: Share of the limit that predictions must stay below it, for they may be off. A search takes 0
            of a latency for that of the device's table.

    Raises:
        BudgetError: There is no such name, the unit is another, or limit or margin is no amount.
    """

    name: str
    limit: float
    unit: str
    device: str = ""
    margin: float = 0.0

    def __post_init__(self) -> None:
        kind = _kind(self.name)
        if self.unit != kind.unit:
            raise BudgetError(f"{kind.title} budget in {self.unit!r:.40}: expected {kind.unit}")
        if not self.limit > 0.0 or not 0.0 <= self.margin <= 1.0:
            raise BudgetError(
                f"{kind.title} budget of {self.limit} {kind.unit} with a margin of {self.margin}: expected a "
                "limit above 0 and a share as margin"
            )

    @property
    def key(self) -> Cost:
        """Which cost it limits."""
        return Cost(self.name, self.device)

    @property
    def searched_limit(self) -> float:
        """The most that may be predicted.

        Errors of a table are shares of what was measured. A prediction p that is off by at most e of the
        measured m has p >= (1 - e) m, so p <= (1 - e) limit has m <= limit. With the 95th percentile of the
        sizes of the errors as e, that holds for 95 % or more of such networks as were judged, on the runtime
        that the table stands for: those that are slower than predicted and those that are faster share the
        other 5 %, and only the slower ones break the budget. What a search finds is chosen, also for being
        predicted too fast: finalists are timed where the device can be reached.
        """
        return self.limit * (1.0 - self.margin)

    @property
    def title(self) -> str:
        """What it limits, for people: `latency on rpi4`."""
        return self.key.title

    def __str__(self) -> str:
        return f"{self.title} ≤ {format_amount(self.limit, self.unit)}"


def parse_budget(name: str, text: str, *, device: str = "") -> Budget:
    """Read what a user typed for a budget.

    Args:
        name: `latency`, `peak_memory`, `model_size` or `macs`.
        text: Such as `30ms`, `0.03s` or plain `30` [ms]; `8MB`, `512kB`, `8MiB`; `200M`, `1.2G`.
        device: Copied into the budget.

    Raises:
        BudgetError: The text is no positive amount of the right unit; the message shows one. Or there is no
            such name.
    """
    kind = _kind(name)
    wrong = f"{kind.option} {text[:40]!r}: expected {kind.title} such as {kind.example}"
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise BudgetError(f"{wrong}, above zero" if text.strip().startswith("-") else wrong)
    number, suffix = float(match[1]), match[2].lower()
    if kind.unit == "MACs":
        suffix = suffix.removesuffix("macs").rstrip()
    if suffix not in kind.factors:
        units = ", ".join(suffix for suffix in kind.factors if suffix)
        raise BudgetError(f"{wrong}; {'the unit is missing' if not suffix else 'units'}: {units}")
    limit = number * kind.factors[suffix]
    if not 0.0 < limit < math.inf:
        raise BudgetError(f"{wrong}, above zero and finite")
    return Budget(name, limit, kind.unit, device)


def _kind(name: str) -> BudgetKind:
    if name not in KINDS:
        raise BudgetError(f"budget {name!r:.40}: expected one of {', '.join(KINDS)}")
    return KINDS[name]


def parse_budgets(name: str, text: str, *, device: str = "") -> tuple[Budget, ...]:
    """Read a budget, or a list of them: `10,15,20ms`, where amounts without a unit have that of the last.

    Raises:
        BudgetError: As `parse_budget` does, of any of them.
    """
    amounts = [amount.strip() for amount in text.split(",")]
    units = [match[2] if (match := _AMOUNT.fullmatch(amount)) else None for amount in amounts]
    return tuple(
        parse_budget(name, amount + (units[-1] or "") if unit == "" else amount, device=device)
        for amount, unit in zip(amounts, units, strict=True)
    )


def budget_levels(budgets: Iterable[Budget]) -> list[tuple[Budget, ...]]:
    """One set of budgets for each limit of the cost that has several, rising; else all of them as one set.

    Raises:
        BudgetError: Several costs have more than one limit.
    """
    limits: dict[Cost, set[Budget]] = {}
    for budget in budgets:
        limits.setdefault(budget.key, set()).add(budget)
    lists = [found for found in limits.values() if len(found) > 1]
    if len(lists) > 1:
        titles = " and ".join(min(found, key=_limit).title for found in lists)
        raise BudgetError(
            f"{titles} are lists: only one budget may be one, and the others have one value each"
        )
    count = len(lists[0]) if lists else 1
    rows = [sorted(found, key=_limit) * (count // len(found)) for found in limits.values()]
    return [tuple(row[level] for row in rows) for level in range(count)]


def _limit(budget: Budget) -> float:
    return budget.limit


def parse_margin(text: str) -> float:
    """Read what a user typed for a margin: `0`, `0.05` or `5%`.

    Raises:
        BudgetError: It is no share from 0 to below 1.
    """
    share = _share(text)
    if not share < 1.0:
        raise BudgetError(
            f"--margin {text[:40]!r}: expected a share of the budget such as 0.05 or 5%; 0 for none"
        )
    return share


def parse_accuracy(text: str) -> float:
    """Read what a user typed for an accuracy to reach: `65%` or `0.65`.

    Raises:
        BudgetError: It is no share above 0 and up to 1.
    """
    share = _share(text)
    if not 0.0 < share <= 1.0:
        raise BudgetError(f"--accuracy {text[:40]!r}: expected a top-1 to reach such as 65% or 0.65")
    return share


def _share(text: str) -> float:
    """A share as `0.05` or `5%`, the number next to what was written; infinite where it is none."""
    match = _SHARE.fullmatch(text.strip())
    return float(f"{match[1]}e-2" if match[2] else match[1]) if match else math.inf
