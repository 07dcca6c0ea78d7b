"""Optuna's NSGA-II, asked for genes and told what they are worth.

Optuna spends milliseconds on each trial, so a predictor is searched better by other methods; this one stands
here to be compared with, and because its settings are known to many.

Source: Deb et al. 2002, IEEE Transactions on Evolutionary Computation 6(2) (NSGA-II).
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_nas.search.methods import Generation, Meter, best_of, front_of
from ofa_nas.search.problem import GeneSpace, Problem
from ofa_nas.search.storage import without_chatter
from ofa_nas.space.encoding import ABSENT, Encoding, Genes

if TYPE_CHECKING:
    from optuna import Study

MAX_EVALUATIONS = 5000  # 15 to 20 s
MAX_ASKED = 20  # for each that is scored
POPULATION = 50  # Optuna's own
DRAWS = 1000  # random architectures, unscored, that show which values a gene takes


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Minimise error and first cost within all limits at once; see `SearchMethod.search`."""
    from optuna.trial import TrialState

    started = time.process_time()
    meter = Meter(problem, max_evaluations)
    problem = meter.problem
    code = _Code(problem.space, rng)
    study = _new_study(int(rng.integers(2**32)))
    for row in problem.space.sample(0, rng) if problem.seeds is None else problem.seeds:
        study.enqueue_trial(code.parameters(row))
    front = problem.score(problem.space.sample(0, rng))
    index = asked = 0
    while meter.left and asked < MAX_ASKED * max_evaluations:
        trials = [study.ask(code.distributions) for _ in range(min(POPULATION, meter.left))]
        genes = np.concatenate([code.genes(trial.params) for trial in trials])
        is_canonical = problem.space.is_canonical(genes)
        scored = problem.score(genes[is_canonical])
        rows = iter(zip(scored.errors.tolist(), scored.costs, strict=True))
        for trial, is_good in zip(trials, is_canonical, strict=True):
            if not is_good:
                study.tell(trial, state=TrialState.FAIL)
                continue
            error, costs = next(rows)
            for name, cost, limit in zip(problem.names, costs, problem.limits, strict=True):
                trial.set_constraint(name, max(cost / limit - 1.0, 0.0))
            study.tell(trial, (error, float(costs[0])))
        front = front_of(problem, front.join(scored))
        asked += len(trials)
        best, cpu_seconds = best_of(problem, front), time.process_time() - started
        yield Generation(index, meter.evaluations, best, front, cpu_seconds)
        index += 1


def _new_study(seed: int) -> "Study":
    """A study in memory."""
    import optuna

    with without_chatter():
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        return optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])


class _Code:
    """Genes as Optuna's parameters: one each; where stages have depths, those instead of absent blocks."""

    def __init__(self, space: GeneSpace, rng: np.random.Generator) -> None:
        from optuna.distributions import CategoricalDistribution

        self.stages = (
            list(zip(space.spans, space.space.stages, strict=True)) if isinstance(space, Encoding) else []
        )
        values = [np.unique(column).tolist() for column in space.sample(DRAWS, rng).T]
        for span, _ in self.stages:
            values[span] = [[value for value in column if value != ABSENT] for column in values[span]]
        self.count = len(values)
        self.distributions: dict[str, Any] = {
            f"gene{number}": CategoricalDistribution(column) for number, column in enumerate(values)
        } | {
            f"depth{number}": CategoricalDistribution(stage.depths)
            for number, (_, stage) in enumerate(self.stages)
        }

    def genes(self, parameters: dict[str, Any]) -> Genes:
        """A row of genes `(1, d)`, canonical wherever stages have depths."""
        row = np.array([[parameters[f"gene{number}"] for number in range(self.count)]], dtype=np.int16)
        for number, (span, _) in enumerate(self.stages):
            row[:, span.start + parameters[f"depth{number}"] : span.stop] = ABSENT
        return row

    def parameters(self, row: Genes) -> dict[str, int]:
        """Of one row of genes `(d,)`; a block that is absent may be any."""
        depths = {
            f"depth{number}": int((row[span] != ABSENT).sum()) for number, (span, _) in enumerate(self.stages)
        }
        genes = {f"gene{number}": int(value) for number, value in enumerate(row)}
        for span, _ in self.stages:
            for number in range(span.start, span.stop):
                genes[f"gene{number}"] = max(1, genes[f"gene{number}"])
        return genes | depths
