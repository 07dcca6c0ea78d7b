"""Search methods under several budgets, on objectives whose optimum is known and on once-for-all's own.

* additive: an error rate made from a seed, with diminishing returns in each block's MACs and unequal worths.
  The cost is MACs; the budgets are quantiles of random architectures. Its optimum is known exactly.
* enumerable: the same with waves on top, over 864,000 architectures, each of which is looked at.
* ofa: once-for-all's published accuracy predictor and its Samsung Note10 table, five resolutions, 25, 20 and
  15 ms. Needs `$OFA_NAS_DATA/ofa/acc_predictor.pth`.

A method answers all budgets in one run if it can; others run once for each, and their seconds are added up.
OMP_NUM_THREADS=1 keeps BLAS to one thread. pymoo's NSGA-II and the plot need the `bench` extra.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_search --objective additive --plot search.svg
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from benchmarks.search_contenders import Contender, Outcome, ofa_style, shipped
from benchmarks.search_peer import once_for_all
from benchmarks.search_problems import Objective, additive_objective, enumerable_objective, ofa_objective
from benchmarks.search_report import print_report
from ofa_nas.provenance import record_provenance

EXTRA = "it comes with `pip install -e '.[bench]'`"
PYMOO_EVALUATIONS = 50_000


def main() -> None:
    """Run every contender with every seed."""
    options = _parser().parse_args()
    plot = None if options.plot is None else _needed("matplotlib", "benchmarks.search_plot")
    objectives: dict[str, Callable[[], Objective]] = {
        "additive": lambda: additive_objective(options.space, options.seed),
        "enumerable": lambda: enumerable_objective(options.seed),
        "ofa": ofa_objective,
    }
    objective = objectives[options.objective]()
    fast, slow = _contenders(objective, options.peer)
    if options.only:
        fast, slow = (
            {name: run for name, run in group.items() if name in options.only.split(",")}
            for group in (fast, slow)
        )
    outcomes: dict[str, list[Outcome]] = {}
    for group, seeds in ((fast, options.seeds), (slow, options.slow_seeds)):
        for name, run in group.items():
            print(f"{name}: {seeds} seeds", file=sys.stderr)
            outcomes[name] = [run(objective.problem, seed) for seed in range(seeds)]
    rows = print_report(objective, outcomes)
    if plot is not None:
        plot.plot_curves(objective, outcomes, options.plot)
        print(f"wrote {options.plot}", file=sys.stderr)
    document = {"benchmark": "search", "objective": options.objective, "methods": rows}
    print(json.dumps(document | {"made_by": record_provenance(seed=options.seed).to_json()}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objective", choices=("additive", "enumerable", "ofa"), default="additive")
    parser.add_argument("--space", default="mobilenet_v3", help="of the additive objective (mobilenet_v3)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--slow-seeds", type=int, default=10, help="of NSGA-II and once-for-all's own (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the objective (0)")
    parser.add_argument("--only", help="names of contenders, between commas")
    parser.add_argument("--peer", type=Path, metavar="PATH", help="a checkout of mit-han-lab/once-for-all")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="gaps as they shrink, .svg, .png or .pdf")
    return parser


def _contenders(objective: Objective, peer: Path | None) -> tuple[dict[str, Contender], dict[str, Contender]]:
    """The fast, which run with all seeds, and the slow."""
    tables = objective.problem.tables
    is_additive = tables is not None and tables.worth is not None
    fast = {"exact": shipped("exact")} if is_additive else {}
    fast |= {
        "evolution": shipped("evolution"),
        "evolution (50k)": shipped("evolution", 50_000),
        "local": shipped("local"),
        "random": shipped("random"),
    }
    slow: dict[str, Contender] = {"Optuna NSGA-II (5k)": shipped("optuna")}
    try:
        slow["pymoo NSGA-II (50k)"] = _needed("pymoo", "benchmarks.search_pymoo").nsga2(PYMOO_EVALUATIONS)
    except SystemExit as missing:
        print(f"left out: {missing}", file=sys.stderr)
    fast["OFA-style (50k each)"] = ofa_style
    if peer is not None:
        slow["once-for-all (50k each)"] = once_for_all(peer)
    return fast, slow


def _needed(library: str, module: str) -> ModuleType:
    """A module of ours that imports a library of the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != library:
            raise
        raise SystemExit(f"{library} is not installed; {EXTRA}") from error


if __name__ == "__main__":
    main()
