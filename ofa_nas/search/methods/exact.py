"""The optimum over all architectures, where worth and costs are sums over resolution and blocks.

With one limited sum, and any number of limited peaks, merging parts along the chain gives it. More limited
sums are weighed into one first: within all limits the weighed sum is within its own, so its optimum bounds
theirs. Weights that lower the bound raise the answer; what is left between them is closed by extending those
parts that the bound lets beat the answer, and no others.

Source: Glover 1975, Operations Research 23(3) (surrogate duality).
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ofa_nas.arrays import Flags
from ofa_nas.errors import ConfigError
from ofa_nas.search.chain import Parts, whole_front
from ofa_nas.search.fronts import allowed, limited_sums, near_front, weigh
from ofa_nas.search.gap import ROUNDING, Chain, Sums, can_close
from ofa_nas.search.methods import (
    DEFAULT_MAX_EVALUATIONS,
    Generation,
    Meter,
    best_of,
    evolution,
    front_of,
    strongest_method,
)
from ofa_nas.search.polish import polish, polish_evaluations
from ofa_nas.search.problem import Problem, Scored, Tables, Worth
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes

WEIGHINGS, FIRST_STEP, STEP_SHRINKS = 10, 1.0, 0.65
SHARES_OF_GAP = (
    1 / 64,
    1 / 16,
    1 / 4,
    1 / 2,
    1.0,
)  # between bound and answer, at which the answer is looked for


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Solve; see `SearchMethod.search`. Only fronts are scored, and nothing is drawn.

    Where a gap between answer and bound cannot be closed, evolution goes on from there.

    Raises:
        ConfigError: Error and costs are not known to be additive.
    """
    started = time.process_time()
    tables = problem.tables
    if strongest_method(problem) != "exact" or tables is None or tables.worth is None:
        raise ConfigError(
            "the exact method needs an additive predictor, and a first cost that is a sum over the layers; "
            "use --method evolution"
        )
    run = _Run(problem, tables, tables.worth, max_evaluations)
    for level in reversed(run.problem.at_levels()):
        for _ in run.solve(level):
            yield run.generation(started)
    if run.is_open and run.meter.left:
        seeded = replace(run.problem, seeds=run.found.genes)
        for generation in evolution.search(seeded, rng=rng, max_evaluations=run.meter.left):
            yield run.join(generation, started)


