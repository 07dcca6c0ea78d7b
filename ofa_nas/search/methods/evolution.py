"""Evolution over an archive that is spread along the first cost: one run gives the whole front.

The archive holds the Pareto front and the best few of every bin of the first cost. Bins are narrow around the
limit, so that most of the effort goes where the answer lies; parents mate within neighbouring bins.
A population soon descends from few ancestors, so where the error is no sum several evolve apart at first.
Where little may be scored (`LITTLE`), batches are small parts of it, few are kept, most children are of the
best, and all of it is spent.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.search.fronts import allowed, near_front
from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, Generation, Meter, best_of, front_of
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.polish import polish, polish_evaluations
from ofa_nas.search.problem import Problem, Scored
from ofa_nas.search.surrogate import additive_worth
from ofa_nas.space.encoding import Genes

FIRST_BATCH, LAST_BATCH, BATCH_GROWTH = 1000, 6000, 1.3
LITTLE = 10_000  # evaluations, below which all are spent, in batches that are parts of them
FIRST_PART, BATCH_PART = 5, 20  # of little: a fifth to begin with, then a twentieth at a time
LEAST_FIRST, LEAST_BATCH = 20, 5
LEADERS, LED = 3, 0.75  # best of each level, and the share of little's children that have one as a parent
MUTATION_RATE = 0.05
MOST_TRIES = 8  # to breed what was never seen, at rates that rise to one
BRED = 2  # children for each that is scored
BEYOND = 1.06  # of the limit, up to which children are of use
LET_BY = 0.1  # of the children beyond
KEPT_PER_BIN, KEPT_OF_LITTLE = 8, 2
KEPT_VIOLATORS = 200
MATING_REACH = 0.04  # of the archive, to either side of the first parent
PATIENCE, MIN_GAIN = 10, 5e-5  # generations without a gain of so much error rate
MAX_GENERATIONS = 80
HERDS, APART = 4, 60_000  # populations, and evaluations until they are joined, if that is half of all at most
FORETOLD = 0.5  # of the front of the fitted sum that is one: the error is nearly a sum, and one herd serves
POLISH_ROUNDS = 2  # kept back for the polish, unless that is half of all there is to spend
BIN_EDGES = np.array([0.5, 0.6, 0.7, 0.78, 0.84, 0.88, 0.92, 0.95, 0.97, 0.985, 1.0, 1.02, 1.06, 1.12, 1.3])


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Evolve, then polish the best; see `SearchMethod.search`."""
    started = time.process_time()
    run = _Run(problem, rng, max_evaluations)
    run.start()
    yield run.generation(started)
    errors = [run.errors()]
    while len(errors) < MAX_GENERATIONS and run.evolve():
        yield run.generation(started)
        errors.append(run.errors())
        if run.is_apart and (run.meter.evaluations >= APART or _is_settled(errors)):
            run.join()
            errors = errors[-1:]
        elif _is_settled(errors):
            break
    if run.polish():
        yield run.generation(started)
    while run.spend():
        yield run.generation(started)


def _is_settled(errors: list[Floats]) -> bool:
    """Whether no level has gained for so long, and one of them has an answer."""
    if len(errors) <= PATIENCE or not np.isfinite(errors[-1]).any():
        return False
    before, now = errors[-1 - PATIENCE], errors[-1]
    return bool((now > before - MIN_GAIN)[np.isfinite(now)].all())


