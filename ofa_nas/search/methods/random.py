"""Random search: the baseline that every method must beat."""

import time
from collections.abc import Iterator

import numpy as np

from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, Generation, Meter, best_of, front_of
from ofa_nas.search.problem import Problem

BATCH = 4096


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Draw architectures and keep the best; see `SearchMethod.search`."""
    started = time.process_time()
    meter = Meter(problem, max_evaluations)
    problem = meter.problem
    seeds = problem.space.sample(1, rng) if problem.seeds is None else problem.seeds
    kept = problem.score(seeds[: meter.left])
    best, front, index = best_of(problem, kept), front_of(problem, kept), 0
    while True:
        yield Generation(index, meter.evaluations, best, front, time.process_time() - started)
        if not meter.left:
            return
        scored = problem.score(problem.space.sample(min(BATCH, meter.left), rng))
        best = best_of(problem, scored if best is None else best.join(scored))
        front = front_of(problem, front.join(scored))
        index += 1
