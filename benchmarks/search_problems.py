"""The objectives of `bench_search`."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.latency.table import LatencyTable
from ofa_nas.search.methods import best_of, exact
from ofa_nas.search.problem import Problem, Scored, Tables, Worth, stage_options, stage_swaps
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.official_predictor import read_official_predictor

QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.8)
OFA_RESOLUTIONS, OFA_BUDGETS_MS = (160, 176, 192, 208, 224), (15.0, 20.0, 25.0)
NOTE10 = Path(__file__).parent.parent / "latency_tables" / "note10.json"
RUGGEDNESS = 0.01  # of the error rate, between architectures that differ in one gene
SAMPLED = 20_000


@dataclass(frozen=True, slots=True)
class Objective:
    """A problem, and what is known of it.

    Attributes:
        problem: With all budgets: a limit, and levels below it.
        optimum: `(budgets,)` the least error within each, proven; None where nobody knows it.
        reference: `(2,)` cost and error from which hypervolume is measured: the largest budget, and the
            median error of random architectures.
    """

    problem: Problem
    optimum: Floats | None
    reference: Floats

    @property
    def budgets(self) -> list[float]:
        """Rising."""
        return [float(level.limits[0]) for level in self.problem.at_levels()]


def additive_objective(space: str, seed: int) -> Objective:
    """Least error under MACs; worths are powers of MACs with noise, behind a link; `exact` proves it."""
    encoding, rng = Encoding.of(SearchSpace.load(space)), np.random.default_rng(seed)
    macs, worth = _macs_and_worth(encoding, rng)
    sampled = macs.total(encoding.sample(SAMPLED, rng))
    problem = _problem(
        encoding,
        lambda genes: worth.error(worth.table.total(genes)),
        Tables((macs,), worth),
        limits=tuple(np.quantile(sampled, QUANTILES)),
    )
    *_, last = exact.search(problem, rng=rng)
    assert None not in last.bounds
    return _objective(problem, np.array(last.bounds))


def ofa_objective() -> Objective:
    """Least error by once-for-all's predictor under its latency table."""
    space = replace(SearchSpace.load("mobilenet_v3_w1.2"), resolutions=OFA_RESOLUTIONS)
    encoding = Encoding.of(space)
    path = Path(os.environ.get("OFA_NAS_DATA", ""), "ofa", "acc_predictor.pth")
    predictor = read_official_predictor(path, encoding)
    latency = LatencyTable.load(NOTE10).cost_table(encoding)
    problem = _problem(
        encoding,
        lambda genes: 1.0 - predictor.predict(genes),
        Tables((latency,)),
        limits=OFA_BUDGETS_MS,
    )
    return _objective(problem, None)


def enumerable_objective(seed: int) -> Objective:
    """A rugged error under MACs on 864,000 architectures of MobileNetV3, each of which is looked at."""
    encoding, rng = Encoding.of(_few(SearchSpace.load("mobilenet_v3"))), np.random.default_rng(seed)
    macs, worth = _macs_and_worth(encoding, rng)
    waves = rng.uniform(0.0, np.pi, size=(encoding.length, 3))

    def predict(genes: Genes) -> Floats:
        smooth = worth.error(worth.table.total(genes))
        return np.asarray(smooth + RUGGEDNESS * np.sin(genes @ waves).mean(axis=1))

    everything = every_architecture(encoding)
    costs = macs.total(everything)
    limits = tuple(np.quantile(costs, QUANTILES))
    problem = _problem(encoding, predict, Tables((macs,)), limits=limits)
    errors = predict(everything)
    return _objective(problem, np.array([errors[costs <= limit].min() for limit in limits]))


def every_architecture(encoding: Encoding) -> Genes:
    """All genes of a space, `(cardinality, d)`."""
    rows: Genes = np.arange(len(encoding.space.resolutions), dtype=np.int16)[:, None]
    for options in map(stage_options, encoding.space.stages):
        rows = np.concatenate(
            [np.repeat(rows, len(options), axis=0), np.tile(options, (len(rows), 1))], axis=1
        )
    return rows


def answers(problem: Problem, front: Scored) -> Floats:
    """Least error within each budget, `(budgets,)`; infinite where there is none."""
    best = [best_of(level, front) for level in problem.at_levels()]
    return np.array([np.inf if one is None else one.errors[0] for one in best])


def _few(space: SearchSpace) -> SearchSpace:
    """Three resolutions, one or two blocks a stage, of four kinds in the last three stages, two in others."""
    first, *stages = space.stages
    few = [
        replace(
            stage,
            depths=(1, 2),
            expand_ratios=(3, 6),
            kernel_sizes=(3, 5) if number >= 2 else (3,),
        )
        for number, stage in enumerate(stages)
    ]
    return replace(space, resolutions=(160, 192, 224), stages=(first, *few))


def _macs_and_worth(encoding: Encoding, rng: np.random.Generator) -> tuple[CostTable, Worth]:
    macs = tabulate(encoding, layer_macs)
    worths = (macs.choices[-1] / np.nanmax(macs.choices[-1], axis=1, keepdims=True)) ** 0.4
    worths *= rng.lognormal(0.0, 0.5, size=(len(worths), 1)) * rng.normal(1.0, 0.1, size=worths.shape)
    worths *= 2.0 / np.nanmax(worths, axis=1).sum()
    sizes = np.log(np.array(encoding.space.resolutions) / 224.0)
    table = CostTable(encoding, sizes[:, None], np.repeat(worths[None], len(sizes), axis=0))
    return macs, Worth(table, lambda sums: 0.2 + 0.8 * np.exp(-sums))


def _problem(
    encoding: Encoding, predict: Callable[[Genes], Floats], tables: Tables, *, limits: tuple[float, ...]
) -> Problem:
    (cost,) = tables.costs
    return Problem(
        space=encoding,
        predict=predict,
        costs=lambda genes: cost.total(genes)[:, None],
        limits=np.array([max(limits)]),
        names=("cost",),
        levels=tuple(sorted(limits)[:-1]),
        swaps=stage_swaps(encoding),
        tables=tables,
    )


def _objective(problem: Problem, optimum: Floats | None) -> Objective:
    errors = problem.predict(problem.space.sample(SAMPLED, np.random.default_rng(0)))
    return Objective(problem, optimum, np.array([problem.limits[0], np.median(errors)]))