@dataclass(frozen=True, slots=True)
class _Pace:
    """How much is scored and kept at a time.

    Attributes:
        first: Random architectures to begin with, and the most of a fitted sum's front beside them.
        batch: Then, in the first generation.
        growth: Of the batch, from one generation to the next.
        kept: Architectures of each bin.
    """

    first: int = FIRST_BATCH
    batch: int = FIRST_BATCH
    growth: float = BATCH_GROWTH
    kept: int = KEPT_PER_BIN

    @classmethod
    def of_little(cls, evaluations: int) -> Self:
        """That of a search which may score no more than so many."""
        first = min(FIRST_BATCH, max(LEAST_FIRST, evaluations // FIRST_PART))
        return cls(first, max(LEAST_BATCH, evaluations // BATCH_PART), 1.0, KEPT_OF_LITTLE)


class _Run:
    """The state of one search: archive, what has been seen, what is left to spend."""

    def __init__(self, problem: Problem, rng: np.random.Generator, max_evaluations: int) -> None:
        self.meter, self.rng = Meter(problem, max_evaluations), rng
        self.problem = self.meter.problem
        self.levels = self.problem.at_levels()
        self.is_little = max_evaluations < LITTLE
        self.pace = _Pace.of_little(max_evaluations) if self.is_little else _Pace()
        self.batch, self.rate = float(self.pace.batch), MUTATION_RATE
        reserve = POLISH_ROUNDS * polish_evaluations(problem)
        self.most_herds = HERDS if max_evaluations >= 2 * APART else 1
        self.reserve = reserve if reserve < max_evaluations / 2 else 0
        self.index = 0
        self.best: Scored | None = None

    def start(self) -> None:
        """Score the seeds and a random batch; more batches where the error turns out to be no sum."""
        genes = self._first()
        if self.problem.seeds is not None:
            genes = np.concatenate([self.problem.seeds, genes]).astype(np.int16)
        self.multipliers = self.rng.integers(2**64, size=genes.shape[1], dtype=np.uint64) | np.uint64(1)
        self.seen = np.empty(0, dtype=np.uint64)
        scored = self._score_new(genes)
        guess = self._guess(scored)
        if self.is_little:
            guess = guess[:: max(1, -(-len(guess) // self.pace.first))]
        guessed = self._score_new(guess)
        self.edges = _bin_edges(self.problem, scored.costs[:, 0])
        if self.most_herds == 1 or _is_front(guessed):
            self._survive([scored.join(guessed)])
        else:  # what was guessed would lead all of them to the same place
            draws = (self.problem.space.sample(FIRST_BATCH, self.rng) for _ in range(1, self.most_herds))
            self._survive([scored, *(self._score_new(draw) for draw in draws)])

    def _first(self) -> Genes:
        """Random architectures; of a few, those of a thousand that break limits least."""
        genes = self.problem.space.sample(FIRST_BATCH, self.rng)
        if self.pace.first == len(genes):
            return genes
        violations = self.problem.violations(self.problem.costs(genes))
        return genes[np.argsort(violations, kind="stable")[: self.pace.first]]

    def _guess(self, scored: Scored) -> Genes:
        """The front as it would be if the error were a sum behind a link, fitted to what was scored."""
        tables = self.problem.tables
        if tables is None or tables.costs[0].is_peak:
            return scored.genes[:0]
        costs, limits = tables.costs, self.problem.limits
        worth = additive_worth(costs[0].encoding, scored.genes, scored.errors)
        return near_front(allowed(worth, costs, limits), costs, limits)

    @property
    def is_apart(self) -> bool:
        """Whether several populations evolve."""
        return len(self.herds) > 1

    def join(self) -> None:
        """Go on as one population."""
        self._survive([self.archive])

    def evolve(self) -> bool:
        """Breed, score and select one batch; false when nothing is left to spend or to find."""
        count = min(int(self.batch), self.meter.left - self.reserve) // len(self.herds)
        if count <= 0:
            return False
        self._survive([herd.join(self._children(herd.genes, count)) for herd in self.herds])
        self.batch = min(LAST_BATCH, self.batch * self.pace.growth)
        self.index += 1
        return True

    def _children(self, parents: Genes, count: int) -> Scored:
        """Up to so many, which were never seen, of parents by rising first cost."""
        bred = BRED * count
        first = self._first_parents(len(parents), bred)
        reach = max(2, int(MATING_REACH * len(parents)))
        second = np.clip(first + self.rng.integers(-reach, reach + 1, size=bred), 0, len(parents) - 1)
        space = self.problem.space
        children = space.crossover(parents[first], parents[second], self.rng)
        children = space.mutate(children, self.rng, rate=self.rate)
        costs = self.problem.costs(children)
        useful = np.flatnonzero(self._is_of_use(costs))[:count]
        fresh = useful[self._fresh(children[useful])]
        if self.is_little:  # where most was seen, it is worth looking farther away
            self.rate = MUTATION_RATE if 2 * len(fresh) >= count else min(1.0, 2.0 * self.rate)
        return Scored(children[fresh], self.problem.predict(children[fresh]), costs[fresh])

    def _first_parents(self, count: int, size: int) -> Index:
        """Index of parents, of so many; where little may be scored, mostly of the best."""
        first = self.rng.integers(count, size=size)
        if self.is_little:
            errors, costs = self.archive.errors, self.archive.costs
            best = [np.lexsort((errors, level.violations(costs)))[:LEADERS] for level in self.levels]
            is_led = self.rng.random(size) < LED
            first[is_led] = self.rng.choice(np.concatenate(best), size=int(is_led.sum()))
        return first

    def errors(self) -> Floats:
        """Of the best architecture at each level; infinite where there is none."""
        best = [best_of(level, self.archive) for level in self.levels]
        return np.array([np.inf if row is None else row.errors[0] for row in best])

    def _is_of_use(self, costs: Floats) -> Flags:
        """Whose costs, which are cheap to know, are worth a prediction; some beyond the limit are let by."""
        if self.best is None:
            return np.ones(len(costs), dtype=np.bool_)
        within = costs[:, 0] <= BEYOND * self.problem.limits[0]
        return np.asarray(self.problem.is_shown(costs) & (within | (self.rng.random(len(costs)) < LET_BY)))

    def polish(self) -> bool:
        """Polish the best of every level; false when there is nothing to polish or to spend."""
        needed = polish_evaluations(self.problem)
        polished = False
        for level in self.levels if needed else ():
            start, swapped = best_of(level, self.archive), list[Scored]()
            rounds = iter(()) if start is None else polish(level, start, score=self._score_into(swapped))
            while needed <= self.meter.left and next(rounds, None) is not None:
                self._survive([reduce(Scored.join, swapped, self.archive)])
                swapped.clear()
                polished = True
        self.index += polished
        return polished

    def spend(self) -> bool:
        """Breed on with what is left of little; false when it is spent, or nothing new is found."""
        self.reserve, before = 0, self.meter.left
        return self.is_little and any(
            self.evolve() and self.meter.left < before for _ in range(MOST_TRIES if before else 0)
        )

    def _score_into(self, swapped: list[Scored]) -> Callable[[Genes], Scored]:
        """Scores what was never seen; what was is no better than the best, which the archive always holds."""

        def score(genes: Genes) -> Scored:
            swapped.append(self._score_new(genes))
            return swapped[-1]

        return score

    def generation(self, started: float) -> Generation:
        """The record of where it stands."""
        cpu_seconds = time.process_time() - started
        front = front_of(self.problem, self.archive)
        return Generation(self.index, self.meter.evaluations, self.best, front, cpu_seconds)

    def _fresh(self, genes: Genes) -> Index:
        """Index of rows that were never seen, each once; a clash of 64-bit hashes only drops a row."""
        hashes = (genes.astype(np.uint64) * self.multipliers).sum(axis=1, dtype=np.uint64)
        unique, index = np.unique(hashes, return_index=True)
        if len(self.seen):
            slots = np.minimum(np.searchsorted(self.seen, unique), len(self.seen) - 1)
            is_fresh = self.seen[slots] != unique
            unique, index = unique[is_fresh], index[is_fresh]
        self.seen = np.sort(np.concatenate([self.seen, unique]), kind="stable")
        return np.sort(index)

    def _score_new(self, genes: Genes) -> Scored:
        return self.problem.score(genes[self._fresh(genes)][: self.meter.left])

    def _survive(self, herds: list[Scored]) -> None:
        self.herds = [
            _select(self.problem, herd, self.edges, kept=self.pace.kept) for herd in herds if len(herd)
        ]
        self.archive = reduce(Scored.join, self.herds)
        self.best = best_of(self.problem, self.archive)


def _is_front(scored: Scored) -> bool:
    """Whether most of what was to be a front is one: then the error is nearly a sum."""
    if not len(scored):
        return False
    points = np.stack([scored.costs[:, 0], scored.errors], axis=1)
    return bool(non_dominated(points).mean() > FORETOLD)


def _bin_edges(problem: Problem, first_costs: Floats) -> Floats:
    limits = [limit for limit in (*problem.levels, float(problem.limits[0])) if np.isfinite(limit)]
    if limits:
        return np.unique(np.outer(limits, BIN_EDGES))
    return np.unique(np.quantile(first_costs, np.linspace(0.0, 1.0, len(BIN_EDGES))))


def _select(problem: Problem, scored: Scored, edges: Floats, *, kept: int) -> Scored:
    """Front and best of each bin, by rising first cost; while none is feasible, the least violators too."""
    shown = np.flatnonzero(problem.is_shown(scored.costs))
    first_costs, errors = scored.costs[shown, 0], scored.errors[shown]
    keep = np.zeros(len(scored), dtype=np.bool_)
    keep[shown[non_dominated(np.stack([first_costs, errors], axis=1))]] = True
    # A cost that equals an edge belongs below it: the limit itself is within the limit.
    bins = np.searchsorted(edges, first_costs, side="left")
    keep[shown[_is_among_first(bins, errors, kept)]] = True
    if not problem.is_feasible(scored.costs).any():
        keep[np.argsort(problem.violations(scored.costs), kind="stable")[:KEPT_VIOLATORS]] = True
    index = np.flatnonzero(keep)
    return scored.take(index[np.argsort(scored.costs[index, 0], kind="stable")])


def _is_among_first(bins: npt.NDArray[np.int64], errors: Floats, count: int) -> Flags:
    order = np.lexsort((errors, bins))
    ordered = bins[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    flags = np.empty(len(bins), dtype=np.bool_)
    flags[order] = np.arange(len(bins)) - starts < count
    return flags
