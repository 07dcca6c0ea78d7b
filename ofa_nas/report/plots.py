"""The charts of what was searched: the front, and predicted against measured."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ofa_nas.charts import CROSS, DIAMOND, STAR, Chart, Rule, Series, agreement_chart
from ofa_nas.figures import format_bytes, format_ms, thin
from ofa_nas.report.document import Answer, Point, SearchDocument, TableFigures
from ofa_nas.report.words import cost_keys, first_cost, percent, point_text
from ofa_nas.search.budgets import Cost

MOST_POINTS, MOST_MEASURED = 600, 300  # of a front, of a study; what is more is thinned evenly
WIDE = (760, 440)
_SCALES = {"ms": (1.0, "ms"), "bytes": (1e6, "MB"), "MACs": (1e6, "M MACs")}


def thinned(document: SearchDocument) -> list[Point]:
    """The front, or so much of it as fits on a page."""
    return shown(document, document.front, most=MOST_POINTS)


def shown(document: SearchDocument, points: Sequence[Point], *, most: int = MOST_MEASURED) -> list[Point]:
    """So many of some points, evenly, with their ends and those that were chosen."""
    chosen = {answer.chosen.architecture for answer in document.found if answer.chosen}
    return thin(points, most, is_kept=lambda one: one.architecture in chosen)


def front_chart(document: SearchDocument, key: Cost | None = None) -> Chart:
    """Accuracy against a cost, memory by colour, with limits, the chosen networks, and what was measured.

    Args:
        document: Of the search.
        key: The cost; without, the one that the front was drawn against.
    """
    key = key or first_cost(document)
    scale, unit = _SCALES[key.unit]
    main = document.main
    assert main.chosen
    return Chart(
        f"{document.supernet}: accuracy and {key.title}",
        f"{key.title} [{unit}], predicted",
        "top-1 [%]",
        list(_front_series(document, key, scale)),
        rules=[*_limits(document, key, scale), *_goals(main)],
        values_title=_memory_title(document.front),
        size=WIDE,
    )


def _memory_title(points: Sequence[Point]) -> str:
    peaks = [point.predicted.peak_bytes for point in points]
    if not peaks:
        return ""
    low, high = (format_bytes(value) for value in (min(peaks), max(peaks)))
    return f"peak memory {low} to {high}" if low != high else f"peak memory {low}"


def _front_series(document: SearchDocument, key: Cost, scale: float) -> Iterator[Series]:
    points = thinned(document)
    yield Series(
        "front",
        [point.predicted.cost(key) / scale for point in points],
        [100 * point.predicted.accuracy for point in points],
        values=[point.predicted.peak_bytes / 1e6 for point in points],
        texts=list(map(point_text, points)),
        names=[point.architecture for point in points],
    )
    for timed, label, marker, colour in (
        (document.study, "measured trials", DIAMOND, ""),
        (document.contest, "evaluated", CROSS, ""),
        (document.finalists, "timed finalists", DIAMOND, ""),
    ):
        if timed and timed.networks:
            yield _measured_series(shown(document, timed.networks), key, scale, (label, marker, colour))
    chosen = [answer.chosen for answer in document.found if answer.chosen]
    yield Series(
        "chosen",
        [point.predicted.cost(key) / scale for point in chosen],
        [100 * point.predicted.accuracy for point in chosen],
        marker=STAR,
        texts=[f"chosen\n{point_text(point)}" for point in chosen],
        names=[point.architecture for point in chosen],
        colour="accent",
    )
    file = _measured_file(document, key)
    if file is not None and chosen:
        cost, accuracy = file
        yield Series(
            "as measured on the file",
            [cost / scale],
            [100 * accuracy],
            marker=CROSS,
            texts=[f"the exported file, measured\ntop-1 {percent(accuracy)}\n{key.text(cost)}"],
            names=[chosen[-1].architecture],
            colour="accent",
        )


def _measured_series(points: Sequence[Point], key: Cost, scale: float, look: tuple[str, str, str]) -> Series:
    """Networks where they were measured to be; what was not measured is where it was predicted."""
    label, marker, colour = look

    def cost(point: Point) -> float:
        measured = (point.latency_ms or {}).get(key.device) if key.name == "latency" else None
        return (point.predicted.cost(key) if measured is None else measured) / scale

    return Series(
        label,
        [cost(point) for point in points],
        [100 * (point.predicted.accuracy if point.accuracy is None else point.accuracy) for point in points],
        [100 * (point.accuracy_half_width or 0.0) for point in points],
        marker=marker,
        texts=list(map(point_text, points)),
        names=[point.architecture for point in points],
        colour=colour,
    )


def _measured_file(document: SearchDocument, key: Cost) -> tuple[float, float] | None:
    """Cost and accuracy of the exported file; None where one of them was not measured."""
    cost = document.check_of(key)
    accuracy = next((one for one in document.checks if one.quantity == "accuracy"), None)
    return None if cost is None or accuracy is None else (cost.measured, accuracy.measured)


def _limits(document: SearchDocument, key: Cost, scale: float) -> Iterator[Rule]:
    budgets = dict.fromkeys(
        limit.budget for answer in document.answers for limit in answer.limits if limit.budget.key == key
    )
    for budget in budgets:
        yield Rule(budget.limit / scale, f"budget {key.text(budget.limit)}")
        if budget.margin and len(budgets) == 1:
            yield Rule(budget.searched_limit / scale, f"with margin {key.text(budget.searched_limit)}")


def _goals(answer: Answer) -> Iterator[Rule]:
    if answer.goal is not None:
        yield Rule(100 * answer.goal[0], f"to reach: {percent(answer.goal[0])}", is_level=True)


def table_chart(table: TableFigures) -> Chart:
    """What a table predicted of networks that it had never seen, and what they took."""
    return agreement_chart(
        f"{table.name}: unseen networks",
        ("measured [ms]", "predicted [ms]"),
        [(measured, predicted) for _, measured, predicted in table.holdouts],
        texts=[
            f"{architecture}\nmeasured {format_ms(measured)}\npredicted {format_ms(predicted)}"
            for architecture, measured, predicted in table.holdouts
        ],
        names=[architecture for architecture, _, _ in table.holdouts],
    )


def accuracy_chart(points: Sequence[Point]) -> Chart:
    """Predicted and measured accuracy of networks that were evaluated."""
    return agreement_chart(
        "Accuracy of evaluated networks",
        ("measured [%]", "predicted [%]"),
        [(100 * (point.accuracy or 0.0), 100 * point.predicted.accuracy) for point in points],
        texts=list(map(point_text, points)),
        names=[point.architecture for point in points],
    )


def picture_chart(document: SearchDocument) -> Chart:
    """The front as a picture of its own: nobody can point at it, so no point carries a text."""
    chart = front_chart(document)
    return replace(chart, series=[replace(one, texts=(), names=()) for one in chart.series])


def all_fronts(document: SearchDocument) -> list[tuple[str, Chart]]:
    """The front against every cost, that of the search first."""
    first = first_cost(document)
    keys = [first, *(key for key in cost_keys(document) if key != first)]
    return [(key.title, front_chart(document, key)) for key in keys]