class _Run:
    """The state of one solution: what was found, and what nothing can beat."""

    def __init__(self, problem: Problem, tables: Tables, worth: Worth, max_evaluations: int) -> None:
        self.meter = Meter(problem, max_evaluations)
        self.problem, self.tables = self.meter.problem, tables
        self.worth = Worth(allowed(worth.table, tables.costs, problem.limits), worth.error)
        self.limited = limited_sums(tables.costs, problem.limits)
        self.index, self.is_cut = -1, False
        self.bounds: dict[float, float | None] = {}
        seeds = np.empty((0, worth.table.encoding.length), dtype=np.int16)
        self.found = self.problem.score(seeds)
        self._keep(seeds if problem.seeds is None else problem.seeds)

    def solve(self, level: Problem) -> Iterator[None]:
        """Work on one level, with a stop after each step that found something."""
        first = float(level.limits[0])
        if not self.bounds:
            self._keep(near_front(self.worth.table, self.tables.costs, self.problem.limits))
        if set(self.limited) <= {0} and not self._is_cut_by_rounding(level):
            self._settle(first, _error(best_of(level, self.found)))
            yield
            return
        yield
        key, top = self._weigh(level)
        yield
        self._settle(first, self._close(level, key, top) if len(top) else np.inf)
        yield

    def _is_cut_by_rounding(self, level: Problem) -> bool:
        """Whether the front breaks the first limit by its last bits only, where it may hide what keeps it.

        Of parts that cost the same in the order of a chain it holds one; in another order of adding up,
        another may be the cheaper.
        """
        wider = replace(level, limits=np.append(level.limits[0] * (1.0 + ROUNDING), level.limits[1:]))
        return _error(best_of(wider, self.found)) < _error(best_of(level, self.found))

    def _settle(self, first: float, bound: float | None) -> None:
        """Keep the bound of a level, which nothing tells if architectures had to be left unscored."""
        self.bounds[first] = None if self.is_cut else bound

    def generation(self, started: float) -> Generation:
        """The record of where it stands."""
        self.index += 1
        return Generation(
            index=self.index,
            evaluations=self.meter.evaluations,
            best=best_of(self.problem, self.found),
            front=self.found,
            cpu_seconds=time.process_time() - started,
            bounds=tuple(self.bounds.get(float(level.limits[0])) for level in self.problem.at_levels()),
        )

    @property
    def is_open(self) -> bool:
        """Whether there may be something better than what was found."""
        for level in self.problem.at_levels():
            bound = self.bounds[float(level.limits[0])]
            if bound is None or bound < _error(best_of(level, self.found)):
                return True
        return False

    def join(self, other: Generation, started: float) -> Generation:
        """The record of where it stands with what another method found."""
        self.found = front_of(self.problem, self.found.join(other.front))
        return self.generation(started)

    def _weigh(self, level: Problem) -> tuple[CostTable, Parts]:
        """The sum of costs over limits that bounds best, and the optimum within it, one row or none."""
        steps = np.zeros(len(self.limited))
        limits = level.limits[self.limited]
        best: tuple[CostTable, Parts] | None = None
        for step in FIRST_STEP * STEP_SHRINKS ** np.arange(WEIGHINGS):
            weights = np.exp(steps - steps.max())
            weights /= weights.sum() * limits
            key = weigh(self.tables.costs, dict(zip(self.limited, weights, strict=True)))
            front = whole_front(self.worth.table, key, limit=1.0 + ROUNDING)
            self._keep(front.genes)
            top = front.take(np.arange(len(front))[-1:])
            if best is None or not len(top) or top.worth[0] < best[1].worth[0]:
                best = key, top
            if not len(top):
                break
            used = level.costs(top.genes)
            if len(self.limited) == 1 or level.is_feasible(used).all():
                break
            steps[int(np.argmax(used[0, self.limited] / limits))] += step
        assert best is not None
        return best

    def _close(self, level: Problem, key: CostTable, top: Parts) -> float:
        """Bring answer and bound together, or as near as can be, looking from the bound down; the bound."""
        worth, most = self.worth, float(top.worth[0])
        bound = float(worth.error(top.worth)[0])
        if not can_close(worth.table):
            return bound
        targets = [-np.inf]
        if (answer := best_of(level, self.found)) is not None:
            least = float(worth.table.total(self._polish(level, answer).genes)[0])
            targets = [most - share * (most - least) for share in SHARES_OF_GAP]
        sums = Sums(
            tuple(self.tables.costs[index] for index in self.limited), level.limits[self.limited], key
        )
        chains = [Chain(worth.table, sums, resolution) for resolution in range(len(worth.table.fixed))]

        def is_feasible(genes: Genes) -> Flags:
            return level.is_feasible(level.costs(genes))

        for target in targets:
            found = [chain.best_above(target, is_feasible) for chain in chains]
            if any(genes is None for genes in found):
                return bound
            better = np.concatenate([genes for genes in found if genes is not None])
            if len(better):
                self._keep(better)
                break
            bound = float(worth.error(np.array([target]))[0]) if target > -np.inf else np.inf
        return _error(best_of(level, self.found))

    def _polish(self, level: Problem, answer: Scored) -> Scored:
        """The answer, or a better one that single swaps lead to, as far as there is something to spend."""
        needed, rounds = polish_evaluations(level), polish(level, answer)
        while 0 < needed <= self.meter.left and (row := next(rounds, None)) is not None:
            self.found = front_of(self.problem, self.found.join(row))
            answer = row
        return answer

    def _keep(self, genes: Genes) -> None:
        """Score architectures, and keep what belongs to the front."""
        self.is_cut = self.is_cut or len(genes) > self.meter.left
        scored = self.problem.score(genes[: self.meter.left])
        self.found = front_of(self.problem, self.found.join(scored))


def _error(best: Scored | None) -> float:
    """Infinite where nothing is within the limits."""
    return np.inf if best is None else float(best.errors[0])
