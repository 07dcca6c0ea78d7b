"""Search methods under several budgets, on a certified objective or on once-for-all's own.

* additive: an error rate made from a seed, with diminishing returns in each block's MACs and unequal worths;
  the cost is MACs, budgets are quantiles of random architectures. Its optimum is known exactly.
* ofa: once-for-all's published accuracy predictor and its Samsung Note10 table, five resolutions, 25, 20 and
  15 ms. Needs `$OFA_NAS_DATA/ofa/acc_predictor.pth`.

A method that can answers all budgets in one run; others run once for each, and their seconds are added up.

    python -m benchmarks.bench_search --objective additive
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_nas.latency.table import LatencyTable
from ofa_nas.provenance import record_provenance
from ofa_nas.search.methods import best_of, load_method
from ofa_nas.search.problem import Floats, Problem, Tables, Worth, stage_swaps
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.official_predictor import read_official_predictor

QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.8)
OFA_RESOLUTIONS, OFA_BUDGETS_MS = (160, 176, 192, 208, 224), (15.0, 20.0, 25.0)
NOTE10 = Path(__file__).parent.parent / "latency_tables" / "note10.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one method.

    Attributes:
        errors: `(budgets,)` of the best within each; infinite where there is none.
        evaluations: Architectures scored for all of them.
        cpu_seconds: Likewise.
        violations: Answers that break their budget.
    """

    errors: Floats
    evaluations: int
    cpu_seconds: float
    violations: int


def additive_problem(space: str, seed: int) -> Problem:
    """Least error under MACs; worths are powers of MACs with noise, behind a link."""
    encoding, rng = Encoding.of(SearchSpace.load(space)), np.random.default_rng(seed)
    macs = tabulate(encoding, layer_macs)
    worths = (macs.choices[-1] / np.nanmax(macs.choices[-1], axis=1, keepdims=True)) ** 0.4
    worths *= rng.lognormal(0.0, 0.5, size=(len(worths), 1)) * rng.normal(1.0, 0.1, size=worths.shape)
    worths *= 2.0 / np.nanmax(worths, axis=1).sum()
    sizes = np.log(np.array(encoding.space.resolutions) / 224.0)
    worth = Worth(
        CostTable(encoding, sizes[:, None], np.repeat(worths[None], len(sizes), axis=0)),
        lambda sums: 0.2 + 0.8 * np.exp(-sums),
    )
    sampled = macs.total(encoding.sample(20_000, rng))
    return _problem(
        encoding,
        lambda genes: worth.error(worth.table.total(genes)),
        Tables((macs,), (False,), worth),
        limits=tuple(np.quantile(sampled, QUANTILES)),
    )


def ofa_problem() -> Problem:
    """Least error by once-for-all's predictor under its latency table."""
    space = replace(SearchSpace.load("mobilenet_v3_w1.2"), resolutions=OFA_RESOLUTIONS)
    encoding = Encoding.of(space)
    path = Path(os.environ.get("OFA_NAS_DATA", ""), "ofa", "acc_predictor.pth")
    predictor = read_official_predictor(path, encoding)
    latency = LatencyTable.load(NOTE10).cost_table(encoding)
    return _problem(
        encoding,
        lambda genes: 1.0 - predictor.predict(genes),
        Tables((latency,), (False,)),
        limits=OFA_BUDGETS_MS,
    )


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


def run_method(name: str, evaluations: int | None = None) -> Callable[[Problem, int], Outcome]:
    """A shipped method, all budgets in one run."""
    limits = {} if evaluations is None else {"max_evaluations": evaluations}

    def run(problem: Problem, seed: int) -> Outcome:
        *_, last = load_method(name).search(problem, rng=np.random.default_rng(seed), **limits)
        found = [best_of(level, last.front) for level in problem.at_levels()]
        return Outcome(
            errors=np.array([np.inf if one is None else one.errors[0] for one in found]),
            evaluations=last.evaluations,
            cpu_seconds=last.cpu_seconds,
            violations=sum(
                one is not None and not level.is_feasible(level.costs(one.genes)).all()
                for one, level in zip(found, problem.at_levels(), strict=True)
            ),
        )

    return run


