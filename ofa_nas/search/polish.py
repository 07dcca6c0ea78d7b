"""The last step of a search: exchange whole stages until no exchange helps."""

from collections.abc import Callable, Iterator

import numpy as np

from ofa_nas.search.methods import best_of
from ofa_nas.search.problem import Problem, Scored, Swap
from ofa_nas.space.encoding import Genes

MIN_GAIN = 1e-7  # of error rate; less is rounding
MAX_ROUNDS = 20


def polish(
    problem: Problem, start: Scored, *, score: Callable[[Genes], Scored] | None = None
) -> Iterator[Scored]:
    """Swap one stage at a time for its best option until no single swap gains anything.

    Args:
        problem: Its `swaps` say what is exchanged.
        start: One row within the limits.
        score: Scores genes `(n, d)` in place of the problem; it may leave out what is no better than `start`.

    Yields:
        One row after each round, never worse than before; the last is optimal under single swaps unless
        `MAX_ROUNDS` ended it.
    """
    current = start
    for _ in range(MAX_ROUNDS):
        before = current.errors[0]
        for swap in problem.swaps:
            current = best_swap(problem, current, swap, score=score or problem.score)
        yield current
        if current.errors[0] > before - MIN_GAIN:
            return


def best_swap(problem: Problem, current: Scored, swap: Swap, *, score: Callable[[Genes], Scored]) -> Scored:
    """The best row that differs from one feasible row in a swap's genes only; itself if none is better."""
    genes = swapped(problem, current.genes[0], swap)
    scored = score(genes[problem.is_feasible(problem.costs(genes))])
    best = best_of(problem, scored)
    return current if best is None or best.errors[0] >= current.errors[0] else best


def swapped(problem: Problem, row: Genes, swap: Swap) -> Genes:
    """Every row of the space that differs from `row` `(d,)` in the genes of a swap only, `(n, d)`."""
    genes = np.repeat(row[None, :], len(swap.options), axis=0)
    genes[:, swap.columns] = swap.options
    return genes if swap.always_fits else genes[problem.space.is_canonical(genes)]


def polish_evaluations(problem: Problem) -> int:
    """The most architectures that one round of polish scores."""
    return sum(len(swap.options) for swap in problem.swaps)


def is_improvable(problem: Problem, current: Scored) -> bool:
    """Whether any single swap gains anything."""
    better = (best_swap(problem, current, swap, score=problem.score) for swap in problem.swaps)
    return any(current.errors[0] - row.errors[0] > MIN_GAIN for row in better)
