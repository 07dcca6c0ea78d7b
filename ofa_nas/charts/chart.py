"""What a chart shows; how it is drawn is the business of its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

CIRCLE, DIAMOND, STAR, CROSS, BARS, NONE = "circle", "diamond", "star", "cross", "bars", "none"


@dataclass(frozen=True, slots=True)
class Series:
    """One set of points.

    Attributes:
        label: In the legend; empty for none.
        x: Of the points.
        y: Of the points.
        errors: Halves of bars around `y`; empty for none.
        is_line: Whether the points are joined.
        is_dashed: Whether that line is dashed, and the points are not drawn.
        marker: `circle`, `diamond`, `star`, `cross`; `bars` from zero; `none`.
        values: One a point, told by its colour; empty for the colour of the series.
        texts: One a point, for those who point at it; lines joined by newlines.
        names: One a point, that a click copies; empty for none.
        colour: Role in a theme; empty for the next of its series colours.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float] = ()
    is_line: bool = False
    is_dashed: bool = False
    marker: str = CIRCLE
    values: Sequence[float] = ()
    texts: Sequence[str] = ()
    names: Sequence[str] = ()
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit: a dashed line across the chart.

    Attributes:
        value: Where.
        label: At its end.
        is_level: Whether it is a value of y, not of x.
    """

    value: float
    label: str
    is_level: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart on linear axes.

    Attributes:
        title: Above it.
        x_title: Below it.
        y_title: At its left.
        series: In the order in which they are drawn.
        rules: Limits.
        values_title: What the colours of `Series.values` tell; empty where there are none.
        x_ticks: Places and names, where x is no number for people.
        size: Width and height [px].
        bar_width: Of bars, in units of x.
    """

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    rules: Sequence[Rule] = ()
    values_title: str = ""
    x_ticks: Sequence[tuple[float, str]] = ()
    size: tuple[int, int] = (520, 400)
    bar_width: float = 0.8

    @property
    def value_span(self) -> tuple[float, float]:
        """Ends of the colour scale; 0 and 1 where no series has values."""
        values = [value for one in self.series for value in one.values]
        return (min(values), max(values)) if values else (0.0, 1.0)
