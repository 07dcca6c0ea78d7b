"""Whether a latency table still holds: which fresh networks judge it, and what must be true of its errors.

Nothing here measures; `pipeline/tables/table_verification.py` does.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError, TableError
from ofa_nas.latency.measured import ErrorFigures, Holdout, Measured, judge, noise_of
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace

LEAST_NETWORKS, MOST_NETWORKS = 20, 200
WITHIN_10, WITHIN_5, LARGEST_BIAS, LEAST_RANK = 0.95, 0.80, 0.02, 0.95
LEVEL_TOLERANCE = 0.03  # by which references may differ from the table's before it is stale
DRAWS = 50  # for each network that is wanted: a small space may be exhausted
LOUD = 0.02  # noise floor at which a device is too busy for a verdict
# Of an environment, what a table stands and falls with; the rest of it may change.
MACHINE = ("board", "cpu", "cores", "architecture")
ENVIRONMENT = (*MACHINE, "governor", "frequencies_mhz", "fastest_core_mhz", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of a verification.

    Attributes:
        name: For programs.
        value: What was found.
        limit: What is allowed or needed.
        is_met: Whether it holds.
        told: Both, for people.
    """

    name: str
    value: float
    limit: float
    is_met: bool
    told: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What fresh networks showed of a table; the verdict follows from it.

    Attributes:
        device: Address of the device that timed them.
        networks: All of them, measured at the table's speed.
        speed: How many times as long the references take now as for the table; None where it has none.
        changes: What of the environment is not as it was for the table.
        lint: Errors that the lints of the table found.
        noisy: Networks whose interval stayed wider than the protocol asks, references among them.
        throttled: Networks during which the device was throttled.
        made_by: Provenance.
    """

    device: str
    networks: tuple[Holdout, ...]
    speed: float | None
    changes: tuple[str, ...]
    lint: tuple[str, ...]
    noisy: int
    throttled: int
    made_by: Mapping[str, Any]

    @property
    def made_on(self) -> str:
        """Day of it, ISO 8601."""
        return str(self.made_by.get("made_on", ""))[:10]

    @property
    def table(self) -> ErrorFigures:
        """Errors of the table."""
        return judge(np.array([one.predicted_ms for one in self.networks]), self._measured_ms)

    @property
    def macs_linear(self) -> ErrorFigures | None:
        """Errors of MACs fitted linearly; None where the table has no anchors."""
        by_macs = [one.macs_ms for one in self.networks if one.macs_ms is not None]
        return judge(np.array(by_macs), self._measured_ms) if len(by_macs) == len(self.networks) else None

    @property
    def noise_floor(self) -> float | None:
        """Mean absolute error that exact predictions would show; None where each was visited once."""
        return noise_of([one.uncertainty for one in self.networks])

    @property
    def is_loud(self) -> bool:
        """Whether the device was too busy for a fair verdict: a failure may be its own, not the table's."""
        return (self.noise_floor or 0.0) > LOUD

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Every condition, met or not; a table without references was not measured in any environment."""
        environment = _count("environment", self.changes, "nothing of the environment has changed")
        return (
            *judge_errors(self.table, self.macs_linear),
            *([] if self.speed is None and not self.changes else [environment]),
            _count("lint", self.lint, "no lint finds an error"),
        )

    @property
    def faults(self) -> tuple[str, ...]:
        """Conditions that do not hold, for people."""
        return tuple(one.told for one in self.criteria if not one.is_met)

    @property
    def passed(self) -> bool:
        """Whether all hold."""
        return not self.faults

    @property
    def stale(self) -> tuple[str, ...]:
        """Why the table's milliseconds are not those of the device as it is now."""
        return why_stale(self.changes, self.speed)

    @property
    def _measured_ms(self) -> Floats:
        return np.array([one.measured_ms for one in self.networks])

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was found, and what follows from it."""
        by_macs = self.macs_linear
        return {
            "passed": self.passed,
            "faults": list(self.faults),
            "stale": list(self.stale),
            "device": self.device,
            "speed": None if self.speed is None else round(self.speed, 6),
            "changes": list(self.changes),
            "lint": list(self.lint),
            "noisy": self.noisy,
            "throttled": self.throttled,
            "figures": {
                "table": asdict(self.table),
                "macs_linear": asdict(by_macs) if by_macs else None,
                "noise_floor": self.noise_floor,
            },
            "networks": [asdict(one) for one in self.networks],
            "made_by": dict(self.made_by),
        }


def judge_errors(table: ErrorFigures, macs_linear: ErrorFigures | None) -> tuple[Criterion, ...]:
    """Hold errors on fresh networks against what a table must keep.

    Args:
        table: Of the table.
        macs_linear: Of MACs fitted linearly to its anchors; None leaves that condition out.
    """
    near, nearer, rank = table.within_10 or 0.0, table.within_5 or 0.0, table.spearman or 0.0
    found = [
        Criterion(
            "within_10",
            near,
            WITHIN_10,
            near >= WITHIN_10,
            f"{near:.0%} within 10 %, at least {WITHIN_10:.0%} needed",
        ),
        Criterion(
            "within_5",
            nearer,
            WITHIN_5,
            nearer >= WITHIN_5,
            f"{nearer:.0%} within 5 %, at least {WITHIN_5:.0%} needed",
        ),
        Criterion(
            "bias",
            table.bias,
            LARGEST_BIAS,
            abs(table.bias) <= LARGEST_BIAS,
            f"bias {table.bias:+.1%}, at most ±{LARGEST_BIAS:.0%} allowed",
        ),
        Criterion(
            "spearman",
            rank,
            LEAST_RANK,
            rank >= LEAST_RANK,
            f"rank correlation {rank:.3f}, at least {LEAST_RANK} needed",
        ),
    ]
    if macs_linear:
        told = f"mean error {table.mape:.2%}, below the {macs_linear.mape:.2%} of MACs fitted linearly needed"
        is_met = table.mape < macs_linear.mape
        found.append(Criterion("macs_linear", table.mape, macs_linear.mape, is_met, told))
    return tuple(found)


def _count(name: str, found: Sequence[str], good: str) -> Criterion:
    return Criterion(name, float(len(found)), 0.0, not found, "; ".join(found) or good)


def find_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an environment has changed; what the table does not tell cannot have.

    Args:
        then: As the table tells it.
        now: As the device tells it.
    """
    return _differences(ENVIRONMENT, then, now)


