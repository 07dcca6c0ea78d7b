"""The sections of a report, each of them HTML that says everything without a script."""

from collections.abc import Iterator, Mapping, Sequence

from ofa_nas.export.check import Check, describe_excess
from ofa_nas.figures import format_amount, format_bytes, format_ms, format_share
from ofa_nas.pages.html import Markup, copyable, markup, table, tag
from ofa_nas.report.course import beside_words, layer_words, memory_chart, peak_words, time_chart
from ofa_nas.report.document import Answer, Network, Point, SearchDocument
from ofa_nas.report.parts import chart_figure, section
from ofa_nas.report.picture import network_picture
from ofa_nas.report.plots import all_fronts, thinned
from ofa_nas.report.words import card_text, cost_keys, percent, size_text
from ofa_nas.search.budgets import Cost, spread_text


def overview(document: SearchDocument) -> Markup:
    """The chosen network, its figures beside their budgets, and the answers of a list."""
    answer = document.main
    assert answer.chosen
    parts: list[str] = []
    if len(document.answers) > 1:
        parts.append(_answers(document))
    parts.append(tag("p", copyable(answer.chosen.architecture), attributes={"class": "chosen-text"}))
    parts.append(tag("ul", *_cards(document, answer), attributes={"class": "cards"}))
    if document.checks:
        parts.append(_verdict(document.checks))
    parts.append(tag("p", _claim(document, answer)))
    return section("chosen", "The chosen network", *parts)


def _cards(document: SearchDocument, answer: Answer) -> Iterator[Markup]:
    assert answer.chosen
    figures = answer.chosen.predicted
    interval = f"predicted, {_interval(figures.half_width)}" if figures.half_width else "predicted"
    if answer.goal is not None:
        interval += f"; to reach: {percent(answer.goal[0])}"
    yield _card("top-1", percent(figures.accuracy), interval)
    yield from _measured_cards(document, answer.chosen)
    limits = {limit.budget.key: limit for limit in answer.limits}
    for key in cost_keys(document):
        check, limit = document.check_of(key), limits.get(key)
        searched = figures.cost(key)
        value = searched if check is None or check.predicted is None else check.predicted
        told, share = _predicted_by(document, key), None
        if limit is not None:
            budget, share = limit.budget, value / limit.budget.limit
            told += f", of {card_text(key, budget.limit)}"
            told += f", {format_share(budget.margin)} kept free" if budget.margin else ""
            told += "; binds" if limit.binds else ""
        if card_text(key, value) != card_text(key, searched):
            told += f"; {card_text(key, searched)} when it was searched"
        yield _card(key.title, card_text(key, value), told + _measured_as(document, key), share=share)


def _predicted_by(document: SearchDocument, key: Cost) -> str:
    provenance = dict(document.devices).get(key.device)
    return f"predicted (table {provenance})" if provenance else "predicted"


def _measured_as(document: SearchDocument, key: Cost) -> str:
    """What was measured of a cost, for the end of a note; of a latency also that nothing was."""
    check = document.check_of(key)
    measured = check.measured if check else document.measured_ms(key.device)
    if measured is None:
        return "; not measured" if key.device else ""
    verdict = "; a broken promise" if check and not check.is_met else ""
    return f"; measured {card_text(key, measured)}{verdict}"


def _measured_cards(document: SearchDocument, chosen: Point) -> Iterator[Markup]:
    """Top-1 on the images that chose the network, then on others, or as the file was checked."""
    choice = document.study or document.contest
    for one in choice.networks if choice else ():
        if one.architecture == chosen.architecture and one.accuracy is not None:
            interval = f"{_interval(one.accuracy_half_width)}; " if one.accuracy_half_width else ""
            flattered = f"{interval}on the images that chose it, which flatters it"
            yield _card("top-1, measured", percent(one.accuracy), flattered)
            break
    held = choice.held_out if choice else None
    if held is not None:
        how = f"{_interval(held.half_width)}, {held.images} images that did not choose it"
        yield _card("top-1, held out", percent(held.accuracy), how)
    for check in () if held else document.checks:
        if check.quantity == "accuracy":
            yield _card("top-1 of the file", percent(check.measured), check.note)


def _interval(half_width: float) -> str:
    return f"± {100 * half_width:.1f} points at 90 %"


def _card(title: str, value: str, note: str, *, share: float | None = None) -> Markup:
    bar = Markup()
    if share is not None:
        width = min(100.0, 100 * share)
        bar = Markup(f'<span class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>')
    return tag("li", tag("span", title), tag("strong", value), bar, tag("small", note))


