"""The optimum over all architectures, where worth and costs are sums over resolution and blocks.

With one limited sum, and any number of limited peaks, merging parts along the chain gives it. More limited
sums are weighed into one first: within all limits the weighed sum is within its own, so its optimum bounds
theirs. Weights that lower the bound raise the answer; what is left between them is closed by extending those
parts that the bound lets beat the answer, and no others.

Source: Glover 1975, Operations Research 23(3) (surrogate duality).
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ofa_nas.errors import ConfigError
from ofa_nas.search.chain import Parts, whole_front
from ofa_nas.search.gap import ROUNDING, Chain, Sums, can_close
from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, Generation, best_of, evolution, front_of
from ofa_nas.search.polish import polish
from ofa_nas.search.problem import Additive, Floats, Problem
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Genes

WEIGHINGS, FIRST_STEP, STEP_SHRINKS = 10, 1.0, 0.65
SHARES = (0.9, 0.7, 0.5, 0.3)  # of the first cost, in the sums that fill the front
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
    if problem.additive is None or problem.additive.is_peak[0]:
        raise ConfigError(
            "the exact method needs an additive predictor, and a first cost that is a sum over the layers; "
            "use --method evolution"
        )
    run = _Run(problem, _allowed(problem, problem.additive), max_evaluations)
    for _ in run.passes():
        yield run.generation(started)
    if run.is_open:
        seeded = replace(problem, seeds=run.found.genes)
        for generation in evolution.search(seeded, rng=rng, max_evaluations=run.left):
            yield run.join(generation, started)


def _allowed(problem: Problem, form: Additive) -> Additive:
    """The same with everything forbidden that breaks the limit of a peak by itself."""
    fixed, choices = form.worth.fixed.copy(), form.worth.choices.copy()
    for cost, is_peak, limit in zip(form.costs, form.is_peak, problem.limits, strict=True):
        if is_peak:
            fixed[(cost.fixed > limit).any(axis=1)] = -np.inf
            choices[cost.choices > limit] = -np.inf
    return replace(form, worth=replace(form.worth, fixed=fixed, choices=choices))


class _Run:
    """The state of one solution: what was found, and what nothing can beat."""

    def __init__(self, problem: Problem, form: Additive, max_evaluations: int) -> None:
        self.problem, self.form, self.left = problem, form, max_evaluations
        self.limited = [
            index
            for index, is_peak in enumerate(form.is_peak)
            if not is_peak and np.isfinite(problem.limits[index])
        ]
        self.index = -1
        self.evaluations = 0
        self.bound: float | None = None
        seeds = np.empty((0, form.worth.encoding.length), dtype=np.int16)
        self.found = problem.score(seeds)
        self._keep(seeds if problem.seeds is None else problem.seeds)

    def passes(self) -> Iterator[None]:
        """Work, with a stop after each step that found something."""
        whole = whole_front(self.form.worth, self.form.costs[0])
        self._keep(whole.genes)
        if self.limited in ([], [0]):
            best = best_of(self.problem, self.found)
            self.bound = None if best is None else float(best.errors[0])
            yield
            return
        yield
        key, top = self._weigh()
        yield
        if len(top):
            self._close(key, top)
            yield
        rest = {index: 1.0 for index in self.limited if index}
        scale = float(np.median(whole.costs)) if 0 not in self.limited else float(self.problem.limits[0])
        for share in SHARES:
            mixed = {index: (1.0 - share) / len(rest) / self.problem.limits[index] for index in rest}
            self._keep(whole_front(self.form.worth, self._key({0: share / scale} | mixed)).genes)
        yield

    def generation(self, started: float) -> Generation:
        """The record of where it stands."""
        self.index += 1
        return Generation(
            index=self.index,
            evaluations=self.evaluations,
            best=best_of(self.problem, self.found),
            front=self.found,
            cpu_seconds=time.process_time() - started,
            bound=self.bound,
        )

    @property
    def is_open(self) -> bool:
        """Whether there may be something better than what was found."""
        best = best_of(self.problem, self.found)
        return best is not None and (self.bound is None or self.bound < best.errors[0])

    def join(self, other: Generation, started: float) -> Generation:
        """The record of where it stands with what another method found."""
        self.found = front_of(self.problem, self.found.join(other.front))
        return replace(self.generation(started), evaluations=self.evaluations + other.evaluations)

    def _weigh(self) -> tuple[CostTable, Parts]:
        """The sum of costs over limits that bounds best, and the optimum within it, one row or none."""
        levels = np.zeros(len(self.limited))
        limits = self.problem.limits[self.limited]
        best: tuple[CostTable, Parts] | None = None
        for step in FIRST_STEP * STEP_SHRINKS ** np.arange(WEIGHINGS):
            weights = np.exp(levels - levels.max())
            weights /= weights.sum() * limits
            key = self._key(dict(zip(self.limited, weights, strict=True)))
            front = whole_front(self.form.worth, key, limit=1.0 + ROUNDING)
            self._keep(front.genes)
            top = front.take(np.arange(len(front))[-1:])
            if best is None or not len(top) or top.worth[0] < best[1].worth[0]:
                best = key, top
            if not len(top):
                break
            used = self.problem.costs(top.genes)[0, self.limited] / limits
            if (used <= 1.0).all():
                break
            levels[int(np.argmax(used))] += step
        assert best is not None
        return best

    def _close(self, key: CostTable, top: Parts) -> None:
        """Bring answer and bound together, or as near as can be, looking from the bound down."""
        form, most = self.form, float(top.worth[0])
        self.bound = float(form.error(top.worth)[0])
        answer = best_of(self.problem, self.found)
        if answer is None or not can_close(form.worth):
            return
        answer = deque(polish(self.problem, answer), maxlen=1).pop() if self.problem.swaps else answer
        self._keep(answer.genes)
        least = float(form.worth.total(answer.genes)[0])
        tables = tuple(form.costs[index] for index in self.limited)
        sums = Sums(tables, self.problem.limits[self.limited], key)
        chains = [Chain(form.worth, sums, resolution) for resolution in range(len(form.worth.fixed))]
        for share in SHARES_OF_GAP:
            target = most - share * (most - least)
            found = [chain.best_above(target) for chain in chains]
            if any(genes is None for genes in found):
                return
            better = np.concatenate([genes for genes in found if genes is not None])
            self.bound = float(form.error(np.array([target]))[0])
            if len(better):
                self._keep(better)
                best = best_of(self.problem, self.found)
                self.bound = None if best is None else float(best.errors[0])
                return

    def _key(self, weights: Mapping[int, float]) -> CostTable:
        """A weighted sum of costs."""
        costs = [(weight, self.form.costs[index]) for index, weight in weights.items()]
        fixed: Floats = np.sum([weight * cost.fixed.sum(axis=1) for weight, cost in costs], axis=0)
        choices: Floats = np.sum([weight * cost.choices for weight, cost in costs], axis=0)
        return CostTable(self.form.worth.encoding, fixed[:, None], choices)

    def _keep(self, genes: Genes) -> None:
        """Score architectures, and keep what belongs to the front."""
        scored = self.problem.score(genes[: self.left])
        self.evaluations, self.left = self.evaluations + len(scored), self.left - len(scored)
        self.found = front_of(self.problem, self.found.join(scored))