def check_provider(table: LatencyTable, now: Mapping[str, Any]) -> None:
    """Refuse an execution provider that is not the measured table's; an address without one takes that.

    Raises:
        TableError: Says which is which.
    """
    other = now.get("provider", table.provider)
    if table.measured and other != table.provider:
        raise TableError(
            f"latency table {table.name} is of {table.provider or 'the CPU'}, and the address "
            f"that is to be timed of {other}: leave the provider out there, or measure a table of {other} "
            "(ofa-nas profile)"
        )


def find_changes_of_machine(table: LatencyTable, now: Mapping[str, Any]) -> tuple[str, ...]:
    """What has changed on the machine of a measured table; of any other table nobody knows.

    Args:
        table: Of the machine.
        now: The environment, as the device tells it.

    Raises:
        TableError: The device is another machine, or its address names another execution provider.
    """
    check_provider(table, now)
    then = table.measured.environment if table.measured else {}
    if others := find_other_machine(then, now):
        raise TableError(
            f"latency table {table.name} was measured on another machine than the one that is to be timed: "
            f"{'; '.join(others)}; give the address of its own, or measure this one (ofa-nas profile)"
        )
    return find_changes(then, now)


def find_other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells that two environments are of different machines; boards of one model count as one.

    Host names tell nothing: another container has another, and all boards of a kind may have the same.
    """
    return _differences(MACHINE, then, now)


def _differences(keys: Sequence[str], then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    changed = [key for key in keys if key in then and then[key] != now.get(key)]
    return tuple(f"{key} was {then[key]!r:.80}, is {now.get(key)!r:.80}" for key in changed)


def why_stale(changes: Sequence[str], speed: float | None) -> tuple[str, ...]:
    """Why a table's milliseconds are not those of its device any more; nothing if they are.

    Args:
        changes: Of the environment.
        speed: How many times as long the references take now; None where nobody knows.
    """
    is_level = speed is None or abs(speed - 1.0) <= LEVEL_TOLERANCE
    level = () if is_level else (f"the references take {speed:.3f} times as long as they did",)
    return (*changes, *level)


def draw_fresh(
    space: SearchSpace, count: int, rng: np.random.Generator, *, known: Collection[str]
) -> tuple[Architecture, ...]:
    """Draw random architectures, equally many at every resolution of a space.

    Args:
        space: With the resolutions of the table only.
        count: How many, all different.
        rng: Source of randomness.
        known: Texts of those that must not be drawn.

    Raises:
        ConfigError: The space does not hold so many.
    """
    encoding = Encoding.of(space)
    found: dict[str, Architecture] = {}
    for genes in encoding.sample(DRAWS * count, rng):
        genes[0] = len(found) % len(space.resolutions)
        arch = encoding.decode(genes[None])[0]
        if str(arch) not in known:
            found[str(arch)] = arch
        if len(found) == count:
            return tuple(found.values())
    raise ConfigError(
        f"--networks {count}: {space.name} has {space.cardinality} architectures at these resolutions, and "
        f"only {len(found)} were found that the table does not know"
    )


def macs_linear_ms(space: SearchSpace, measured: Measured, archs: Sequence[Architecture]) -> Floats | None:
    """What a line through the MACs of a table's own anchors says of architectures.

    The table holds the line's values at its hold-outs; two of them with different MACs tell all of it.

    Returns:
        `(n,)` float64 [ms]; None where a resolution has no two such hold-outs.
    """
    points: dict[int, dict[int, float]] = {}
    for holdout in measured.holdouts:
        arch = space.parse(holdout.architecture)
        assert holdout.macs_ms is not None, "a measured table has anchors"
        points.setdefault(arch.resolution, {})[network_macs(space, arch)] = holdout.macs_ms
    if any(len(points.get(arch.resolution, ())) < 2 for arch in archs):
        return None
    lines = {
        size: np.polyfit(list(values), list(values.values()), deg=1)
        for size, values in points.items()
        if len(values) > 1
    }
    return np.array([np.polyval(lines[arch.resolution], network_macs(space, arch)) for arch in archs])


def marks_of(table: LatencyTable) -> tuple[str, ...]:
    """What a user of a table must know in single words: `failed`, `stale`, `noisy`, `throttled`."""
    last = table.history[-1] if table.history else None
    held = table.measured
    marks = {
        "failed": last is not None and not last.passed,
        "stale": last is not None and bool(last.stale),
        "noisy": held is not None and held.noisy > 0,
        "throttled": held is not None and held.throttled > 0,
    }
    return tuple(mark for mark, is_set in marks.items() if is_set)
