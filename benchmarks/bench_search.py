"""Search methods on an additive objective made from a seed: evolution, random, and an OFA-style loop.

The objective has diminishing returns in each block's MACs and unequal worths, the cost is MACs; budgets
are quantiles of random architectures. No data and no device are needed. The gap is to the best that any
run of any method found.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ofa_nas.provenance import record_provenance
from ofa_nas.search.methods import DEFAULT_MAX_EVALUATIONS, load_method
from ofa_nas.search.problem import Floats, Problem, stage_swaps
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace

QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one method."""

    error: float
    evaluations: int
    cpu_seconds: float
    is_violated: bool


def make_problem(encoding: Encoding, seed: int) -> Problem:
    """An additive error rate behind a link, against MACs; the limit is yet to be set."""
    rng = np.random.default_rng(seed)
    macs = tabulate(encoding, layer_macs)
    worths = np.nan_to_num((macs.choices[-1] / np.nanmax(macs.choices[-1], axis=1, keepdims=True)) ** 0.4)
    worths *= rng.lognormal(0.0, 0.5, size=(len(worths), 1)) * rng.normal(1.0, 0.1, size=worths.shape)
    worths *= 2.0 / worths.max(axis=1).sum()
    resolutions = np.log(np.array(encoding.space.resolutions) / 224.0)
    flat, width = worths.ravel(), worths.shape[1]

    def predict(genes: Genes) -> Floats:
        positions = np.arange(0, flat.size, width) + genes[:, 1:]
        return np.asarray(0.2 + 0.8 * np.exp(-flat.take(positions).sum(axis=1) - resolutions[genes[:, 0]]))

    def costs(genes: Genes) -> Floats:
        return macs.total(genes)[:, None]

    return Problem(encoding, predict, costs, np.array([np.inf]), ("macs",), swaps=stage_swaps(encoding))


def run_method(name: str, evaluations: int) -> Callable[[Problem, int], Outcome]:
    """A shipped method."""

    def run(problem: Problem, seed: int) -> Outcome:
        method = load_method(name)
        *_, last = method.search(problem, rng=np.random.default_rng(seed), max_evaluations=evaluations)
        if last.best is None:
            return Outcome(np.inf, last.evaluations, last.cpu_seconds, False)
        is_violated = not problem.is_feasible(problem.costs(last.best.genes))[0]
        return Outcome(float(last.best.errors[0]), last.evaluations, last.cpu_seconds, is_violated)

    return run


def run_ofa_style(problem: Problem, seed: int) -> Outcome:
    """Population 100, a quarter are parents, half mutated and half crossed; all redrawn until feasible.

    Source: Cai et al. 2020, arXiv:1908.09791, section 3.4; the settings are those of its published code.
    """
    started, rng = time.process_time(), np.random.default_rng(seed)
    space, evaluations = problem.space, 0

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

    population = problem.score(feasible(lambda count: space.sample(count, rng), 100))
    evaluations += len(population)
    for _ in range(500):
        parents = population.take(np.argsort(population.errors, kind="stable")[:25])
        children = [feasible(mutants(parents.genes), 50), feasible(crosses(parents.genes), 50)]
        population = parents.join(problem.score(np.concatenate(children)))
        evaluations += 100
    best = population.take(np.array([np.argmin(population.errors)]))
    is_violated = not problem.is_feasible(best.costs)[0]
    return Outcome(float(best.errors[0]), evaluations, time.process_time() - started, is_violated)


METHODS: dict[str, Callable[[Problem, int], Outcome]] = {
    "evolution": run_method("evolution", DEFAULT_MAX_EVALUATIONS),
    "evolution, 50k": run_method("evolution", 50_000),
    "OFA-style, 50k": run_ofa_style,
    "random, 250k": run_method("random", DEFAULT_MAX_EVALUATIONS),
}


def main() -> None:
    """Run every method on every budget and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="mobilenet_v3")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the objective")
    options = parser.parse_args()
    encoding = Encoding.of(SearchSpace.load(options.space))
    problem = make_problem(encoding, options.seed)
    sampled = problem.costs(encoding.sample(20_000, np.random.default_rng(options.seed)))[:, 0]
    budgets = np.quantile(sampled, QUANTILES)
    outcomes = {
        name: [[run(with_limit(problem, limit), seed) for seed in range(options.seeds)] for limit in budgets]
        for name, run in METHODS.items()
    }
    best = [
        min(run.error for runs in outcomes.values() for run in runs[column]) for column in range(len(budgets))
    ]
    print(f"{options.space}, {options.seeds} seeds; median gap (worst) to the best known, points of accuracy")
    print(
        f"{'budget [M MACs]':<16}"
        + "".join(f"{limit / 1e6:>17.0f}" for limit in budgets)
        + "    CPU s  scored/s"
    )
    rows = []
    for name, runs in outcomes.items():
        gaps = np.array([[run.error for run in column] for column in runs]) - np.array(best)[:, None]
        flat = [run for column in runs for run in column]
        seconds = float(np.median([run.cpu_seconds for run in flat]))
        scored = sum(run.evaluations for run in flat) / sum(run.cpu_seconds for run in flat)
        cells = "".join(
            f"{median:>9.4f} ({most:.3f})"
            for median, most in zip(100 * np.median(gaps, axis=1), 100 * gaps.max(axis=1), strict=True)
        )
        print(f"{name:<16}{cells}{seconds:>9.2f}{scored:>10.0f}")
        rows.append(
            {
                "method": name,
                "median_gap_points": (100 * np.median(gaps, axis=1)).round(5).tolist(),
                "worst_gap_points": (100 * gaps.max(axis=1)).round(5).tolist(),
                "cpu_seconds": round(seconds, 4),
                "scored_per_second": round(scored),
                "violations": sum(run.is_violated for run in flat),
            }
        )
    provenance = record_provenance(seed=options.seed)
    document = {
        "benchmark": "search",
        "commit": provenance.commit,
        "machine": platform.machine(),
        "methods": rows,
    }
    print(f"violations: {sum(row['violations'] for row in rows)}")
    print(json.dumps(document | {"best_errors": best, "budgets_macs": budgets.round().tolist()}))


def with_limit(problem: Problem, limit: float) -> Problem:
    """The same problem under one budget."""
    return Problem(
        problem.space, problem.predict, problem.costs, np.array([limit]), problem.names, swaps=problem.swaps
    )


if __name__ == "__main__":
    main()
