"""NSGA-II of pymoo, the `bench` extra, as a contender of `bench_search`.

Source: Blank and Deb 2020, IEEE Access 8 (pymoo); Deb et al. 2002, IEEE TEC 6(2) (NSGA-II).
"""

from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.sampling import Sampling
from pymoo.optimize import minimize

from benchmarks.search_contenders import Contender, Outcome, Recorder, points_of
from ofa_nas.arrays import Floats
from ofa_nas.search.problem import GeneSpace, Problem
from ofa_nas.space.encoding import Genes

POPULATION = 100
MUTATION_RATE = 0.05
Arguments = Any  # of pymoo's hooks that are not looked at


def nsga2(evaluations: int) -> Contender:
    """Error and cost within the largest budget at once; genes are drawn, crossed and mutated as ours are."""

    def run(problem: Problem, seed: int) -> Outcome:
        recorder, vary = Recorder(problem), (problem.space, np.random.default_rng(seed))
        engine = NSGA2(
            pop_size=POPULATION,
            sampling=_Sampling(*vary),
            crossover=_Crossover(*vary),
            mutation=_Mutation(*vary),
            eliminate_duplicates=True,
        )
        minimize(_Genotypes(recorder), engine, ("n_eval", evaluations), seed=seed, verbose=False)
        return recorder.outcome()

    return run


class _Genotypes(PymooProblem):  # type: ignore[misc, unused-ignore]
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        width = recorder.problem.space.sample(0, np.random.default_rng(0)).shape[1]
        limits = len(recorder.problem.limits)
        super().__init__(
            n_var=width, n_obj=2, n_ieq_constr=limits, xl=0, xu=np.iinfo(np.int16).max, vtype=int
        )

    def _evaluate(self, x: Genes, out: dict[str, Floats], *_: Arguments, **__: Arguments) -> None:
        scored = self.recorder.score(x)
        out["F"] = points_of(scored)
        out["G"] = scored.costs / self.recorder.problem.limits - 1.0


class _Sampling(Sampling):  # type: ignore[misc, unused-ignore]
    def __init__(self, space: GeneSpace, rng: np.random.Generator) -> None:
        super().__init__()
        self.space, self.rng = space, rng

    def _do(self, _: Arguments, count: int, *__: Arguments, **___: Arguments) -> Genes:
        return self.space.sample(count, self.rng)


class _Crossover(Crossover):  # type: ignore[misc, unused-ignore]
    def __init__(self, space: GeneSpace, rng: np.random.Generator) -> None:
        super().__init__(n_parents=2, n_offsprings=2)
        self.space, self.rng = space, rng

    def _do(self, _: Arguments, x: Genes, *__: Arguments, **___: Arguments) -> Genes:
        return np.stack([self.space.crossover(x[0], x[1], self.rng) for _child in range(2)])


class _Mutation(Mutation):  # type: ignore[misc, unused-ignore]
    def __init__(self, space: GeneSpace, rng: np.random.Generator) -> None:
        super().__init__()
        self.space, self.rng = space, rng

    def _do(self, _: Arguments, x: Genes, *__: Arguments, **___: Arguments) -> Genes:
        return self.space.mutate(x, self.rng, rate=MUTATION_RATE)
