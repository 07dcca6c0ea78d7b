"""Architectures as integer genes, so that populations are arrays.

One row is one architecture: gene 0 indexes the resolution; every further gene is a position (a stage's first
block, its second, …) and holds 0 where the stage ends before it, else 1 + the index into the stage's choices.
A row is canonical when the present blocks of a stage are its first ones; equal rows are equal architectures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Flags
from ofa_nas.errors import ArchitectureError
from ofa_nas.randomness import check_rng
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.layer import block_name
from ofa_nas.space.search_space import SearchSpace

Genes = npt.NDArray[np.int16]
ABSENT = 0


@dataclass(frozen=True)
class Position:
    """Where a block may stand."""

    stage: int
    index: int

    @property
    def layer_name(self) -> str:
        """Name of the layer that `SearchSpace.layers` yields here."""
        return block_name(self.stage, self.index)


@dataclass(frozen=True)
class Encoding:
    """The genes of one search space; those of equal spaces are equal.

    Attributes:
        space: What is encoded.
        positions: One a gene, gene 0 (the resolution) left out.
        spans: Per stage, the columns of its positions.
        choice_counts: `(positions,)` choices of each position.

    Raises:
        ConfigError: Later, where `rng` is no numpy Generator.
    """

    space: SearchSpace
    positions: tuple[Position, ...] = field(compare=False)
    spans: tuple[slice, ...] = field(compare=False)
    choice_counts: npt.NDArray[np.int64] = field(compare=False)

    @classmethod
    def of(cls, space: SearchSpace) -> Self:
        """Lay out the genes of a space."""
        positions: list[Position] = []
        spans = []
        for stage_index, stage in enumerate(space.stages):
            start = 1 + len(positions)
            positions += [Position(stage_index, index) for index in range(stage.depths[-1])]
            spans.append(slice(start, 1 + len(positions)))
        counts = np.array([len(space.stages[position.stage].choices) for position in positions])
        return cls(space, tuple(positions), tuple(spans), counts)

    @property
    def length(self) -> int:
        """Genes of one architecture, `d`."""
        return 1 + len(self.positions)

    @property
    def width(self) -> int:
        """Values of the gene that has the most: the width of a table with a row for each gene."""
        return max(len(self.space.resolutions), 1 + int(self.choice_counts.max()))

    def encode(self, archs: Sequence[Architecture]) -> Genes:
        """Genes of architectures of this space, `(n, d)` int16.

        Raises:
            ArchitectureError: One is of another space.
        """
        genes = np.zeros((len(archs), self.length), dtype=np.int16)
        values = [{block: 1 + index for index, block in enumerate(one.choices)} for one in self.space.stages]
        for row, arch in zip(genes, archs, strict=True):
            self.space.check(arch)
            row[0] = self.space.resolutions.index(arch.resolution)
            for span, of_block, blocks in zip(self.spans, values, arch.stages, strict=True):
                row[span.start : span.start + len(blocks)] = [of_block[block] for block in blocks]
        return genes

    def decode(self, genes: Genes) -> list[Architecture]:
        """Architectures of canonical genes `(n, d)`.

        Raises:
            ArchitectureError: They are no rows of genes (`check`), or one is not canonical.
        """
        self.check(genes)
        gaps = np.flatnonzero(~self.is_canonical(genes))
        if len(gaps):
            raise ArchitectureError(
                f"genes of {self.space.name}: row {gaps[0]} is {genes[gaps[0]].tolist()}, a stage with a gap "
                "or of a depth that there is not"
            )
        stages = list(zip(self.spans, self.space.stages, strict=True))
        return [
            Architecture(
                self.space.resolutions[row[0]],
                tuple(tuple(stage.choices[gene - 1] for gene in row[span] if gene) for span, stage in stages),
            )
            for row in genes.tolist()
        ]

    def check(self, genes: Genes) -> None:
        """Refuse what is no array of genes `(n, d)` with values that there are, canonical or not.

        Raises:
            ArchitectureError: Says what was found, and what would be right.
        """
        where, is_array = f"genes of {self.space.name}", isinstance(genes, np.ndarray)
        if not is_array or genes.shape[1:] != (self.length,) or genes.dtype.kind not in "iu":
            found = f"an array of {genes.dtype} {genes.shape}" if is_array else type(genes).__name__
            raise ArchitectureError(f"{where}: expected an array of integers (n, {self.length}), got {found}")
        most = np.append(len(self.space.resolutions) - 1, self.choice_counts)
        largest = min(np.iinfo(genes.dtype).max, np.iinfo(most.dtype).max)
        bounds = np.minimum(most, largest).astype(genes.dtype)  # compared without a cast
        is_good = (genes >= 0) & (genes <= bounds)
        if not is_good.all():
            row, gene = np.argwhere(~is_good)[0]
            raise ArchitectureError(
                f"{where}: row {row} has {genes[row, gene]} for gene {gene}; expected 0 to {most[gene]}"
            )

    def is_canonical(self, genes: Genes) -> Flags:
        """Which rows of any integer genes `(n, d)` stand for an architecture, `(n,)`."""
        good = (genes[:, 0] >= 0) & (genes[:, 0] < len(self.space.resolutions))
        good &= ((genes[:, 1:] >= 0) & (genes[:, 1:] <= self.choice_counts)).all(axis=1)
        for span, stage in zip(self.spans, self.space.stages, strict=True):
            present = genes[:, span] != ABSENT
            depths = present.sum(axis=1)
            good &= np.isin(depths, stage.depths)
            good &= (present == (np.arange(present.shape[1]) < depths[:, None])).all(axis=1)
        return np.asarray(good)

    def sample(self, count: int, rng: np.random.Generator) -> Genes:
        """Random architectures `(count, d)`: resolution, depths, kernels and expand ratios each uniform."""
        check_rng(rng)
        genes = np.empty((count, self.length), dtype=np.int16)
        genes[:, 0] = rng.integers(len(self.space.resolutions), size=count)
        genes[:, 1:] = self._random_choices(count, rng)
        return self._cut(genes, self._random_depths(count, rng))

    def mutate(self, genes: Genes, rng: np.random.Generator, *, rate: float) -> Genes:
        """Redraw each resolution, each depth and each block with probability `rate`.

        Args:
            genes: `(n, d)`, canonical.
            rng: Source of randomness.
            rate: In [0, 1].

        Returns:
            `(n, d)`, canonical.
        """
        check_rng(rng)
        mutants = genes.copy()
        redraw = rng.random(genes.shape, dtype=np.float32) < rate
        redraw[:, 1:] &= genes[:, 1:] != ABSENT
        rows, columns = np.nonzero(redraw)
        first, last = np.minimum(columns, 1), np.append(len(self.space.resolutions) - 1, self.choice_counts)
        mutants[rows, columns] = rng.integers(first, last[columns], endpoint=True)
        for span, stage in zip(self.spans, self.space.stages, strict=True):
            rows = np.flatnonzero(rng.random(len(genes), dtype=np.float32) < rate)
            blocks = mutants[rows, span]
            fresh = rng.integers(1, len(stage.choices), size=blocks.shape, endpoint=True)
            depths = rng.choice(np.array(stage.depths), size=(len(rows), 1))
            is_there = np.arange(blocks.shape[1]) < depths
            mutants[rows, span] = np.where(is_there, np.where(blocks == ABSENT, fresh, blocks), ABSENT)
        return mutants

    def crossover(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Children that take resolution, each depth and each block from either parent.

        A block that only one parent has comes from that one; blocks behind the child's depth are dropped.

        Args:
            first: `(n, d)`, canonical.
            second: `(n, d)`, canonical.
            rng: Source of randomness.

        Returns:
            `(n, d)`, canonical.
        """
        check_rng(rng)
        child = _picked(_coins(first.shape, rng), first, second)
        blocks, others = child[:, 1:], (first ^ second)[:, 1:]
        blocks += others * (blocks == ABSENT)  # of one present block, the only one there is
        sizes = [span.stop - span.start for span in self.spans]
        of_first = np.repeat(_coins((len(first), len(sizes)), rng), sizes, axis=1)
        blocks *= _picked(of_first, first[:, 1:], second[:, 1:]) != ABSENT
        return child

    def depths(self, genes: Genes) -> npt.NDArray[np.int64]:
        """Depth of every stage, `(n, stages)`."""
        return np.stack([(genes[:, span] != ABSENT).sum(axis=1) for span in self.spans], axis=1)

    def _cut(self, genes: Genes, depths: npt.NDArray[np.int64]) -> Genes:
        for column, span in enumerate(self.spans):
            behind = np.arange(span.stop - span.start) >= depths[:, column, None]
            genes[:, span][behind] = ABSENT
        return genes

    def _random_choices(self, count: int, rng: np.random.Generator) -> Genes:
        return rng.integers(1, self.choice_counts + 1, size=(count, len(self.positions))).astype(np.int16)

    def _random_depths(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        columns = [rng.choice(np.array(stage.depths), size=count) for stage in self.space.stages]
        return np.stack(columns, axis=1)


def _picked(is_first: Flags, first: Genes, second: Genes) -> Genes:
    """`np.where(is_first, first, second)`, in a tenth of its time where the flags are random."""
    return second ^ ((first ^ second) & -is_first.astype(first.dtype))


def _coins(shape: tuple[int, ...], rng: np.random.Generator) -> Flags:
    return rng.integers(2, size=shape, dtype=np.bool_)
