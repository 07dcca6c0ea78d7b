"""What is searched: genes, an error rate to make small, and costs to keep under their limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np

from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.errors import ConfigError
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.stages import Stage

MAX_SWAP_OPTIONS = 20_000  # a stage with more is swapped in windows of its positions


class GeneSpace(Protocol):
    """Integer genes that can be drawn and varied; `ofa_nas.space.encoding.Encoding` is one."""

    def sample(self, count: int, rng: np.random.Generator) -> Genes:
        """Random genes `(count, d)`."""

    def mutate(self, genes: Genes, rng: np.random.Generator, *, rate: float) -> Genes:
        """Genes `(n, d)` with each choice redrawn with probability `rate`."""

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Children `(n, d)` of two rows of parents `(n, d)`."""

    def is_canonical(self, genes: Genes) -> Flags:
        """Which rows of any genes `(n, d)` belong to the space, `(n,)`."""


@dataclass(frozen=True)
class Swap:
    """Genes that are exchanged together while the others stay.

    Attributes:
        columns: Which genes.
        options: `(options, columns)` everything that may stand there.
        always_fits: Whether each option belongs to the space whatever the other genes are.
    """

    columns: slice
    options: Genes
    always_fits: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Architectures with what they are worth.

    Attributes:
        genes: `(n, d)` int16.
        errors: `(n,)` predicted error rates in [0, 1]; infinite where nobody knows.
        costs: `(n, k)`.
    """

    genes: Genes
    errors: Floats
    costs: Floats

    def __len__(self) -> int:
        return len(self.errors)

    def take(self, index: Flags | Index) -> "Scored":
        """Some of the rows."""
        return Scored(self.genes[index], self.errors[index], self.costs[index])

    def join(self, other: "Scored") -> "Scored":
        """These rows and those of another."""
        return Scored(
            np.concatenate([self.genes, other.genes]),
            np.concatenate([self.errors, other.errors]),
            np.concatenate([self.costs, other.costs]),
        )


@dataclass(frozen=True)
class Worth:
    """An error rate that follows from a sum.

    Attributes:
        table: What resolution and blocks add; the more the better.
        error: Sums `(n,)` → predicted error rates `(n,)`, falling.
    """

    table: CostTable
    error: Callable[[Floats], Floats]


@dataclass(frozen=True)
class Tables:
    """A problem's costs as tables, which tell a method what callables cannot.

    Attributes:
        costs: One for each cost of the problem, in its order.
        worth: The error rate likewise; None where it is no sum.
    """

    costs: tuple[CostTable, ...]
    worth: Worth | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A search problem.

    Attributes:
        space: Where genes come from.
        predict: Genes `(n, d)` → predicted error rates `(n,)`.
        costs: Genes `(n, d)` → costs `(n, k)`, at least one; the front is drawn against the first.
        limits: `(k,)` the most of each cost; infinite where there is no limit.
        levels: More limits of the first cost, below the one in `limits`, to be answered in the same run.
        names: Of the `k` costs.
        seeds: `(s, d)` architectures to start from, such as one known to meet the limits.
        swaps: What the final polish exchanges; none means no polish.
        tables: The costs, and maybe the error, where they are sums or maxima over the blocks.

    Raises:
        ConfigError: The limits are no numbers, one for each name.
    """

    space: GeneSpace
    predict: Callable[[Genes], Floats]
    costs: Callable[[Genes], Floats]
    limits: Floats
    names: tuple[str, ...]
    levels: tuple[float, ...] = ()
    seeds: Genes | None = None
    swaps: tuple[Swap, ...] = ()
    tables: Tables | None = None

    def __post_init__(self) -> None:
        limits = as_numbers(self.limits, "limits")
        if not len(self.names) or limits.shape != (len(self.names),) or np.isnan(limits).any():
            raise ConfigError(f"limits {self.limits!r:.80}: expected a number for each of {self.names!r:.80}")
        object.__setattr__(self, "limits", limits)

    def score(self, genes: Genes) -> Scored:
        """Predict and cost genes `(n, d)`."""
        return Scored(genes, self.predict(genes), self.costs(genes))

    def is_feasible(self, costs: Floats) -> Flags:
        """Which rows of costs `(n, k)` keep every limit, `(n,)`."""
        return np.asarray((costs <= self.limits).all(axis=1))

    def is_shown(self, costs: Floats) -> Flags:
        """Which rows of costs `(n, k)` may be on the front: all limits but the first kept, `(n,)`."""
        return np.asarray((costs[:, 1:] <= self.limits[1:]).all(axis=1))

    def at_levels(self) -> list["Problem"]:
        """The same problem once for each limit of the first cost, rising."""
        firsts = sorted({*self.levels, float(self.limits[0])})
        return [replace(self, limits=np.array([first, *self.limits[1:]]), levels=()) for first in firsts]

    def violations(self, costs: Floats) -> Floats:
        """By how much costs `(n, k)` exceed the limits, relative to each and added up, `(n,)`."""
        return np.asarray(np.maximum(costs / self.limits - 1.0, 0.0).sum(axis=1))


