"""Local search: climb until no single gene helps, then start again from somewhere else.

Source: White et al. 2021, arXiv:2005.02960, algorithm 1.
"""

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, Generation, Meter, best_of, front_of
from ofa_nas.search.problem import Problem, Scored
from ofa_nas.space.encoding import Genes

DRAWS = 1000  # random architectures, unscored, that show which values a gene takes
MOST_REPEATS = 1000  # starts in a row that were climbed from before: the space is small, and known


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Climb from the seeds, then from random starts, the levels in turn; see `SearchMethod.search`.

    It also ends where the space is so small that hardly a start is left that it did not climb from.
    """
    started = time.process_time()
    meter = Meter(problem, max_evaluations)
    run = _Run(meter, problem.space.sample(DRAWS, rng))
    seeds = problem.space.sample(0, rng) if problem.seeds is None else problem.seeds
    levels, index, repeats, known = meter.problem.at_levels(), 0, 0, set[tuple[int, bytes]]()
    while meter.left and repeats < MOST_REPEATS:
        start = seeds[index : index + 1] if index < len(seeds) else problem.space.sample(1, rng)
        climb = index % len(levels), start.tobytes()
        index += 1
        if climb in known:
            repeats += 1
            continue
        run.climb(levels[climb[0]], start)
        best, cpu_seconds = best_of(problem, run.front), time.process_time() - started
        yield Generation(len(known), meter.evaluations, best, run.front, cpu_seconds)
        known.add(climb)
        repeats = 0


class _Run:
    """The state of one search: the front, what is left to spend, and which values genes take."""

    def __init__(self, meter: Meter, drawn: Genes) -> None:
        self.meter = meter
        self.front = meter.problem.score(drawn[:0])
        values = [np.unique(column) for column in drawn.T]
        self.columns = np.repeat(np.arange(len(values)), [len(column) for column in values])
        self.values: npt.NDArray[np.int16] = np.concatenate(values)

    def climb(self, level: Problem, start: Genes) -> None:
        """Take the best neighbour while one is better; what breaks limits less is, whatever its error."""
        current = self._score(start)
        while self.meter.left:
            rows = current.join(self._score(self._neighbours(level, current)))
            best = np.lexsort((rows.errors, level.violations(rows.costs)))[:1]
            if best[0] == 0:
                return
            current = rows.take(best)

    def _neighbours(self, level: Problem, current: Scored) -> Genes:
        """What differs in one gene and breaks no limit more: costs are known before an error is predicted."""
        genes: Genes = np.repeat(current.genes, len(self.values), axis=0)
        genes[np.arange(len(genes)), self.columns] = self.values
        genes = genes[(genes != current.genes).any(axis=1) & level.space.is_canonical(genes)]
        is_no_worse = level.violations(level.costs(genes)) <= level.violations(current.costs)
        return genes[is_no_worse]

    def _score(self, genes: Genes) -> Scored:
        scored = self.meter.problem.score(genes[: self.meter.left])
        self.front = front_of(self.meter.problem, self.front.join(scored))
        return scored
