"""Architectures as chains of blocks: which of all are worth having, found by merging part after part.

Where worth and cost are sums over the blocks, a part that another beats in both is beaten in every whole. So
parts are merged one after the other and pruned in between; what survives is the front over all architectures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes


@dataclass(frozen=True, slots=True)
class Parts:
    """Partial architectures of the same columns of genes, by rising cost and, once pruned, by rising worth.

    Attributes:
        genes: `(n, columns)` int16.
        worth: `(n,)`.
        costs: `(n,)`.
    """

    genes: Genes
    worth: Floats
    costs: Floats

    def __len__(self) -> int:
        return len(self.worth)

    def take(self, index: npt.NDArray[np.intp]) -> "Parts":
        """Some of the rows."""
        return Parts(self.genes[index], self.worth[index], self.costs[index])

    def best_within(self, limits: Floats) -> Floats:
        """Most worth at no more than each of `(n,)` costs; minus infinity where everything costs more."""
        place = np.searchsorted(self.costs, limits, side="right")
        return np.asarray(np.concatenate([[-np.inf], self.worth])[place])


def prune(worth: Floats, costs: Floats) -> npt.NDArray[np.intp]:
    """Rows that no other row beats in both, one of equal ones, by rising cost."""
    order = np.argsort(costs)  # in no order of equal ones, which a stable sort of so many takes long for
    ordered = worth[order]
    records = np.sort(order[ordered == np.maximum.accumulate(ordered)])
    order = records[np.argsort(costs[records], kind="stable")]
    rising = np.maximum.accumulate(worth[order])
    keep = np.ones(len(order), dtype=np.bool_)
    keep[1:] = rising[1:] > rising[:-1]
    kept = order[keep]
    is_last = np.ones(len(kept), dtype=np.bool_)  # of equal costs, the later one is worth more
    is_last[:-1] = costs[kept[1:]] > costs[kept[:-1]]
    return kept[is_last]


def union(parts: Sequence[Parts]) -> Parts:
    """The front of several sets of parts of the same genes."""
    genes = np.concatenate([part.genes for part in parts])
    worth = np.concatenate([part.worth for part in parts])
    costs = np.concatenate([part.costs for part in parts])
    return Parts(genes, worth, costs).take(prune(worth, costs))


def merge(left: Parts, right: Parts) -> Parts:
    """The front of everything on the left followed by everything on the right."""
    worth = (left.worth[:, None] + right.worth).ravel()
    costs = (left.costs[:, None] + right.costs).ravel()
    kept = prune(worth, costs)
    first, second = np.divmod(kept, max(1, len(right)))
    genes = np.concatenate([left.genes[first], right.genes[second]], axis=1)
    return Parts(genes, worth[kept], costs[kept])


def links(worth: CostTable, cost: CostTable, resolution: int) -> Iterator[Parts]:
    """The front of the resolution with stem and head, then that of each stage.

    Args:
        worth: What each choice adds; what is not finite is left out.
        cost: What it costs.
        resolution: Index into the space's.
    """
    gene = np.array([[resolution]], dtype=np.int16)
    yield _usable(
        Parts(
            gene,
            worth.fixed[resolution].sum(keepdims=True),
            cost.fixed[resolution].sum(keepdims=True),
        )
    )
    encoding = worth.encoding
    for span, stage in zip(encoding.spans, encoding.space.stages, strict=True):
        columns = slice(span.start - 1, span.stop - 1)
        yield _stage(worth.choices[resolution, columns], cost.choices[resolution, columns], stage.depths)


def _stage(worth: Floats, costs: Floats, depths: Sequence[int]) -> Parts:
    """The front of a stage from tables `(positions, 1 + choices)`, whose entry 0 is an absent block."""
    blocks = np.arange(worth.shape[1], dtype=np.int16)[:, None]
    choices = [_usable(Parts(blocks[1:], *pair)) for pair in zip(worth[:, 1:], costs[:, 1:], strict=True)]
    absent = [Parts(blocks[:1], *pair) for pair in zip(worth[:, :1], costs[:, :1], strict=True)]
    grown = Parts(np.empty((1, 0), dtype=np.int16), np.zeros(1), np.zeros(1))
    ended = []
    for depth, choice in enumerate([*choices, None]):
        if depth in depths:
            whole = grown
            for position in absent[depth:]:
                whole = merge(whole, position)
            ended.append(whole)
        if choice is not None:
            grown = merge(grown, choice)
    return union(ended)


def _usable(parts: Parts) -> Parts:
    return parts.take(np.flatnonzero(np.isfinite(parts.worth) & np.isfinite(parts.costs)))


def whole_front(worth: CostTable, cost: CostTable, *, limit: float = np.inf) -> Parts:
    """The front over all architectures of a space that cost no more than a limit, genes `(n, d)`.

    Args:
        worth: As of `links`.
        cost: As of `links`.
        limit: The most that an architecture may cost.
    """
    fronts = []
    for resolution in range(len(worth.fixed)):
        whole, *rest = links(worth, cost, resolution)
        if not (len(whole) and all(map(len, rest))):
            continue
        room = limit - sum(float(link.costs[0]) for link in rest)
        for link in rest:
            whole = merge(whole, link)
            room += float(link.costs[0])
            whole = whole.take(np.flatnonzero(whole.costs <= room))
        fronts.append(whole)
    if not fronts:
        nothing = np.empty((0, worth.encoding.length), dtype=np.int16)
        return Parts(nothing, np.empty(0), np.empty(0))
    return union(fronts)
