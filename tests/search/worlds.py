"""Small closed problems that the search tests share."""

from itertools import product

import numpy as np

from ofa_nas.search.problem import Floats, Problem, Scored, stage_swaps
from ofa_nas.space.costs import layer_macs, layer_peak_bytes, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace

TINY = Encoding.of(SearchSpace.load("tiny"))
MACS = tabulate(TINY, layer_macs)
PEAK = tabulate(TINY, layer_peak_bytes)


def every_architecture() -> Genes:
    """All 800 architectures of `tiny`."""
    counts = [range(len(TINY.space.resolutions)), *(range(count + 1) for count in TINY.choice_counts)]
    genes = np.array(list(product(*counts)), dtype=np.int16)
    return genes[TINY.is_canonical(genes)]


def error_rate(genes: Genes) -> Floats:
    """A rugged error rate: falling in MACs, with interactions between genes; no two are equal."""
    waves = np.sin(genes @ np.array([1.3, 2.1, 0.7, 3.1, 1.9])) + np.sin(genes[:, 1] * genes[:, 3] * 1.7)
    return np.asarray(0.9 - 0.05 * np.log(MACS.total(genes)) + 0.02 * waves)


def tiny_problem(limits: Floats) -> Problem:
    """Least error under MACs and peak memory."""

    def costs(genes: Genes) -> Floats:
        return np.stack([MACS.total(genes), PEAK.peak(genes)], axis=1)

    return Problem(TINY, error_rate, costs, limits, ("macs", "peak_memory"), swaps=stage_swaps(TINY))


def enumerated_best(problem: Problem) -> Scored:
    """The optimum by looking at everything."""
    scored = problem.score(every_architecture())
    feasible = scored.take(problem.is_feasible(scored.costs))
    return feasible.take(np.array([np.argmin(feasible.errors)]))
