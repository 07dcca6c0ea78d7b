"""What `bench_search` prints about its runs."""

from typing import Any

import numpy as np

from benchmarks.search_contenders import Outcome
from benchmarks.search_problems import Objective
from ofa_nas.arrays import Floats
from ofa_nas.search.pareto import non_dominated

AFTER_EVALUATIONS = (5_000, 50_000)
AFTER_SECONDS = (0.25, 0.5, 1.0, 2.0)


def least_errors(objective: Objective, outcomes: dict[str, list[Outcome]]) -> Floats:
    """What gaps are measured to: the optimum where it is known, else the best of all runs, `(budgets,)`."""
    if objective.optimum is not None:
        return objective.optimum
    return np.asarray(np.min([run.errors[-1] for runs in outcomes.values() for run in runs], axis=0))


def gap_curves(runs: list[Outcome], least: Floats, grid: Floats, *, by_seconds: bool) -> Floats:
    """Gaps in points, the mean over the budgets, at each place of a grid, `(runs, places)`.

    Infinite before a run has an answer within every budget.
    """
    curves = []
    for run in runs:
        spent = run.cpu_seconds if by_seconds else run.evaluations
        place = np.searchsorted(spent, grid, side="right")
        gaps = np.append(np.inf, 100.0 * np.maximum(run.errors - least, 0.0).mean(axis=1))
        curves.append(gaps[place])
    return np.array(curves)


def print_report(objective: Objective, outcomes: dict[str, list[Outcome]]) -> list[dict[str, Any]]:
    """Print a row for each contender, and where each stood on the way; rows for JSON."""
    least = least_errors(objective, outcomes)
    volumes = {name: [_volume(run, objective) for run in runs] for name, runs in outcomes.items()}
    best_volume = max(max(found) for found in volumes.values())
    rows = [_row(name, runs, least) for name, runs in outcomes.items()]
    for row in rows:
        row["hypervolume_percent"] = round(100.0 * float(np.median(volumes[row["method"]])) / best_volume, 3)
    kind = "the optimum" if objective.optimum is not None else "the best of all runs"
    print(f"accuracy [%], then median and worst gap to {kind} [points]; hypervolume of the best run is 100")
    print(f"{'budget':<24}" + "".join(f"{budget:>25.4g}" for budget in objective.budgets))
    for row in rows:
        triples = zip(row["mean_percent"], row["median_gap_points"], row["worst_gap_points"], strict=True)
        cells = "".join(f"{mean:>10.3f}{gap:>8.4f}{most:>7.3f}" for mean, gap, most in triples)
        print(f"{row['method']:<24}{cells}")
    print(f"\n{'':<24}{'seeds':>6}{'scored':>9}{'CPU s':>8}{'scored/s':>11}{'volume':>9}{'violations':>12}")
    for row in rows:
        print(
            f"{row['method']:<24}{row['seeds']:>6}{row['evaluations']:>9}{row['cpu_seconds']:>8.2f}"
            f"{row['scored_per_second']:>11}{row['hypervolume_percent']:>9.3f}{row['violations']:>12}"
        )
    places = [f"{count // 1000}k" for count in AFTER_EVALUATIONS] + [f"{time:g} s" for time in AFTER_SECONDS]
    print(f"\nmedian gap over all budgets after\n{'':<24}" + "".join(f"{place:>9}" for place in places))
    for row in rows:
        gaps = [*row["gap_after_evaluations"], *row["gap_after_seconds"]]
        print(f"{row['method']:<24}" + "".join(f"{'-' if gap is None else gap:>9}" for gap in gaps))
    return rows


def _row(name: str, runs: list[Outcome], least: Floats) -> dict[str, Any]:
    errors = np.stack([run.errors[-1] for run in runs])
    gaps = np.maximum(100.0 * (errors - least), 0.0)  # below by rounding only
    seconds = [float(run.cpu_seconds[-1]) for run in runs]
    scored = [float(run.evaluations[-1]) for run in runs]
    by_evaluations = gap_curves(runs, least, np.array(AFTER_EVALUATIONS), by_seconds=False)
    by_seconds = gap_curves(runs, least, np.array(AFTER_SECONDS), by_seconds=True)
    return {
        "method": name,
        "seeds": len(runs),
        "mean_percent": (100.0 * (1.0 - errors.mean(axis=0))).round(4).tolist(),
        "median_gap_points": np.median(gaps, axis=0).round(5).tolist(),
        "worst_gap_points": gaps.max(axis=0).round(5).tolist(),
        "evaluations": round(float(np.median(scored))),
        "cpu_seconds": round(float(np.median(seconds)), 4),
        "scored_per_second": round(sum(scored) / sum(seconds)),
        "violations": sum(run.violations for run in runs),
        "gap_after_evaluations": _finite(np.median(by_evaluations, axis=0)),
        "gap_after_seconds": _finite(np.median(by_seconds, axis=0)),
    }


def hypervolume(objectives: Floats, *, reference: Floats) -> float:
    """Area that points dominate below a reference point, two objectives.

    Args:
        objectives: `(n, 2)` float64, minimised; points beyond the reference cover nothing.
        reference: `(2,)` float64, worse than every point that is to count.
    """
    best = objectives[non_dominated(objectives)]
    front = np.unique(best[(best < reference).all(axis=1)], axis=0)
    if not len(front):
        return 0.0
    widths = np.diff(front[:, 0], append=reference[0])
    return float(widths @ (reference[1] - front[:, 1]))


def _volume(run: Outcome, objective: Objective) -> float:
    return hypervolume(run.points, reference=objective.reference)


def _finite(values: Floats) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]
