"""How far from the best the search methods end when they may evaluate only so many architectures.

Made-up problems of three kinds, from seeds that no setting was chosen by:

* tables: six genes of five values, whose interactions are of two or of four neighbours, without a limit, or
  with one that few rows keep. Everything is looked at, so the optimum is known.
* long: the same with 18 genes, of which nobody can look at everything.
* efficientnet_lite: a random perceptron and a limit of MACs over that space, with or without the MACs as a
  table, which methods may look at for nothing.

Where the optimum is unknown, the best that evolution finds in 250,000 evaluations from each of two seeds
stands for it. Mean gaps to it, in points of error rate; what found nothing within the limit is counted.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_effort
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ofa_nas import ChoiceSpace, Encoding, SearchSpace, compare_methods
from ofa_nas.arrays import Floats
from ofa_nas.provenance import record_provenance
from ofa_nas.search.problem import Problem, Tables, stage_swaps
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Genes

SMALL, LONG = (5,) * 6, (4,) * 14 + (3,) * 4  # choices of each gene
MOST_EVALUATIONS = 250_000
SAMPLED = 4_000  # architectures, of whose costs a limit is a quantile


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A problem and the least error rate that anybody knows in it."""

    problem: Problem
    optimum: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method found with so many evaluations in all problems of a kind.

    Attributes:
        gap: Mean of the searches that found anything, in points of error rate above the optimum; None where
            none did.
        searches: That were made.
        failed: Of these, that found nothing within the limit.
    """

    kind: str
    evaluations: int
    method: str
    gap: float | None
    searches: int
    failed: int


def main() -> None:
    """Print a row for each effort and kind, with the mean gap of every method."""
    options = _parser().parse_args()
    outcomes = []
    for kind, make in KINDS.items():
        puzzles = [known(problem) for problem in make(options.problems)]
        for effort in options.evaluations:
            for method in options.methods:
                gaps = _gaps(puzzles, method, effort, seeds=options.seeds)
                found = gaps[np.isfinite(gaps)]
                gap = float(np.mean(found)) if len(found) else None
                outcome = Outcome(kind, effort, method, gap, len(gaps), len(gaps) - len(found))
                print(outcome, file=sys.stderr)
                outcomes.append(outcome)
    _print_table(outcomes)
    document = {"benchmark": "effort", "outcomes": [asdict(outcome) for outcome in outcomes]}
    print(json.dumps(document | {"made_by": record_provenance(seed=0).to_json()}))


def neighbours(seed: int, counts: Sequence[int], *, reach: int, share: float | None) -> Problem:
    """Error rates of which each term depends on a gene and up to `reach` genes after it.

    Args:
        seed: Of all terms and costs.
        counts: Choices of each gene.
        reach: Genes that one interacts with.
        share: Of the rows that keep the limit; None for no limit.
    """
    rng, space, genes = np.random.default_rng(seed), ChoiceSpace(tuple(counts)), np.arange(len(counts))
    most = max(counts)
    alone = rng.normal(size=(len(counts), most))
    together = [0.7 * rng.normal(size=(len(counts), *(most,) * (1 + far))) for far in range(1, 1 + reach)]
    costs = rng.uniform(0.5, 5.0, (len(counts), most))

    def predict(rows: Genes) -> Floats:
        sums = alone[genes, rows].sum(axis=1)
        for far, terms in enumerate(together, start=1):
            near = [rows[:, np.roll(genes, -step)] for step in range(1 + far)]
            sums = sums + terms[(genes, *near)].sum(axis=1)
        return np.asarray(0.05 + 0.3 / (1.0 + np.exp(0.5 * sums / np.sqrt(len(counts) / 6))))

    def cost(rows: Genes) -> Floats:
        return np.asarray(costs[genes, rows].sum(axis=1))

    if share is None:
        return space.problem(predict)
    return space.problem(predict, costs=cost, limits=[np.quantile(cost(space.sample(SAMPLED, rng)), share)])


def perceptron(seed: int, *, is_tabled: bool) -> Problem:
    """A random perceptron over `efficientnet_lite`, better with MACs, within those of 30 % of the space."""
    rng, encoding = np.random.default_rng(seed), Encoding.of(SearchSpace.load("efficientnet_lite"))
    macs, cells = tabulate(encoding, layer_macs), encoding.length * encoding.width
    first = rng.normal(size=(cells, 60)) / np.sqrt(encoding.length)
    second = rng.normal(size=60) / 8

    def predict(rows: Genes) -> Floats:
        hot = np.zeros((len(rows), cells))
        np.put_along_axis(hot, np.arange(0, cells, encoding.width) + rows, 1.0, axis=1)
        return np.asarray(
            0.5 - 0.04 * np.tanh(hot @ first) @ second - 0.03 * np.log(macs.total(rows) / 5e7), dtype=float
        )

    return Problem(
        space=encoding,
        predict=predict,
        costs=lambda rows: macs.total(rows)[:, None],
        limits=np.quantile(macs.total(encoding.sample(SAMPLED, rng)), [0.3]),
        names=("macs",),
        swaps=stage_swaps(encoding),
        tables=Tables((macs,)) if is_tabled else None,
    )


def _tables(count: int) -> list[Problem]:
    kinds = ((1, None), (1, 0.3), (1, 0.03), (3, None), (3, 0.2))
    return [
        neighbours(one, SMALL, reach=reach, share=share) for one in range(count) for reach, share in kinds
    ]


def _long(count: int) -> list[Problem]:
    kinds = ((1, None), (1, 0.1), (3, 0.3))
    return [
        neighbours(1000 + one, LONG, reach=reach, share=share)
        for one in range(-(-count // 2))
        for reach, share in kinds
    ]


def _lite(count: int) -> list[Problem]:
    return [
        perceptron(2000 + one, is_tabled=is_tabled)
        for one in range(-(-3 * count // 8))
        for is_tabled in (True, False)
    ]


KINDS: dict[str, Callable[[int], list[Problem]]] = {
    "tables": _tables,
    "long": _long,
    "efficientnet_lite": _lite,
}


def known(problem: Problem) -> Puzzle:
    """Look at everything, or search twice for long."""
    if isinstance(problem.space, ChoiceSpace) and problem.space.cardinality < MOST_EVALUATIONS:
        scored = problem.score(problem.space.every())
        return Puzzle(problem, float(scored.errors[problem.is_feasible(scored.costs)].min()))
    runs = compare_methods(problem, ["evolution"], seeds=(0, 1), max_evaluations=MOST_EVALUATIONS)
    return Puzzle(problem, min(run.error_after(MOST_EVALUATIONS) for run in runs))


def _gaps(puzzles: Sequence[Puzzle], method: str, effort: int, *, seeds: int) -> Floats:
    """`(puzzles x seeds,)` points above the optimum; infinite where nothing within the limit was found."""
    return np.array(
        [
            100.0 * (run.error_after(effort) - puzzle.optimum)
            for number, puzzle in enumerate(puzzles)
            for run in compare_methods(
                puzzle.problem,
                [method],
                seeds=range(100 * number, 100 * number + seeds),
                max_evaluations=effort,
            )
        ]
    )


def _print_table(outcomes: Sequence[Outcome]) -> None:
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    print(f"| {' / '.join(KINDS)} |", " | ".join(methods), "|")
    print("|---|" + "---|" * len(methods))
    for effort in dict.fromkeys(outcome.evaluations for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.evaluations == effort]
        cells = [" / ".join(_text(one) for one in mine if one.method == method) for method in methods]
        print(f"| {effort:,} |", " | ".join(cells), "|")


def _text(outcome: Outcome) -> str:
    gap = "–" if outcome.gap is None else f"{outcome.gap:.2f}"
    return gap + f" ({outcome.failed} found none)" * (outcome.failed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[100, 200, 500, 1000, 2000])
    parser.add_argument("--methods", nargs="+", default=["random", "local", "ageing", "evolution"])
    parser.add_argument("--problems", type=int, default=8, help="of each kind of tables; fewer of the others")
    parser.add_argument("--seeds", type=int, default=2, help="of each method on each problem")
    return parser


if __name__ == "__main__":
    main()