def _verdict(checks: Sequence[Check]) -> Markup:
    broken = ", ".join(dict.fromkeys(one.title for one in checks if not one.is_met))
    if broken:
        told = f"The exported file breaks what was promised of it: {broken}."
        return tag("p", told, attributes={"class": "warning"})
    excess = describe_excess(checks)
    told = "The exported file keeps every promise that was checked"
    return tag("p", f"{told}, but as measured {excess}." if excess else f"{told}.")


def _claim(document: SearchDocument, answer: Answer) -> str:
    """What may be said of how good it is."""
    assert answer.chosen
    if answer.is_exact and answer.is_searched_out:
        what = (
            "costs less and is predicted to reach that accuracy"
            if answer.goal
            else "is predicted to be better"
        )
        claim = f"No subnet within the budgets {what}."
    elif answer.is_exact and answer.goal is not None:
        least, cost = min(answer.by_seed), answer.goal[1]
        claim = f"The least {cost.title} that is predicted to reach that accuracy is {cost.text(least)}."
    elif answer.bound is not None:
        gap = max(0.0, answer.bound - answer.chosen.predicted.accuracy)
        claim = f"None within the budgets is predicted to be more than {100 * gap:.2g} points better."
    else:
        claim = "How far it is from the best within the budgets, the method that searched cannot tell."
    if len(answer.by_seed) > 1:
        spread = spread_text(answer.by_seed, answer.goal[1] if answer.goal else None)
        best = "It is the best" if answer.is_searched_out else "The search took the best"
        claim += f" {best} of {len(answer.by_seed)} seeds, whose answers have {spread}."
    if document.study or not answer.is_searched_out:
        claim = f"It was chosen by measurement. {claim}"
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
    headers = ("budgets", "top-1", *(key.title for key in keys), "architecture")
    chosen = document.answers.index(document.main)
    return markup(
        table(headers, rows, caption="One network for each budget", chosen=chosen),
        *(tag("p", f"Unmet: {answer.unmet}.") for answer in document.answers if answer.unmet),
        tag("p", "What follows tells of the network of the loosest budget."),
    )


def _cells(point: Point, keys: Sequence[Cost]) -> list[str]:
    costs = (key.text(point.predicted.cost(key)) for key in keys)
    return [percent(point.predicted.accuracy), *costs, copyable(point.architecture)]


def front(document: SearchDocument) -> Markup:
    """Chart and table of the front."""
    charts, keys = all_fronts(document), cost_keys(document)
    points = thinned(document)
    chosen = document.main.chosen
    rows = [_cells(point, keys) for point in points]
    is_chosen = [chosen is not None and point.architecture == chosen.architecture for point in points]
    count = len(document.front)
    part = str(count) if len(points) == count else f"{len(points)} of {count}"
    listing = table(
        ("top-1", *(key.title for key in keys), "architecture"),
        rows,
        caption="The front",
        chosen=is_chosen.index(True) if True in is_chosen else -1,
    )
    return section(
        "front",
        "Accuracy, latency and memory",
        chart_figure("front", charts[0][1], charts),
        tag("details", tag("summary", f"The front as a table: {part} network{'s' * (count != 1)}"), listing),
    )


def network(document: SearchDocument, found: Network) -> Markup:
    """The picture, and all layers as a table."""
    devices = [name for name, _ in document.devices]
    headers = ("layer", "what", "MACs", "weights", "memory", *(f"time on {name}" for name in devices))
    rows = [
        (
            layer.name,
            layer_words(layer),
            format_amount(layer.macs, "MACs"),
            format_bytes(layer.weight_bytes),
            format_bytes(max(operator.live_bytes for operator in layer.operators)),
            *(format_ms(layer.latency_ms[name]) for name in devices),
        )
        for layer in found.layers
    ]
    listing = table(headers, rows, caption="Layers in execution order")
    return section(
        "network",
        "The network",
        tag("p", f"{size_text(found)} in, {len(found.layers)} layers."),
        network_picture(found, devices),
        tag("details", tag("summary", "All layers as a table"), listing),
    )


def course(document: SearchDocument, found: Network) -> Markup:
    """Time and memory along the network."""
    parts: list[str] = []
    for index, (name, provenance) in enumerate(document.devices):
        beside = beside_words(found.constant_ms[name])
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
                f"off by {error['mape']:.1%} on average, {_median(error)}{error['p95']:.1%} at the 95th "
                f"percentile, on {one.judged_on} that it had not seen"
            )
        verified = f"verified on {one.verified_on}" if one.verified_on else "never verified"
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


def _median(error: Mapping[str, float]) -> str:
    return f"{error['p50']:.1%} at the median, " if "p50" in error else ""


def _lines(lines: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *(markup(tag("dt", what), tag("dd", text)) for what, text in lines))


def title_of(document: SearchDocument) -> str:
    """What the page is about, in one line."""
    where = " and ".join(name for name, _ in document.devices)
    return f"{document.supernet} on {where}" if where else document.supernet