def limited_problem(
    space: GeneSpace,
    predict: Callable[[Genes], Any],
    *,
    costs: Callable[[Genes], Any],
    limits: Sequence[float],
    levels: Sequence[float],
    swaps: tuple[Swap, ...],
    tables: Tables | None = None,
) -> Problem:
    """A problem of callables that may give anything; for the arguments see `ChoiceSpace.problem`.

    Raises:
        ConfigError: As there.
    """
    count = cost_columns(costs, space.sample(1, np.random.default_rng(0))).shape[1]
    most, lower = _positive(limits, "limits"), _positive(levels, "levels")
    if len(most) > count or any(level >= limit for level in lower for limit in most[:1]):
        raise ConfigError(
            f"limits {most.tolist()}, levels {lower.tolist()}: expected at most {count} limits, one a "
            "cost, and levels below the first"
        )
    return Problem(
        space=space,
        predict=lambda genes: error_rates(predict, genes),
        costs=lambda genes: cost_columns(costs, genes, count=count),
        limits=np.concatenate([most, np.full(count - len(most), np.inf)]),
        names=tuple(f"cost {number}" for number in range(1, 1 + count)),
        levels=tuple(lower.tolist()),
        swaps=swaps,
        tables=tables,
    )


def _positive(limits: Sequence[float], what: str) -> Floats:
    values = as_numbers(limits, what)
    if values.ndim != 1 or not (values > 0.0).all():
        raise ConfigError(f"{what} {limits!r:.80}: expected a list of numbers above 0")
    return values


def error_rates(predict: Callable[[Genes], Any], genes: Genes) -> Floats:
    """What `predict` says of genes `(n, d)`, `(n,)`; a NaN is infinite, for what nobody knows is no answer.

    Raises:
        ConfigError: It gives no error rate for each row.
    """
    if not len(genes):
        return np.empty(0)
    errors = as_numbers(predict(genes.copy()), "predict")  # who writes into them changes no answer
    if errors.shape != (len(genes),):
        raise ConfigError(
            f"predict: gave an array {errors.shape} for {len(genes)} rows of genes; expected one error rate "
            f"for each, ({len(genes)},)"
        )
    if np.isneginf(errors).any():
        raise ConfigError("predict: gave an error rate of minus infinity; expected numbers, or NaN")
    return np.where(np.isnan(errors), np.inf, errors)


def cost_columns(costs: Callable[[Genes], Any], genes: Genes, *, count: int | None = None) -> Floats:
    """What `costs` says of genes `(n, d)`, `(n, k)`, `count` for each; `(n,)` will do for one.

    Raises:
        ConfigError: It gives anything else, or what is not finite.
    """
    if count and not len(genes):
        return np.empty((0, count))
    values = as_numbers(costs(genes.copy()), "costs")
    columns = values[:, None] if values.ndim == 1 else values
    if columns.shape != (len(genes), count or max((1, *columns.shape[1:2]))):
        raise ConfigError(
            f"costs: gave an array {values.shape} for {len(genes)} rows of genes; expected (n,) or (n, k), "
            "one row for each and always as many columns"
        )
    if not np.isfinite(columns).all():
        raise ConfigError("costs: gave a cost that is not finite; expected numbers")
    return columns


def as_numbers(values: Any, what: str) -> Floats:
    """What a callable gave, or a user did, as float64.

    Raises:
        ConfigError: They are no numbers; the message begins with `what`.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: expected an array of numbers, got {values!r:.80}") from error


def stage_swaps(encoding: Encoding) -> tuple[Swap, ...]:
    """All resolutions as one swap, and all options of each stage as one more."""
    resolutions = np.arange(len(encoding.space.resolutions), dtype=np.int16)[:, None]
    swaps = [Swap(slice(0, 1), resolutions, always_fits=True)]
    for span, stage in zip(encoding.spans, encoding.space.stages, strict=True):
        width, base = span.stop - span.start, len(stage.choices) + 1
        window = width
        while window > 1 and base**window > MAX_SWAP_OPTIONS:
            window -= 1
        if window == width:
            values = stage_options(stage)
        else:
            values = np.array(list(product(range(base), repeat=window)), dtype=np.int16)
        starts = range(span.start, span.stop - window + 1)
        is_whole = window == width
        swaps += [Swap(slice(start, start + window), values, always_fits=is_whole) for start in starts]
    return tuple(swap for swap in swaps if len(swap.options) > 1)


def stage_options(stage: Stage) -> Genes:
    """Everything that may stand in the genes of a stage, `(options, positions)`."""
    width = stage.depths[-1]
    blocks = [
        np.array(list(product(range(1, 1 + len(stage.choices)), repeat=depth)), dtype=np.int16)
        for depth in stage.depths
    ]
    return np.concatenate([np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in blocks])
