"""Charts as figures of Plotly: plain values, colours as CSS variables that the page's script looks up."""

from html import escape
from typing import Any

from ofa_nas.charts import BARS, NONE, PAGE, STAR, Chart, Rule, Series
from ofa_nas.charts.layout import CROWDED

SYMBOLS = {"circle": "circle", "diamond": "diamond", "star": "star", "cross": "x"}
SIZES = {STAR: 17}


def figure_of(chart: Chart) -> dict[str, Any]:
    """Traces and layout; `customdata` of a trace is what a click copies."""
    return {
        "data": [_trace(one, turn, chart) for turn, one in enumerate(chart.series) if one.x],
        "layout": _layout(chart),
    }


def alternative_of(chart: Chart) -> dict[str, Any]:
    """What differs from a figure of the same points against another cost."""
    layout = _layout(chart)
    return {
        "x": [list(one.x) for one in chart.series if one.x],
        "layout": {key: layout[key] for key in ("xaxis", "shapes", "annotations")},
    }


def _trace(one: Series, turn: int, chart: Chart) -> dict[str, Any]:
    colour = PAGE.colour(one.colour, turn)
    trace: dict[str, Any] = {
        "x": list(one.x),
        "y": list(one.y),
        "name": _safe(one.label),
        "showlegend": bool(one.label) and not one.values,
        "hoverinfo": "text" if one.texts else "skip",
        "hovertext": [_lines(text) for text in one.texts],
        "customdata": list(one.names),
    }
    if any(one.errors):
        trace["error_y"] = {
            "type": "data",
            "array": list(one.errors),
            "color": colour,
            "thickness": 1,
            "width": 0,
        }
    if one.marker == BARS:
        return trace | {
            "type": "bar",
            "width": chart.bar_width,
            "marker": {"color": colour, "line": {"width": 0}},
        }
    mode = "lines" if one.is_dashed or one.marker == NONE else "lines+markers" if one.is_line else "markers"
    marker: dict[str, Any] = {"symbol": SYMBOLS.get(one.marker, "circle"), "size": SIZES.get(one.marker, 8)}
    marker["color"] = list(one.values) if one.values else colour
    if one.values:
        marker |= _scale(chart)
    line = {"color": colour, "width": 1.5, "dash": "dash" if one.is_dashed else "solid"}
    return trace | {"type": "scatter", "mode": mode, "marker": marker, "line": line}


def _scale(chart: Chart) -> dict[str, Any]:
    """The scale of colours, with its bar above the chart."""
    low, high = chart.value_span
    last = len(PAGE.scale) - 1
    return {
        "colorscale": [[index / last, colour] for index, colour in enumerate(PAGE.scale)],
        "cmin": low,
        "cmax": high if high > low else low + 1.0,
        "showscale": high > low,
        "colorbar": {
            "title": {"text": _safe(chart.values_title), "side": "right", "font": {"size": 11}},
            "thickness": 11,
            "xpad": 6,
            "outlinewidth": 0,
            "ticksuffix": " MB",
            "nticks": 6,
        },
    }


def _layout(chart: Chart) -> dict[str, Any]:
    axis = {"gridcolor": PAGE.grid, "linecolor": PAGE.faint, "zeroline": False, "automargin": True}
    x: dict[str, Any] = axis | {"title": {"text": _safe(chart.x_title)}, "showgrid": not chart.x_ticks}
    if chart.x_ticks:
        places, names = zip(*chart.x_ticks, strict=True)
        x |= {"tickvals": list(places), "ticktext": list(map(_safe, names))}
        x |= {"tickangle": -90} if len(places) > CROWDED else {}
    has_bars = any(one.marker == BARS for one in chart.series)
    y: dict[str, Any] = axis | {"title": {"text": _safe(chart.y_title)}}
    has_legend = any(one.label and not one.values for one in chart.series)
    return {
        "xaxis": x,
        "yaxis": y | ({"rangemode": "tozero"} if has_bars else {}),
        "shapes": [_line(rule) for rule in chart.rules],
        "annotations": [_note(rule) for rule in chart.rules],
        "barmode": "overlay",
        "hovermode": "closest",
        "font": {"color": PAGE.ink, "family": "system-ui, sans-serif", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "align": "left",
            "bgcolor": "var(--paper)",
            "bordercolor": PAGE.faint,
            "font": {"family": "ui-monospace, monospace", "color": PAGE.ink, "size": 12},
        },
        "legend": {"orientation": "h", "x": 0.0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": PAGE.faint, "activecolor": PAGE.ink},
        "margin": {"l": 8, "r": 12, "t": 48 if has_legend else 16, "b": 8},
    }


def _line(rule: Rule) -> dict[str, Any]:
    own, other = ("y", "x") if rule.is_level else ("x", "y")
    return {
        "type": "line",
        f"{own}0": rule.value,
        f"{own}1": rule.value,
        f"{own}ref": own,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "line": {"color": PAGE.limit, "width": 1.2, "dash": "dash"},
    }


def _note(rule: Rule) -> dict[str, Any]:
    note = {"text": _safe(rule.label), "showarrow": False, "font": {"color": PAGE.limit, "size": 11}}
    if rule.is_level:
        return note | {"x": 0, "xref": "paper", "xanchor": "left", "y": rule.value, "yanchor": "bottom"}
    upright = {"y": 0, "yref": "paper", "yanchor": "bottom", "textangle": -90, "xshift": -2}
    return note | upright | {"x": rule.value, "xanchor": "right"}


def _lines(text: str) -> str:
    return "<br>".join(map(_safe, text.split("\n")))


def _safe(text: str) -> str:
    """Plotly reads a few HTML tags and entities in its texts; names from files must not be read so."""
    return escape(text, quote=False)