def run_ofa_style(problem: Problem, seed: int) -> Outcome:
    """once-for-all's evolution, written anew, once for each budget."""
    started = time.process_time()
    runs = [_ofa_style(level, np.random.default_rng(seed)) for level in problem.at_levels()]
    return Outcome(np.array(runs), 50_100 * len(runs), time.process_time() - started, 0)


def _ofa_style(problem: Problem, rng: np.random.Generator) -> float:
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

    population = problem.score(feasible(lambda count: space.sample(count, rng), 100))
    for _ in range(500):
        parents = population.take(np.argsort(population.errors, kind="stable")[:25])
        children = [feasible(mutants(parents.genes), 50), feasible(crosses(parents.genes), 50)]
        population = parents.join(problem.score(np.concatenate(children)))
    return float(population.errors.min())


CONTENDERS: dict[str, Callable[[Problem, int], Outcome]] = {
    "exact": run_method("exact"),
    "evolution": run_method("evolution"),
    "evolution, 50k": run_method("evolution", 50_000),
    "OFA-style, 50k a budget": run_ofa_style,
    "random": run_method("random"),
}


def report(problem: Problem, outcomes: dict[str, list[Outcome]]) -> list[dict[str, Any]]:
    """Print a row for each contender; rows for JSON."""
    errors = {name: np.stack([run.errors for run in runs]) for name, runs in outcomes.items()}
    best = np.min([rows.min(axis=0) for rows in errors.values()], axis=0)
    limits = [float(level.limits[0]) for level in problem.at_levels()]
    print(f"{'budget':<24}" + "".join(f"{limit:>24.4g}" for limit in limits) + "    CPU s  scored/s")
    print(f"{'':<24}" + f"{'mean, median gap, worst':>24}" * len(limits))
    rows = []
    for name, runs in outcomes.items():
        gaps = 100.0 * (errors[name] - best)
        means, medians, worst = (
            100.0 * (1.0 - errors[name].mean(axis=0)),
            np.median(gaps, axis=0),
            gaps.max(axis=0),
        )
        seconds = float(np.median([run.cpu_seconds for run in runs]))
        scored = sum(run.evaluations for run in runs) / sum(run.cpu_seconds for run in runs)
        cells = "".join(
            f"{mean:>10.3f}{gap:>7.4f}{most:>7.3f}"
            for mean, gap, most in zip(means, medians, worst, strict=True)
        )
        print(f"{name:<24}{cells}{seconds:>9.3f}{scored:>10.0f}")
        rows.append(
            {
                "method": name,
                "mean_percent": means.round(4).tolist(),
                "median_gap_points": medians.round(5).tolist(),
                "worst_gap_points": worst.round(5).tolist(),
                "cpu_seconds": round(seconds, 4),
                "scored_per_second": round(scored),
                "violations": sum(run.violations for run in runs),
            }
        )
    print(f"violations: {sum(row['violations'] for row in rows)}; gaps in points to the best of all runs")
    return rows


def main() -> None:
    """Run every contender with every seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objective", choices=("additive", "ofa"), default="additive")
    parser.add_argument("--space", default="mobilenet_v3", help="of the additive objective (mobilenet_v3)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the additive objective (0)")
    options = parser.parse_args()
    is_additive = options.objective == "additive"
    problem = additive_problem(options.space, options.seed) if is_additive else ofa_problem()
    outcomes = {
        name: [run(problem, seed) for seed in range(options.seeds)]
        for name, run in CONTENDERS.items()
        if is_additive or name != "exact"
    }
    rows = report(problem, outcomes)
    document = {
        "benchmark": "search",
        "objective": options.objective,
        "seeds": options.seeds,
        "methods": rows,
    }
    print(json.dumps(document | {"made_by": record_provenance(seed=options.seed).to_json()}))


if __name__ == "__main__":
    main()
