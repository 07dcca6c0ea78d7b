"""Plain charts as SVG: points, lines and bars of error on linear axes. No dependency, and no state."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 520, 400  # px
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 54, 52
LETTER = 6.5  # width of one in the legend, about [px]
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b")
TICKS = 5


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
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float] = ()
    is_line: bool = False
    is_dashed: bool = False


def draw_chart(title: str, x_title: str, y_title: str, series: Sequence[Series]) -> str:
    """One chart as an `<svg>` element that needs nothing else."""
    spans = [_span([value for one in series for value in one.x])]
    spans.append(
        _span([value + sign * error for one in series for value, error in _bars(one) for sign in (-1.0, 1.0)])
    )
    frame = _Frame(*spans)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    parts = [
        head,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, title, anchor="middle", size=14),
        *frame.axes(x_title, y_title),
    ]
    place = float(LEFT)
    for index, one in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        parts += frame.draw(one, colour)
        if one.label:
            parts.append(f'<rect x="{place:.1f}" y="{TOP - 19}" width="10" height="10" fill="{colour}"/>')
            parts.append(_text(place + 15, TOP - 10, one.label))
            place += 35 + LETTER * len(one.label)
    return "\n".join([*parts, "</svg>"])


def _bars(one: Series) -> list[tuple[float, float]]:
    return list(zip(one.y, one.errors or [0.0] * len(one.y), strict=True))


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis, with some room."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie on the paper."""

    x_span: tuple[float, float]
    y_span: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """In px from the upper left corner."""
        across = (x - self.x_span[0]) / (self.x_span[1] - self.x_span[0])
        up = (y - self.y_span[0]) / (self.y_span[1] - self.y_span[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_title: str, y_title: str) -> list[str]:
        """Frame, ticks with their values, and titles."""
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        upright = _text(16, HEIGHT / 2, y_title, anchor="middle")
        parts = [
            f'<rect x="{LEFT}" y="{TOP}" width="{width}" height="{height}" fill="none" stroke="#444"/>',
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_title, anchor="middle"),
            f'<g transform="rotate(-90 16 {HEIGHT / 2})">{upright}</g>',
        ]
        for value in _ticks(*self.x_span):
            x, _ = self.place(value, self.y_span[0])
            parts.append(_line((x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5), "#444"))
            parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle"))
        for value in _ticks(*self.y_span):
            _, y = self.place(self.x_span[0], value)
            parts.append(_line((LEFT - 5, y), (LEFT, y), "#444"))
            parts.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end"))
        return parts

    def draw(self, one: Series, colour: str) -> list[str]:
        """Points, their bars, and the line through them."""
        places = [self.place(x, y) for x, y in zip(one.x, one.y, strict=True)]
        parts = []
        for x, (y, error) in zip(one.x, _bars(one), strict=True):
            if error:
                ends = self.place(x, y - error), self.place(x, y + error)
                parts.append(_line(*ends, colour, opacity=0.35))
        if one.is_line:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            dashes = ' stroke-dasharray="5 4"' if one.is_dashed else ""
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'
            )
        if not one.is_dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two ends, about five."""
    step = 10.0 ** np.floor(np.log10((high - low) / TICKS))
    step *= next(factor for factor in (1.0, 2.0, 5.0, 10.0) if (high - low) / (step * factor) <= TICKS + 1)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [round(number * step, 12) for number in range(first, last + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, *, opacity: float = 1.0) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}" opacity="{opacity}"/>'
    )
