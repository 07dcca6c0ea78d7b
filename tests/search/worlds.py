"""Small closed problems that the search tests share."""

from itertools import product

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.search.problem import Problem, Scored, Tables, Worth, stage_swaps
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace

TINY = Encoding.of(SearchSpace.load("tiny"))
MACS = tabulate(TINY, layer_macs)
PEAK = tabulate(TINY, peak_bytes, is_peak=True)


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


def made_up_problem(encoding: Encoding, quantiles: tuple[float, ...], seed: int) -> Problem:
    """Latency, size, MACs and peak memory, each limited to a quantile of random architectures; 1: no limit.

    Latency and worth deviate at random from what MACs say, block by block.
    """
    rng = np.random.default_rng(seed)
    macs = tabulate(encoding, layer_macs)
    latency = CostTable(
        encoding, 1e-6 * macs.fixed, 1e-6 * macs.choices * rng.uniform(0.8, 1.2, macs.choices.shape)
    )
    worth = np.log1p(macs.choices) * rng.uniform(0.8, 1.2, macs.choices.shape[1:])
    bonus = np.linspace(0.0, 1.0, len(macs.fixed))[:, None]
    tables = (
        latency,
        tabulate(encoding, weight_bytes),
        macs,
        tabulate(encoding, peak_bytes, is_peak=True),
    )
    form = Worth(CostTable(encoding, bonus, worth), lambda sums: np.exp(-0.01 * sums))

    def costs(genes: Genes) -> Floats:
        return np.stack([table.values(genes) for table in tables], axis=1)

    seen = costs(encoding.sample(4000, rng))
    limits = [
        np.inf if share == 1 else np.quantile(seen[:, place], share) for place, share in enumerate(quantiles)
    ]
    return Problem(
        space=encoding,
        predict=lambda genes: form.error(form.table.total(genes)),
        costs=costs,
        limits=np.array(limits),
        names=("latency", "model_size", "macs", "peak_memory"),
        swaps=stage_swaps(encoding),
        tables=Tables(tables, form),
    )


def enumerated_best(problem: Problem) -> Scored:
    """The optimum by looking at everything."""
    scored = problem.score(every_architecture())
    feasible = scored.take(problem.is_feasible(scored.costs))
    return feasible.take(np.array([np.argmin(feasible.errors)]))
