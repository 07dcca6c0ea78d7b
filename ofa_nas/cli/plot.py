"""A front as a few lines of text: accuracy against the first cost, the chosen subnet marked."""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.pipeline.searching.estimators import Candidate
    from ofa_nas.search.budgets import Cost

WIDTH, HEIGHT = 64, 11  # of the field, in characters
LEAST_WIDTH = 100  # of a terminal that a plot is shown on without being asked for
LEAST_POINTS = 3
LOGARITHMIC = 10.0  # from this ratio of the ends on
POINT, CHOSEN = "•", "◆"


def plot_lines(xs: Sequence[float], ys: Sequence[float], *, chosen: Collection[int]) -> list[str]:
    """Points in a field of characters, the highest line first.

    Args:
        xs: Positive, for columns; on a logarithmic axis where they span a decade.
        ys: For lines.
        chosen: Indices of points that are marked, and never hidden by others.
    """
    is_log = max(xs) >= LOGARITHMIC * min(xs)
    places = [math.log(x) for x in xs] if is_log else list(xs)
    field = [[" "] * WIDTH for _ in range(HEIGHT)]
    order = sorted(range(len(xs)), key=lambda index: index in chosen)
    for index in order:
        column = round((WIDTH - 1) * _share(places[index], places))
        line = round((HEIGHT - 1) * (1.0 - _share(ys[index], ys)))
        field[line][column] = CHOSEN if index in chosen else POINT
    return ["".join(cells) for cells in field]


def _share(value: float, values: Sequence[float]) -> float:
    """Where a value lies between the least and the largest, in [0, 1]."""
    low, high = min(values), max(values)
    return (value - low) / (high - low) if high > low else 0.0


def is_plotted(asked: bool | None) -> bool:
    """Whether to show a plot: as asked for, else on a terminal that is wide enough."""
    from ofa_nas.cli.console import out

    return out.is_terminal and out.width >= LEAST_WIDTH if asked is None else asked


def show_front(front: "Sequence[Candidate]", chosen: "Sequence[Candidate]", axis: "Cost") -> None:
    """Print a front's plot; nothing where there are too few points to see anything in it.

    Args:
        front: What is drawn.
        chosen: What is marked; drawn where it is not on the front.
        axis: Cost that the front is drawn against.
    """
    from ofa_nas.cli.console import out

    points = {one.architecture: one for one in (*front, *chosen)}
    if len(points) < LEAST_POINTS:
        return
    front, marked = list(points.values()), [list(points).index(one.architecture) for one in chosen]
    xs, ys = [one.cost(axis) for one in front], [one.accuracy for one in front]
    ends = [axis.text(value) for value in (min(xs), max(xs))]
    for number, line in enumerate(plot_lines(xs, ys, chosen=marked)):
        label = {0: f"{max(ys):.1%}", HEIGHT - 1: f"{min(ys):.1%}"}.get(number, "")
        out.print(f"{label:>7} {'┤' if label else '│'}{line.replace(CHOSEN, f'[bold]{CHOSEN}[/bold]')}")
    out.print(f"{'top-1':>7} └{'─' * WIDTH}")
    scale = ", logarithmic" if max(xs) >= LOGARITHMIC * min(xs) else ""
    space = " " * max(1, WIDTH - sum(map(len, ends)) - len(axis.title) - len(scale))
    half = len(space) // 2
    out.print(f"{'':9}{ends[0]}{space[:half]}{axis.title}{scale}{space[half:]}{ends[1]}\n")
