"""Charts as SVG elements that need nothing else."""

from html import escape
from math import cos, pi, sin

from ofa_nas.charts.chart import CROSS, DIAMOND, STAR, Chart
from ofa_nas.charts.layout import lay_out
from ofa_nas.charts.shapes import Box, Line, Mark, Place, Shape, Text
from ofa_nas.charts.theme import LIGHT, Theme

INNER = 0.45  # radius of a star between its points, of that at its points


def draw_svg(chart: Chart, theme: Theme = LIGHT) -> str:
    """One chart as an `<svg>` element, with its title for those who hear it."""
    width, height = chart.size
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="12">'
    )
    paper = [f'<rect width="{width}" height="{height}" fill="{theme.paper}"/>'] if theme.paper else []
    title = f"<title>{escape(chart.title)}</title>"
    return "\n".join([head, title, *paper, *map(_element, lay_out(chart, theme)), "</svg>"])


def corners(kind: str, place: Place, radius: float) -> list[Place]:
    """Corners of a star or a diamond around a place."""
    x, y = place
    if kind == DIAMOND:
        return [(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)]
    return [
        (x + reach * sin(turn * pi / 5), y - reach * cos(turn * pi / 5))
        for turn in range(10)
        for reach in [radius * (INNER if turn % 2 else 1.0)]
    ]


def arms(place: Place, radius: float) -> tuple[tuple[Place, Place], tuple[Place, Place]]:
    """The two lines of a cross around a place."""
    (x, y), reach = place, 0.8 * radius
    return ((x - reach, y - reach), (x + reach, y + reach)), ((x - reach, y + reach), (x + reach, y - reach))


def _element(shape: Shape) -> str:
    match shape:
        case Box((x, y), (width, height), fill, stroke, text):
            edge = f' stroke="{stroke}"' if stroke else ""
            head = (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{edge}'
            )
            return _close(head, "rect", text)
        case Line(places, colour, width, is_dashed, opacity):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            dashes = ' stroke-dasharray="5 4"' if is_dashed else ""
            pale = f' opacity="{opacity}"' if opacity < 1.0 else ""
            head = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
            return f"{head}{dashes}{pale}/>"
        case Mark():
            return _mark(shape)
        case Text():
            return _text(shape)


def _mark(mark: Mark) -> str:
    x, y = mark.place
    if mark.kind in (STAR, DIAMOND):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners(mark.kind, mark.place, mark.radius))
        return _close(f'<polygon points="{path}" fill="{mark.colour}"', "polygon", mark.text)
    if mark.kind == CROSS:
        path = " ".join(
            f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" for a, b in arms(mark.place, mark.radius)
        )
        return _close(
            f'<path d="{path}" fill="none" stroke="{mark.colour}" stroke-width="2"', "path", mark.text
        )
    return _close(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{mark.radius:g}" fill="{mark.colour}"', "circle", mark.text
    )


def _text(text: Text) -> str:
    x, y = text.place
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if text.is_upright else ""
    weight = ' font-weight="600"' if text.is_bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{text.colour}" text-anchor="{text.anchor}" '
        f'font-size="{text.size:g}"{weight}{turn}>{escape(text.text)}</text>'
    )


def _close(head: str, name: str, text: str) -> str:
    return f"{head}><title>{escape(text)}</title></{name}>" if text else f"{head}/>"
