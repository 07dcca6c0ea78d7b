"""The sections of a report, each of them HTML that says everything without a script."""

from collections.abc import Iterator, Sequence
from json import dumps
from typing import Any

from ofa_nas.charts import PAGE, Chart, draw_svg
from ofa_nas.report.course import layer_words, memory_chart, peak_words, time_chart
from ofa_nas.report.document import Answer, CheckFigures, Network, Point, SearchDocument, Timed
from ofa_nas.report.html import Markup, copyable, markup, table, tag
from ofa_nas.report.interactive import alternative_of, figure_of
from ofa_nas.report.picture import network_picture
from ofa_nas.report.plots import accuracy_chart, all_fronts, table_chart, thinned
from ofa_nas.report.words import card_text, cost_keys, cost_text, cost_title, percent
from ofa_nas.search.budgets import format_amount, format_share

TITLES = {
    "numerics": "numerics",
    "accuracy": "top-1",
    "latency": "latency",
    "latency_p90": "latency, p90",
    "peak_memory": "peak memory",
    "resident_memory": "resident memory",
    "file_size": "file size",
    "macs": "MACs",
}


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


def overview(document: SearchDocument) -> Markup:
    """The chosen network, its figures beside their budgets, and the answers of a list."""
    answer = document.main
    assert answer.chosen
    parts: list[str] = []
    if len(document.answers) > 1:
        parts.append(_answers(document))
    parts.append(tag("p", copyable(answer.chosen.architecture), attributes={"class": "chosen-text"}))
    parts.append(tag("ul", *_cards(document, answer), attributes={"class": "cards"}))
    parts.append(tag("p", _claim(document, answer)))
    return section("chosen", "The chosen network", *parts)


def _cards(document: SearchDocument, answer: Answer) -> Iterator[Markup]:
    assert answer.chosen
    figures = answer.chosen.predicted
    interval = f"± {100 * figures.half_width:.1f} points at 90 %" if figures.half_width else "predicted"
    if answer.goal is not None:
        interval += f"; to reach: {percent(answer.goal[0])}"
    yield _card("top-1", percent(figures.accuracy), interval)
    limits = {limit.budget.key: limit for limit in answer.limits}
    for key in cost_keys(document):
        value, limit = figures.cost(key), limits.get(key)
        if limit is None:
            yield _card(cost_title(key), card_text(key, value), "predicted")
            continue
        budget = limit.budget
        told = f"of {card_text(key, budget.limit)}" + (
            f", {format_share(budget.margin)} kept free" if budget.margin else ""
        )
        told += "; binds" if limit.binds else ""
        yield _card(cost_title(key), card_text(key, value), told, share=value / budget.limit)


def _card(title: str, value: str, note: str, *, share: float | None = None) -> Markup:
    bar = Markup()
    if share is not None:
        width = min(100.0, 100 * share)
        bar = Markup(f'<span class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>')
    return tag("li", tag("span", title), tag("strong", value), bar, tag("small", note))


def _claim(document: SearchDocument, answer: Answer) -> str:
    """What may be said of how good it is."""
    assert answer.chosen
    if answer.is_exact:
        what = (
            "costs less and is predicted to reach that accuracy"
            if answer.goal
            else "is predicted to be better"
        )
        claim = f"None of all subnets within the budgets {what}."
    elif answer.bound is not None:
        gap = max(0.0, answer.bound - answer.chosen.predicted.accuracy)
        claim = f"None within the budgets is predicted to be more than {100 * gap:.2g} points better."
    else:
        claim = "How far it is from the best within the budgets, the method that searched cannot tell."
    return f"{claim} Accuracy: {document.predictor}." if document.predictor else claim


def _answers(document: SearchDocument) -> Markup:
    keys = cost_keys(document)
    rows: list[Sequence[str]] = []
    for answer in document.answers:
        budgets = ", ".join(str(limit.budget) for limit in answer.limits)
        if answer.chosen is None:
            rows.append((budgets, "–", *("–" for _ in keys), "cannot be met"))
        else:
            rows.append((budgets, *_cells(answer.chosen, keys)))
    headers = ("budgets", "top-1", *map(cost_title, keys), "architecture")
    chosen = document.answers.index(document.main)
    return markup(
        table(headers, rows, caption="One network for each budget", chosen=chosen),
        *(tag("p", f"Unmet: {answer.unmet}.") for answer in document.answers if answer.unmet),
        tag("p", "What follows tells of the network of the loosest budget."),
    )


