"""The section that holds what was measured against what was predicted."""

from collections.abc import Sequence

from ofa_nas.export.check import Check
from ofa_nas.figures import format_ms
from ofa_nas.pages.html import Markup, copyable, table, tag
from ofa_nas.report.document import MeasuredNetworks, Point, SearchDocument
from ofa_nas.report.parts import chart_figure, section
from ofa_nas.report.plots import accuracy_chart, shown, table_chart
from ofa_nas.report.words import percent

_NEVER_PROMISED = ("resident_memory", "latency_p90")


def evidence(document: SearchDocument) -> Markup:
    """Predicted against measured: checks of the file, finalists, contest, study, and the tables' own."""
    parts: list[str] = []
    if document.checks:
        parts.append(_checks(document.checks))
    parts += _measured(document, "Finalists", document.finalists)
    parts += _measured(document, "Candidates", document.contest)
    parts += _measured(document, "Trials", document.study)
    if not parts:
        told = "Nothing of this search was measured: every figure of its networks is predicted."
        parts.append(tag("p", told, attributes={"class": "warning"}))
    else:
        parts += _unmeasured(document)
    charts = [
        chart_figure(f"accuracy-{index}", accuracy_chart(shown(document, given.networks)))
        for index, given in enumerate((document.contest, document.study))
        if given and given.networks
    ]
    charts += [
        chart_figure(f"table-{index}", table_chart(one))
        for index, one in enumerate(document.tables)
        if one.holdouts
    ]
    if charts:
        parts.append(tag("div", *charts, attributes={"class": "pair"}))
    return section("measured", "Predicted and measured", *parts)


def _unmeasured(document: SearchDocument) -> list[str]:
    """A line for each device that the chosen network was not timed on."""
    return [
        tag(
            "p",
            f"Latency on {name} was not measured: it is predicted by a table that is {provenance}.",
            attributes={"class": "warning"},
        )
        for name, provenance in document.devices
        if document.measured_ms(name) is None
    ]


def _checks(checks: Sequence[Check]) -> Markup:
    rows = []
    for one in checks:
        title = one.title + (f" on {one.device}" if one.device else "")
        verdict = "–" if one.quantity in _NEVER_PROMISED else _verdict(one)
        predicted = "" if one.predicted is None else one.text(one.predicted, share=percent)
        measured = one.text(one.measured, share=percent)
        rows.append((title, predicted, measured, one.deviation, verdict, one.note))
    headers = ("what", "predicted", "measured", "off by", "promise", "how")
    return table(headers, rows, caption="Checks of the exported file")


def _verdict(one: Check) -> str:
    if not one.is_met:
        return "broken"
    beyond = "below what was asked" if one.quantity == "accuracy" else "above its budget"
    return f"kept; {beyond}" if one.exceeds_budget else "kept"


def _measured(document: SearchDocument, title: str, given: MeasuredNetworks | None) -> list[str]:
    if given is None or not given.networks:
        return []
    devices = [
        name for name, _ in document.devices if any(name in (one.latency_ms or {}) for one in given.networks)
    ]
    networks = shown(document, given.networks)
    count = len(given.networks)
    part = f"; {len(networks)} of {count} are shown" if len(networks) < count else ""
    has_accuracy = any(one.accuracy is not None for one in given.networks)
    has_verdict = any(one.is_within is not None for one in given.networks)
    has_weighed = any(one.together is not None for one in given.networks)
    headers = ["top-1 predicted", *(["top-1 measured"] if has_accuracy else [])]
    headers += ["together"] if has_weighed else []
    for name in devices:
        headers += [f"{name} predicted", f"{name} measured"]
    headers += [*(["budgets"] if has_verdict else []), "architecture"]
    rows = []
    for one in networks:
        row = [percent(one.predicted.accuracy)]
        row += [_measured_accuracy(one)] if has_accuracy else []
        row += ["–" if one.together is None else percent(one.together)] if has_weighed else []
        for name in devices:
            found = (one.latency_ms or {}).get(name)
            row.append(format_ms(one.predicted.latency_ms[name]))
            row.append("–" if found is None else format_ms(found))
        row += [("kept" if one.is_within else "exceeded")] if has_verdict else []
        rows.append([*row, copyable(one.architecture)])
    chosen = document.main.chosen
    places = [
        index for index, one in enumerate(networks) if chosen and one.architecture == chosen.architecture
    ]
    return [
        tag("p", f"{title}, {given.told}{part}."),
        table(headers, rows, caption=title, chosen=places[0] if places else -1),
    ]


def _measured_accuracy(point: Point) -> str:
    if point.accuracy is None:
        return "–"
    width = f" ± {100 * point.accuracy_half_width:.1f}" if point.accuracy_half_width else ""
    return percent(point.accuracy) + width
