"""Plain charts: one description of points, lines, bars and limits, drawn as SVG or PNG."""

from ofa_nas.charts.agreement import agreement_chart
from ofa_nas.charts.chart import BARS, CIRCLE, CROSS, DIAMOND, NONE, STAR, Chart, Rule, Series
from ofa_nas.charts.png import draw_png
from ofa_nas.charts.svg import draw_svg
from ofa_nas.charts.theme import DARK, LIGHT, PAGE, Theme

__all__ = [
    "BARS",
    "CIRCLE",
    "CROSS",
    "DARK",
    "DIAMOND",
    "LIGHT",
    "NONE",
    "PAGE",
    "STAR",
    "Chart",
    "Rule",
    "Series",
    "Theme",
    "agreement_chart",
    "draw_png",
    "draw_svg",
]
