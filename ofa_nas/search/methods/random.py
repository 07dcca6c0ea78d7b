"""Random search: the baseline that every method must beat."""

import time
from collections.abc import Iterator

import numpy as np

from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, Generation, best_of, front_of
from ofa_nas.search.problem import Problem

BATCH = 4096


def search(
    problem: Problem, *, rng: np.random.Generator, max_evaluations: int = DEFAULT_MAX_EVALUATIONS
) -> Iterator[Generation]:
    """Draw architectures and keep the best; see `SearchMethod.search`."""
    started = time.process_time()
    kept = problem.score(problem.space.sample(1, rng) if problem.seeds is None else problem.seeds)
    best, front, evaluations, index = best_of(problem, kept), front_of(problem, kept), len(kept), 0
    while True:
        yield Generation(index, evaluations, best, front, time.process_time() - started)
        count = min(BATCH, max_evaluations - evaluations)
        if count <= 0:
            return
        scored = problem.score(problem.space.sample(count, rng))
        best = best_of(problem, scored if best is None else best.join(scored))
        front = front_of(problem, front.join(scored))
        evaluations, index = evaluations + count, index + 1
