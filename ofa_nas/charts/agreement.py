"""Predicted against measured, one point a network."""

from collections.abc import Sequence

from ofa_nas.charts.chart import Chart, Series


def agreement_chart(
    title: str,
    axes: tuple[str, str],
    points: Sequence[tuple[float, float]],
    *,
    errors: Sequence[float] = (),
    texts: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Chart:
    """Measured and predicted values as a cloud around the line on which they agree.

    Args:
        title: Of the chart.
        axes: What is measured, and what is predicted.
        points: Measured and predicted.
        errors: As `Series` has them, and so the others.
        texts: Of the points.
        names: Of the points.
    """
    measured, predicted = [point[0] for point in points], [point[1] for point in points]
    ends = [min(measured + predicted), max(measured + predicted)]
    return Chart(
        title,
        *axes,
        [
            Series("networks", measured, predicted, errors, texts=texts, names=names),
            Series("equal", ends, ends, is_line=True, is_dashed=True, colour="faint"),
        ],
    )
