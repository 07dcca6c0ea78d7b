"""What sections are made of: a heading that can be linked to, and charts that answer where scripts run."""

from collections.abc import Sequence
from json import dumps
from typing import Any

from ofa_nas.charts import PAGE, Chart, draw_svg
from ofa_nas.pages.html import Markup, tag
from ofa_nas.report.interactive import alternative_of, figure_of


def section(name: str, title: str, *children: str) -> Markup:
    """A part of the page with a heading that can be linked to."""
    heading = tag("h2", title, attributes={"id": f"{name}-title"})
    return tag("section", heading, *children, attributes={"id": name, "aria-labelledby": f"{name}-title"})


def chart_figure(name: str, chart: Chart, others: Sequence[tuple[str, Chart]] = ()) -> Markup:
    """A chart: a drawing for everybody, and what the script needs to make it answer.

    Args:
        name: Of the chart on the page.
        chart: To show.
        others: The same points against other costs, by their titles; the chart itself comes first.
    """
    figure: dict[str, Any] = {"title": chart.title, **figure_of(chart)}
    if others:
        figure["others"] = [{"title": title, **alternative_of(other)} for title, other in others]
    copies = any(one.names for one in chart.series)
    hint = " Point at it for its figures; a click copies the architecture." if copies else ""
    keys = " With the keyboard: arrow keys move, Enter copies." if copies else " Arrow keys move along it."
    drawing = tag("div", Markup(draw_svg(chart, PAGE)), attributes={"class": "plot"})
    return tag(
        "figure",
        drawing,
        tag("p", attributes={"class": "told", "aria-live": "polite"}),
        tag("figcaption", f"{chart.title}.", tag("span", hint + keys, attributes={"class": "live"})),
        Markup(f'<script type="application/json">{_script_text(figure)}</script>'),
        attributes={"class": "chart", "id": f"chart-{name}"},
    )


def _script_text(value: object) -> str:
    """JSON that cannot end the script it stands in."""
    text = dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