def _cells(point: Point, keys: Sequence[tuple[str, str]]) -> list[str]:
    costs = (cost_text(key, point.predicted.cost(key)) for key in keys)
    return [percent(point.predicted.accuracy), *costs, copyable(point.architecture)]


def front(document: SearchDocument) -> Markup:
    """Chart and table of the front."""
    charts, keys = all_fronts(document), cost_keys(document)
    points = thinned(document)
    chosen = document.main.chosen
    rows = [_cells(point, keys) for point in points]
    is_chosen = [chosen is not None and point.architecture == chosen.architecture for point in points]
    shown = (
        f"All {len(points)} networks"
        if len(points) == len(document.front)
        else (f"{len(points)} of {len(document.front)} networks")
    )
    listing = table(
        ("top-1", *map(cost_title, keys), "architecture"),
        rows,
        caption="The front",
        chosen=is_chosen.index(True) if True in is_chosen else -1,
    )
    return section(
        "front",
        "Accuracy, latency and memory",
        chart_figure("front", charts[0][1], charts),
        tag("details", tag("summary", f"{shown} of the front as a table"), listing),
    )


def evidence(document: SearchDocument) -> Markup:
    """Predicted against measured: checks of the file, finalists, contest, study, and the tables' own."""
    parts: list[str] = []
    if document.checks:
        parts.append(_checks(document.checks))
    parts += _timed(document, "Finalists", document.finalists)
    parts += _timed(document, "Candidates", document.contest)
    parts += _timed(document, "Trials", document.study)
    if not parts:
        told = "Nothing of this search was measured: every figure of its networks is predicted."
        parts.append(tag("p", told, attributes={"class": "warning"}))
    charts = [
        chart_figure(f"accuracy-{index}", accuracy_chart(timed.networks))
        for index, timed in enumerate((document.contest, document.study))
        if timed and timed.networks
    ]
    charts += [
        chart_figure(f"table-{index}", table_chart(one))
        for index, one in enumerate(document.tables)
        if one.holdouts
    ]
    if charts:
        parts.append(tag("div", *charts, attributes={"class": "pair"}))
    return section("measured", "Predicted and measured", *parts)


def _checks(checks: Sequence[CheckFigures]) -> Markup:
    rows = []
    for one in checks:
        title = TITLES.get(one.quantity, one.quantity) + (f" on {one.device}" if one.device else "")
        verdict = "broken" if not one.is_met else "kept; above its budget" if one.exceeds_budget else "kept"
        predicted = "" if one.predicted is None else _check_text(one, one.predicted)
        rows.append((title, predicted, _check_text(one, one.measured), _off(one), verdict, one.note))
    headers = ("what", "predicted", "measured", "off by", "promise", "how")
    return table(headers, rows, caption="Checks of the exported file")


def _check_text(check: CheckFigures, value: float) -> str:
    if check.quantity == "numerics":
        return f"{value:.1e}"
    return percent(value) if check.unit == "fraction" else format_amount(value, check.unit)


def _off(check: CheckFigures) -> str:
    if not check.predicted or check.quantity == "numerics":
        return ""
    if check.unit == "fraction":
        return f"{100 * (check.measured - check.predicted):+.1f} points"
    return f"{check.measured / check.predicted - 1:+.1%}"


