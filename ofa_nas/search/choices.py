"""A space that is nothing but so many choices for each gene: tabular benchmarks, any problem of one's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Flags, Floats
from ofa_nas.errors import ConfigError
from ofa_nas.randomness import check_rng
from ofa_nas.search.problem import Problem, Swap, limited_problem
from ofa_nas.space.encoding import Genes

_MOST = int(np.iinfo(np.int16).max)


@dataclass(frozen=True, slots=True)
class ChoiceSpace:
    """Genes that are chosen independently of each other; gene g is an index below `counts[g]`.

    Attributes:
        counts: Choices of each gene.

    Raises:
        ConfigError: There is no gene, or a count is below 1 or too large for 16 bits; later, where `rng` is
            no numpy Generator.
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        told = f"choices {self.counts!r:.80}: expected one count a gene, each from 1 to {_MOST}"
        try:
            counts = tuple(map(index, self.counts))  # an array or a list serves, too
        except TypeError as error:
            raise ConfigError(told) from error
        if not counts or not all(1 <= count <= _MOST for count in counts):
            raise ConfigError(told)
        object.__setattr__(self, "counts", counts)

    @property
    def cardinality(self) -> int:
        """How many rows of genes there are."""
        return prod(self.counts)

    def every(self) -> Genes:
        """All genes `(cardinality, d)`, the last gene changing fastest; for spaces that fit into memory."""
        return np.array(list(product(*map(range, self.counts))), dtype=np.int16)

    def sample(self, count: int, rng: np.random.Generator) -> Genes:
        """Random genes `(count, d)`, each choice as likely."""
        check_rng(rng)
        return rng.integers(self.counts, size=(count, len(self.counts)), dtype=np.int16)

    def mutate(self, genes: Genes, rng: np.random.Generator, *, rate: float) -> Genes:
        """Genes `(n, d)` with each choice redrawn with probability `rate`."""
        check_rng(rng)
        return np.where(rng.random(genes.shape) < rate, self.sample(len(genes), rng), genes)

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Children `(n, d)` that take each gene from either of two rows of parents `(n, d)`."""
        check_rng(rng)
        return np.where(rng.random(first.shape) < 0.5, first, second)

    def is_canonical(self, genes: Genes) -> Flags:
        """Which rows of any genes `(n, d)` belong to the space, `(n,)`."""
        return np.asarray(((genes >= 0) & (genes < np.array(self.counts))).all(axis=1))

    def swaps(self) -> tuple[Swap, ...]:
        """Every gene alone, with all its choices: what a search that ends with a polish exchanges."""
        return tuple(
            Swap(slice(gene, gene + 1), np.arange(count, dtype=np.int16)[:, None], always_fits=True)
            for gene, count in enumerate(self.counts)
            if count > 1
        )

    def problem(
        self,
        predict: Callable[[Genes], npt.NDArray[Any]],
        *,
        costs: Callable[[Genes], npt.NDArray[Any]] | None = None,
        limits: Sequence[float] = (),
        levels: Sequence[float] = (),
    ) -> Problem:
        """A search over the space; everything is minimised.

        Args:
            predict: Genes `(n, d)` → error rates `(n,)`; NaN where nobody knows: such a row is no answer.
            costs: Genes `(n, d)` → costs `(n,)` or `(n, k)`, positive; none means that nothing is limited.
            limits: The most of each cost, in order, above 0; costs beyond the last one given have no limit.
            levels: More limits of the first cost, below the one in `limits`, to be answered in the same run.

        Raises:
            ConfigError: A limit is no number above 0, there are more limits than costs, levels are not below
                the first limit, or `costs` gives something else; while it is searched, `costs` or `predict`
                does.
        """
        return limited_problem(
            self, predict, costs=costs or _no_cost, limits=limits, levels=levels, swaps=self.swaps()
        )


def _no_cost(genes: Genes) -> Floats:
    """A cost of architectures `(n, d)` that is always 1, `(n,)`."""
    return np.ones(len(genes))
