"""Lay a chart out: where frame, ticks, points, limits and legend lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_nas.charts.chart import BARS, NONE, STAR, Chart, Rule, Series
from ofa_nas.charts.shapes import Box, Line, Mark, Place, Shape, Text
from ofa_nas.charts.theme import Theme, on_scale

LEFT, RIGHT, TOP, BOTTOM = 64, 18, 56, 52  # px
NAMES = 24  # more room below for names that stand upright [px]
LETTER = 6.6  # width of one in the legend, about [px]
TICKS = 5
CROWDED = 8  # names of ticks beyond which they stand upright
RADIUS, STAR_RADIUS = 3.2, 9.0  # px
SCALE_WIDTH = 90.0  # of the bar of colours [px]


def lay_out(chart: Chart, theme: Theme) -> list[Shape]:
    """Shapes of a chart, those behind first."""
    frame = Frame.of(chart, theme)
    shapes: list[Shape] = [*frame.axes()]
    for turn, one in enumerate(chart.series):
        shapes += frame.draw(one, theme.colour(one.colour, turn))
    shapes += [shape for rule in chart.rules for shape in frame.draw_rule(rule)]
    return [*shapes, *frame.legend()]


def ticks(low: float, high: float, *, count: int = TICKS) -> list[float]:
    """Round values between two ends, about so many."""
    step = 10.0 ** np.floor(np.log10((high - low) / count))
    step *= next(factor for factor in (1.0, 2.0, 5.0, 10.0) if (high - low) / (step * factor) <= count + 1)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [round(number * step, 12) for number in range(first, last + 1)]


def _bars(one: Series) -> list[tuple[float, float]]:
    return list(zip(one.y, one.errors or [0.0] * len(one.y), strict=True))


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis, with some room."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie on the paper."""

    chart: Chart
    theme: Theme
    x_span: tuple[float, float]
    y_span: tuple[float, float]
    bottom: float

    @classmethod
    def of(cls, chart: Chart, theme: Theme) -> "Frame":
        """The frame that holds every point, error and limit."""
        series, rules = chart.series, chart.rules
        has_bars = any(one.marker == BARS for one in series)
        half = chart.bar_width / 2 if has_bars else 0.0
        xs = [value + sign * half for one in series for value in one.x for sign in (-1.0, 1.0)]
        xs += [rule.value for rule in rules if not rule.is_level]
        ys = [value + sign * error for one in series for value, error in _bars(one) for sign in (-1.0, 1.0)]
        ys += [rule.value for rule in rules if rule.is_level] + ([0.0] if has_bars else [])
        y_span = _span(ys)
        bottom = BOTTOM + (NAMES if len(chart.x_ticks) > CROWDED else 0)
        return cls(chart, theme, _span(xs), (0.0, y_span[1]) if has_bars else y_span, bottom)

    @property
    def ends(self) -> tuple[Place, Place]:
        """Upper left and lower right corner of the frame."""
        width, height = self.chart.size
        return (LEFT, TOP), (width - RIGHT, height - self.bottom)

    def place(self, x: float, y: float) -> Place:
        """Of values, in px from the upper left corner of the paper."""
        (left, top), (right, bottom) = self.ends
        across = (x - self.x_span[0]) / (self.x_span[1] - self.x_span[0])
        up = (y - self.y_span[0]) / (self.y_span[1] - self.y_span[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def axes(self) -> Iterator[Shape]:
        """Title, grid, frame, ticks with their values, and titles of both axes."""
        (left, top), (right, bottom) = self.ends
        height = self.chart.size[1]
        ink, faint = self.theme.ink, self.theme.faint
        yield Text((left, 20.0), self.chart.title, ink, size=14.0, is_bold=True)
        for value in ticks(*self.y_span):
            _, y = self.place(self.x_span[0], value)
            yield Line([(left, y), (right, y)], self.theme.grid)
            yield Text((left - 8.0, y + 4.0), f"{value:g}", faint, anchor="end")
        yield from self._x_ticks()
        yield Line([(left, bottom), (right, bottom)], faint)
        yield Text(((left + right) / 2, height - 12.0), self.chart.x_title, ink, anchor="middle")
        yield Text((18.0, (top + bottom) / 2), self.chart.y_title, ink, anchor="middle", is_upright=True)

    def _x_ticks(self) -> Iterator[Shape]:
        (_, top), (_, bottom) = self.ends
        named = list(self.chart.x_ticks)
        numbers = [] if named else [(value, f"{value:g}") for value in ticks(*self.x_span)]
        for value, name in named or numbers:
            x, _ = self.place(value, self.y_span[0])
            yield Line([(x, bottom), (x, bottom + 5.0)], self.theme.faint)
            if not named:
                yield Line([(x, top), (x, bottom)], self.theme.grid)
            if len(named) > CROWDED:
                yield Text(
                    (x + 4.0, bottom + 9.0), name, self.theme.faint, anchor="end", size=11.0, is_upright=True
                )
            else:
                yield Text((x, bottom + 18.0), name, self.theme.faint, anchor="middle")

    def draw(self, one: Series, colour: str) -> Iterator[Shape]:
        """Points or bars, their errors, and the line through them."""
        places = [self.place(x, y) for x, y in zip(one.x, one.y, strict=True)]
        texts = one.texts or [""] * len(places)
        colours = self._colours(one) if one.values else [colour] * len(places)
        for x, (y, error) in zip(one.x, _bars(one), strict=True):
            if error:
                yield Line([self.place(x, y - error), self.place(x, y + error)], colour, opacity=0.35)
        if one.is_line:
            yield Line(places, colour, width=1.5, is_dashed=one.is_dashed)
        if one.marker == BARS:
            yield from self._draw_bars(one, colours, texts)
        elif one.marker != NONE and not one.is_dashed:
            radius = STAR_RADIUS if one.marker == STAR else RADIUS
            for place, own, text in zip(places, colours, texts, strict=True):
                yield Mark(one.marker, place, radius, own, text)

    def _draw_bars(self, one: Series, colours: Sequence[str], texts: Sequence[str]) -> Iterator[Shape]:
        half = self.chart.bar_width / 2
        for x, y, colour, text in zip(one.x, one.y, colours, texts, strict=True):
            (left, top), (right, bottom) = self.place(x - half, y), self.place(x + half, 0.0)
            yield Box((left, top), (right - left, bottom - top), colour, text=text)

    def _colours(self, one: Series) -> list[str]:
        low, high = self.chart.value_span
        return [on_scale((value - low) / ((high - low) or 1.0), self.theme.scale) for value in one.values]

    def draw_rule(self, rule: Rule) -> Iterator[Shape]:
        """A dashed line, and its label at the end where there is room."""
        (left, top), (right, bottom) = self.ends
        colour = self.theme.limit
        if rule.is_level:
            _, y = self.place(self.x_span[0], rule.value)
            yield Line([(left, y), (right, y)], colour, is_dashed=True)
            yield Text((left + 6.0, y - 5.0), rule.label, colour)
            return
        x, _ = self.place(rule.value, self.y_span[0])
        yield Line([(x, top), (x, bottom)], colour, is_dashed=True)
        yield Text((x - 5.0, bottom - 8.0), rule.label, colour, size=11.0, is_upright=True)

    def legend(self) -> Iterator[Shape]:
        """Labels of series behind their marks, then the bar of colours."""
        place, y = float(LEFT), 39.0
        for turn, one in enumerate(self.chart.series):
            if not one.label or (one.values and self.chart.values_title):
                continue
            colour = self.theme.colour(one.colour, turn)
            if one.is_dashed:
                yield Line([(place, y), (place + 12.0, y)], colour, width=1.5, is_dashed=True)
            elif one.marker == BARS:
                yield Box((place, y - 5.0), (10.0, 10.0), colour)
            else:
                yield Mark(one.marker, (place + 6.0, y), 6.0 if one.marker == STAR else 4.0, colour)
            yield Text((place + 17.0, y + 4.0), one.label, self.theme.ink)
            place += 32.0 + LETTER * len(one.label)
        if self.chart.values_title:
            yield from self._scale(place, y)

    def _scale(self, place: float, y: float) -> Iterator[Shape]:
        steps = 18
        for step in range(steps):
            left = place + SCALE_WIDTH * step / steps
            fill = on_scale(step / (steps - 1), self.theme.scale)
            yield Box((left, y - 5.0), (SCALE_WIDTH / steps + 0.5, 10.0), fill)
        yield Text((place + SCALE_WIDTH + 7.0, y + 4.0), self.chart.values_title, self.theme.ink)
