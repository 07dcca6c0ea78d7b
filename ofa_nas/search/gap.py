"""Close the gap between an answer and a bound by extending those parts that may still beat the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Flags, Floats
from ofa_nas.search.chain import Parts, links, merge
from ofa_nas.search.problem import MAX_SWAP_OPTIONS, stage_options
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes

MOST_PARTS = 200_000  # held at once; with more the gap stays open
MOST_PAIRS = 20_000_000  # looked at at once
ROUNDING = 1e-9  # relative, of sums that are added up in another order


@dataclass(frozen=True, slots=True)
class Sums:
    """Limited sums over resolution and blocks.

    Attributes:
        tables: `k` of them.
        limits: `(k,)` the most of each.
        key: One sum more, of which no architecture within the limits has more than 1.
    """

    tables: tuple[CostTable, ...]
    limits: Floats
    key: CostTable


@dataclass(frozen=True, slots=True)
class _Link:
    """What may stand in a part of the chain.

    Attributes:
        genes: `(n, columns)` int16.
        worth: `(n,)`.
        sums: `(n, 1 + k)`, the key first.
    """

    genes: Genes
    worth: Floats
    sums: Floats

    def take(self, index: npt.NDArray[np.intp]) -> "_Link":
        return _Link(self.genes[index], self.worth[index], self.sums[index])


class Chain:
    """Architectures of one resolution under limited sums.

    Args:
        worth: What each choice adds; what is not finite is forbidden.
        sums: To be kept.
        resolution: Index into the space's.
    """

    def __init__(self, worth: CostTable, sums: Sums, resolution: int) -> None:
        self.limits = sums.limits
        fronts = list(links(worth, sums.key, resolution))
        self.links = _all_links(worth, sums, resolution)
        self.others = [reduce(merge, fronts[:place] + fronts[place + 1 :]) for place in range(1, len(fronts))]
        self.behind = [Parts(np.empty((1, 0), dtype=np.int16), np.zeros(1), np.zeros(1))]
        for front in fronts[:1:-1]:
            self.behind.insert(0, merge(front, self.behind[0]))

    def best_above(self, least: float, is_feasible: Callable[[Genes], Flags]) -> Genes | None:
        """Find the most worth within all limits.

        Args:
            least: Only what is worth more is looked for.
            is_feasible: Which architectures `(n, d)` are within the limits: sums that meet a limit exactly
                are within it or not by the order in which they are added up, which is not that of a chain.

        Returns:
            `(1, d)`; no row where there is none, None where too many parts might be worth more than `least`
            to look at all of them.
        """
        parts, *stages = self.links
        stages = [
            stage.take(self._hopeful(stage, others, least))
            for stage, others in zip(stages, self.others, strict=True)
        ]
        if not all(len(stage.worth) for stage in stages):
            return self._nothing()
        cheapest = np.array([stage.sums.min(axis=0) for stage in stages])
        room = cheapest.sum(axis=0) - np.cumsum(cheapest, axis=0)
        for stage, behind, needed in zip(stages, self.behind, room, strict=True):
            if len(parts.worth) * len(stage.worth) > MOST_PAIRS:
                return None
            total = parts.worth[:, None] + stage.worth
            spent = parts.sums[:, None, 0] + stage.sums[:, 0]
            hope = behind.best_within(1.0 + ROUNDING - spent.ravel()).reshape(total.shape)
            first, second = np.nonzero(total + hope > least)
            sums = parts.sums[first] + stage.sums[second]
            fits = (sums[:, 1:] + needed[1:] <= self.limits * (1.0 + ROUNDING)).all(axis=1)
            first, second = first[fits], second[fits]
            if len(first) > MOST_PARTS:
                return None
            genes = np.concatenate([parts.genes[first], stage.genes[second]], axis=1)
            parts = _Link(genes, total[first, second], sums[fits])
        ranked = parts.genes[np.argsort(-parts.worth, kind="stable")]
        return ranked[np.flatnonzero(is_feasible(ranked))[:1]]

    def _hopeful(self, stage: _Link, others: Parts, least: float) -> npt.NDArray[np.intp]:
        """Options of a stage that can be part of something worth more than `least`."""
        return np.flatnonzero(stage.worth + others.best_within(1.0 + ROUNDING - stage.sums[:, 0]) > least)

    def _nothing(self) -> Genes:
        return np.empty((0, sum(link.genes.shape[1] for link in self.links)), dtype=np.int16)


def can_close(worth: CostTable) -> bool:
    """Whether every stage has few enough options to look at each."""
    return all(
        (1 + len(stage.choices)) ** stage.depths[-1] <= MAX_SWAP_OPTIONS
        for stage in worth.encoding.space.stages
    )


def _all_links(worth: CostTable, sums: Sums, resolution: int) -> list[_Link]:
    """Resolution with stem and head, then everything that each stage may hold."""
    encoding, tables = worth.encoding, (sums.key, *sums.tables)
    fixed = np.array([[table.fixed[resolution].sum() for table in tables]])
    gene = np.array([[resolution]], dtype=np.int16)
    found = [_Link(gene, worth.fixed[resolution].sum(keepdims=True), fixed)]
    for span, stage in zip(encoding.spans, encoding.space.stages, strict=True):
        genes, rows = stage_options(stage), np.arange(span.start - 1, span.stop - 1)
        values = worth.choices[resolution, rows, genes].sum(axis=1)
        costs = [table.choices[resolution, rows, genes].sum(axis=1) for table in tables]
        found.append(_Link(genes, values, np.stack(costs, axis=1)))
    return found
