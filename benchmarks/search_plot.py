"""Plot how the gaps shrink with evaluations and CPU seconds; needs matplotlib, from the `bench` extra."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.search_contenders import Outcome
from benchmarks.search_problems import Objective
from benchmarks.search_report import gap_curves, least_errors

PLACES = 200
SMALLEST = 1e-3  # points; what is less stands on the lower edge
QUARTILES = (25, 50, 75)


def plot_curves(objective: Objective, outcomes: dict[str, list[Outcome]], path: Path) -> None:
    """Draw the median over seeds of the mean gap over all budgets, a band between the quartiles."""
    mpl.rcParams["svg.hashsalt"] = "search"  # the same figure, the same file
    least = least_errors(objective, outcomes)
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, label, by_seconds in zip(
        panels, ("architectures scored", "CPU seconds"), (False, True), strict=True
    ):
        for name, runs in outcomes.items():
            spent = [run.cpu_seconds if by_seconds else run.evaluations for run in runs]
            first, last = min(one[0] for one in spent), max(one[-1] for one in spent)
            grid = np.geomspace(max(first, 1e-3), max(last, 2e-3), PLACES)
            curves = np.maximum(gap_curves(runs, least, grid, by_seconds=by_seconds), SMALLEST)
            low, middle, high = np.percentile(curves, QUARTILES, axis=0, method="nearest")
            (line,) = panel.plot(grid, middle, label=name)
            panel.fill_between(grid, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.grid(visible=True, which="major", alpha=0.3)
    kind = "optimum" if objective.optimum is not None else "best of all runs"
    panels[0].set_ylabel(f"gap to the {kind}, mean over budgets [points]")
    panels[1].legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
