"""The contenders of `bench_search`: each answers all budgets of a problem, from a seed.

A method answers all budgets in one run if it can; others run once for each, and their seconds are added up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.search_problems import answers
from ofa_nas.arrays import Floats
from ofa_nas.search.methods import best_of, load_method
from ofa_nas.search.problem import Problem, Scored
from ofa_nas.space.encoding import Genes


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one contender, as it went on.

    Attributes:
        evaluations: `(t,)` architectures scored so far.
        cpu_seconds: `(t,)` likewise.
        errors: `(t, budgets)` of the best within each so far; infinite where there is none.
        points: `(n, 2)` cost and error of what was found; the front is among them.
        violations: Answers that break their budget.
    """

    evaluations: Floats
    cpu_seconds: Floats
    errors: Floats
    points: Floats
    violations: int


Contender = Callable[[Problem, int], Outcome]


class Recorder:
    """Scores for those who keep no record: what was scored when; the arithmetic is done afterwards."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.violations, self.started = problem, 0, time.process_time()
        self.scored: list[Scored] = []
        self.seconds: list[float] = []

    def score(self, genes: Genes) -> Scored:
        """Of genes `(n, d)`."""
        scored = self.problem.score(genes)
        self.scored.append(scored)
        self.seconds.append(time.process_time() - self.started)
        return scored

    def outcome(self) -> Outcome:
        """Where it stood after each call of `score`."""
        errors = np.array([answers(self.problem, scored) for scored in self.scored])
        return Outcome(
            evaluations=np.cumsum([len(scored) for scored in self.scored], dtype=np.float64),
            cpu_seconds=np.array(self.seconds),
            errors=np.minimum.accumulate(errors, axis=0),
            points=np.concatenate([points_of(scored) for scored in self.scored]),
            violations=self.violations,
        )


def shipped(name: str, evaluations: int | None = None) -> Contender:
    """A method of ours, all budgets in one run."""
    limits = {} if evaluations is None else {"max_evaluations": evaluations}

    def run(problem: Problem, seed: int) -> Outcome:
        generations = list(load_method(name).search(problem, rng=np.random.default_rng(seed), **limits))
        last, levels = generations[-1], problem.at_levels()
        found = [best_of(level, last.front) for level in levels]
        return Outcome(
            evaluations=np.array([float(one.evaluations) for one in generations]),
            cpu_seconds=np.array([one.cpu_seconds for one in generations]),
            errors=np.array([answers(problem, one.front) for one in generations]),
            points=points_of(last.front),
            violations=sum(
                one is not None and not level.is_feasible(level.costs(one.genes)).all()
                for one, level in zip(found, levels, strict=True)
            ),
        )

    return run


def ofa_style(problem: Problem, seed: int) -> Outcome:
    """once-for-all's evolution, written anew, once for each budget."""
    recorder = Recorder(problem)
    for level in problem.at_levels():
        _ofa_style(level, recorder, np.random.default_rng(seed))
    return recorder.outcome()


def _ofa_style(problem: Problem, recorder: Recorder, rng: np.random.Generator) -> None:
    """Population 100, a quarter are parents, half mutated and half crossed; all redrawn until feasible.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.4; the settings are those of its published code.
    """
    space = problem.space

    def feasible(draw: Callable[[int], Genes], count: int) -> Genes:
        kept: list[Genes] = []
        for _ in range(1000):
            genes = draw(count)
            kept.append(genes[problem.is_feasible(problem.costs(genes))])
            if sum(map(len, kept)) >= count:
                break
        return np.concatenate(kept)[:count]

    def mutants(parents: Genes) -> Callable[[int], Genes]:
        return lambda count: space.mutate(parents[rng.integers(len(parents), size=count)], rng, rate=0.1)

    def crosses(parents: Genes) -> Callable[[int], Genes]:
        def draw(count: int) -> Genes:
            first, second = rng.integers(len(parents), size=(2, count))
            return space.crossover(parents[first], parents[second], rng)

        return draw

    population = recorder.score(feasible(lambda count: space.sample(count, rng), 100))
    for _ in range(500):
        parents = population.take(np.argsort(population.errors, kind="stable")[:25])
        children = [feasible(mutants(parents.genes), 50), feasible(crosses(parents.genes), 50)]
        population = parents.join(recorder.score(np.concatenate(children)))


def points_of(scored: Scored) -> Floats:
    """Cost and error, `(n, 2)`."""
    return np.stack([scored.costs[:, 0], scored.errors], axis=1)
