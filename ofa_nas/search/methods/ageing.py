"""Regularised evolution: the best of a few breeds one child, and the oldest dies, whatever it is worth.

It asks for one architecture at a time, as the original does, so a predictor is searched better by other
methods; this one stands here because papers compare with it.

Source: Real et al. 2019, arXiv:1802.01548, algorithm 1 (ageing evolution).
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import cycle, islice

import numpy as np

from ofa_nas.search.methods import Generation, Meter, best_of, front_of
from ofa_nas.search.problem import Problem, Scored

MAX_EVALUATIONS = 20_000  # as published; 0.2 ms each, or 1 ms where the space is that of a supernet
POPULATION, SAMPLE = 100, 25  # as published; a sample is a quarter of a smaller population, too
PART = 5  # a fifth of what may be scored is the most that all populations begin with
MUTANTS = 16  # drawn for each child, until one differs from its parent


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Evolve one population for each level, in turn; see `SearchMethod.search`.

    What breaks limits less is better, whatever its error.
    """
    started = time.process_time()
    meter = Meter(problem, max_evaluations)
    levels = meter.problem.at_levels()[: meter.left]
    size = min(POPULATION, max(1, meter.left // (PART * len(levels))))
    populations = [_Population(level, size, rng) for level in levels]
    front = front_of(meter.problem, reduce(Scored.join, (one.rows for one in populations)))
    turns, index = cycle(populations), 0
    while True:
        best, cpu_seconds = best_of(problem, front), time.process_time() - started
        yield Generation(index, meter.evaluations, best, front, cpu_seconds)
        if not meter.left:
            return
        born = [one.breed(rng) for one in islice(turns, min(POPULATION, meter.left))]
        front = front_of(meter.problem, reduce(Scored.join, born, front))
        index += 1


class _Population:
    """Architectures of one level, each in the place of the oldest when it was born."""

    def __init__(self, level: Problem, size: int, rng: np.random.Generator) -> None:
        genes = level.space.sample(size, rng)
        if level.seeds is not None:
            genes = np.concatenate([level.seeds, genes]).astype(np.int16)[:size]
        self.level, self.oldest = level, 0
        scored = level.score(genes)
        self.rows = replace(scored, costs=scored.costs.copy())  # written into below, and may be a caller's
        self.violations = level.violations(self.rows.costs)

    def breed(self, rng: np.random.Generator) -> Scored:
        """Let the best of a sample have a child, which takes the place of the oldest; the child, one row."""
        size, rows = len(self.rows), self.rows
        sample = rng.integers(size, size=max(1, size * SAMPLE // POPULATION))
        parent = sample[np.lexsort((rows.errors[sample], self.violations[sample]))[0]]
        same = np.repeat(rows.genes[parent : parent + 1], MUTANTS, axis=0)
        mutants = self.level.space.mutate(same, rng, rate=0.5 / same.shape[1])
        first = int((mutants != same).any(axis=1).argmax())
        child = self.level.score(mutants[first : first + 1])
        oldest = slice(self.oldest, self.oldest + 1)
        rows.genes[oldest], rows.errors[oldest], rows.costs[oldest] = child.genes, child.errors, child.costs
        self.violations[oldest] = self.level.violations(child.costs)
        self.oldest = oldest.stop % size
        return child