def _timed(document: SearchDocument, title: str, timed: Timed | None) -> list[str]:
    if timed is None or not timed.networks:
        return []
    devices = [
        name for name, _ in document.devices if any(name in (one.latency_ms or {}) for one in timed.networks)
    ]
    has_accuracy = any(one.accuracy is not None for one in timed.networks)
    has_verdict = any(one.is_within is not None for one in timed.networks)
    has_weighed = any(one.together is not None for one in timed.networks)
    headers = ["top-1 predicted", *(["top-1 measured"] if has_accuracy else [])]
    headers += ["together"] if has_weighed else []
    for name in devices:
        headers += [f"{name} predicted", f"{name} measured"]
    headers += [*(["budgets"] if has_verdict else []), "architecture"]
    rows = []
    for one in timed.networks:
        row = [percent(one.predicted.accuracy)]
        row += [_measured_accuracy(one)] if has_accuracy else []
        row += ["–" if one.together is None else percent(one.together)] if has_weighed else []
        for name in devices:
            found = (one.latency_ms or {}).get(name)
            row.append(format_amount(one.predicted.latency_ms[name], "ms"))
            row.append("–" if found is None else format_amount(found, "ms"))
        row += [("kept" if one.is_within else "exceeded")] if has_verdict else []
        rows.append([*row, copyable(one.architecture)])
    chosen = document.main.chosen
    places = [
        index
        for index, one in enumerate(timed.networks)
        if chosen and one.architecture == chosen.architecture
    ]
    return [
        tag("p", f"{title}, {timed.told}."),
        table(headers, rows, caption=title, chosen=places[0] if places else -1),
    ]


def _measured_accuracy(point: Point) -> str:
    if point.accuracy is None:
        return "–"
    width = f" ± {100 * point.accuracy_half_width:.1f}" if point.accuracy_half_width else ""
    return percent(point.accuracy) + width


def network(document: SearchDocument, found: Network) -> Markup:
    """The picture, and all layers as a table."""
    devices = [name for name, _ in document.devices]
    headers = ("layer", "what", "MACs", "weights", "memory", *(f"time on {name}" for name in devices))
    rows = [
        (
            layer.name,
            layer_words(layer),
            format_amount(layer.macs, "MACs"),
            format_amount(layer.weight_bytes, "bytes"),
            format_amount(max(operator.live_bytes for operator in layer.operators), "bytes"),
            *(format_amount(layer.latency_ms[name], "ms") for name in devices),
        )
        for layer in found.layers
    ]
    listing = table(headers, rows, caption="Layers in execution order")
    return section(
        "network",
        "The network",
        tag("p", f"{found.resolution} x {found.resolution} px in, {len(found.layers)} layers."),
        network_picture(found, devices),
        tag("details", tag("summary", "All layers as a table"), listing),
    )


def course(document: SearchDocument, found: Network) -> Markup:
    """Time and memory along the network."""
    parts: list[str] = []
    for index, (name, provenance) in enumerate(document.devices):
        constant = found.constant_ms[name]
        beside = f" The network takes {format_amount(constant, 'ms')} beside its layers." if constant else ""
        parts.append(tag("p", f"Times on {name} are from a table that is {provenance}.{beside}"))
        parts.append(chart_figure(f"time-{index}", time_chart(found, name)))
    if not document.devices:
        parts.append(tag("p", "No device was named, so there are no times."))
    parts += [tag("p", peak_words(found)), chart_figure("memory", memory_chart(found))]
    return section("course", "Time and memory, layer by layer", *parts)


def origins(document: SearchDocument) -> Markup:
    """Where the figures come from, and the command that made them."""
    parts: list[str] = []
    for one in document.tables:
        error = one.error
        figures = "nobody here can tell how far off it is"
        if "mape" in error and "p95" in error:
            figures = (
                f"off by {error['mape']:.1%} on average and {error['p95']:.1%} at the 95th percentile, on "
                f"{one.judged_on} that it had not seen"
            )
        verified = f"verified on {one.verified_on}" if one.verified_on else "never verified since"
        doubts = "; ".join(dict.fromkeys(one.doubts))
        lines = [
            ("device", f"{one.device}, {one.cpu}"),
            ("runtime", one.runtime),
            ("errors", figures),
            ("verification", f"{verified}: {doubts}" if doubts else verified),
            *one.about,
        ]
        parts += [tag("h3", f"Latency table {one.name}: {one.provenance}"), _lines(lines)]
    facts = [("supernet", f"{document.supernet}, space {document.space}"), *document.facts]
    parts += [tag("h3", "Search"), _lines(facts)]
    if document.command:
        parts += [tag("h3", "Command"), tag("p", copyable(document.command), attributes={"class": "command"})]
    return section("origins", "Where the figures come from", *parts)


def _lines(lines: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *(markup(tag("dt", what), tag("dd", text)) for what, text in lines))


def title_of(document: SearchDocument) -> str:
    """What the page is about, in one line."""
    where = " and ".join(name for name, _ in document.devices)
    return f"{document.supernet} on {where}" if where else document.supernet
