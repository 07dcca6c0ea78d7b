"""What `ofa-nas search` shows to people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.pipeline.finalists import Finals
    from ofa_nas.pipeline.search import Candidate, Estimators, SearchResult
    from ofa_nas.search.budgets import Budget

SHOWN_ON_FRONT = 12


def show_search(result: "SearchResult", estimators: "Estimators", finals: "Finals | None") -> None:
    """Print supernet, budgets, front, timed finalists and the chosen subnet."""
    from ofa_nas.cli.console import out
    from ofa_nas.cli.table_progress import describe_table

    card = estimators.card
    if estimators.table is not None:
        out.print(f"device    {describe_table(estimators.table)}")
    out.print(
        f"supernet  {estimators.files.name}: {card.space.name}, {card.space.cardinality:.2g} subnets, "
        f"trained on {card.data} ({card.space.classes} classes)"
    )
    out.print(f"searched  {_describe_method(result, estimators)}")
    for budget, binds in zip(result.budgets, result.binding, strict=True):
        verdict = "binds" if binds else "does not bind"
        out.print(f"budget    {budget}: {verdict}{_describe_margin(budget, estimators)}")
    if estimators.left_out:
        held = ", ".join(map(str, estimators.encoding.space.resolutions))
        missing = ", ".join(map(str, estimators.left_out))
        out.print(f"narrowed  to {held} px: the table does not hold {missing}")
    _show_front(result)
    if finals is not None:
        has_budget = any(budget.name == "latency" for budget in result.budgets)
        _show_finals(finals, estimators, has_budget=has_budget)
    chosen = result.chosen
    out.print(f"subnet    [bold]{chosen.architecture}[/bold]")
    out.print(f"predicted {', '.join(_cells(chosen))}; top-1 ± {100 * result.half_width:.1f} points at 90 %")


def _describe_method(result: "SearchResult", estimators: "Estimators") -> str:
    """What may be claimed of the answer."""
    seconds = f"{result.cpu_seconds:.2g} s"
    if result.is_exact:
        count = f"{estimators.encoding.space.cardinality:.2g}"
        return (
            f"all {count} subnets, exactly, in {seconds}: none within the budgets is predicted to be better"
        )
    text = f"{result.evaluations:,} subnets scored in {seconds} by {result.method}"
    if result.bound is not None:
        gap = 100.0 * (result.bound - result.chosen.accuracy)
        text += f"; none within the budgets is predicted to be more than {gap:.2g} points better"
    return text


def _describe_margin(budget: "Budget", estimators: "Estimators") -> str:
    from ofa_nas.search.budgets import format_amount, format_share

    table = estimators.table
    if budget.name != "latency" or table is None:
        return ""
    if not budget.margin:
        return "; no margin" + ("" if table.error else ": nobody knows how far off the table is")
    is_default = table.error is not None and budget.margin == estimators.margin
    reason = ": the table's p95 error" if is_default else ""
    searched = format_amount(budget.searched_limit, budget.unit)
    return f"; searched at {searched} (margin {format_share(budget.margin)}{reason})"


def show_nothing_measured(table: "LatencyTable") -> None:
    """Say that a latency is a prediction, and how to have it measured."""
    from ofa_nas.cli.console import out

    out.print(
        f"measured  nothing: the latency on {table.name} is predicted. --measure ssh://USER@HOST times "
        "finalists on the board itself"
    )


def _show_finals(finals: "Finals", estimators: "Estimators", *, has_budget: bool) -> None:
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.search.budgets import format_amount

    table = make_table("top-1", "predicted", "p50", "p90", "budget", "finalist")
    for one in finals.finalists:
        assert one.candidate.latency_ms is not None
        is_chosen = one.candidate == finals.chosen
        verdict = ["kept" if one.is_within else "exceeded"] if has_budget else []
        table.add_row(
            f"{one.candidate.accuracy:.1%}",
            format_amount(one.candidate.latency_ms, "ms"),
            format_amount(one.measured.latency_ms, "ms") + (", noisy" if one.measured.noisy else ""),
            format_amount(one.measured.p90_ms, "ms"),
            ", ".join([*verdict, *(["chosen"] if is_chosen else [])]),
            str(one.candidate.architecture),
            style="bold" if is_chosen else "",
        )
    speed = f", at the table's speed (the device now takes {finals.slowdown:.2f} times as long)"
    has_references = estimators.table is not None and estimators.table.measured is not None
    out.print(f"finalists timed on {escape(finals.address)}{speed if has_references else ''}:\n")
    wide.print(table)


def _show_front(result: "SearchResult") -> None:
    from ofa_nas.cli.console import make_table, wide

    has_latency = result.chosen.latency_ms is not None
    table = make_table(
        "top-1", *(["latency"] if has_latency else []), "MACs", "peak", "weights", "architecture"
    )
    for candidate in _thinned(result):
        is_chosen = candidate.architecture == result.chosen.architecture
        table.add_row(*_values(candidate), str(candidate.architecture), style="bold" if is_chosen else "")
    wide.print(table)


def _thinned(result: "SearchResult") -> "list[Candidate]":
    """The front's ends, the chosen one, and others evenly between them."""
    front = list(result.front)
    step = max(1.0, (len(front) - 1) / (SHOWN_ON_FRONT - 1))
    kept = {round(index * step) for index in range(SHOWN_ON_FRONT)}
    return [
        candidate
        for index, candidate in enumerate(front)
        if index in kept or candidate.architecture == result.chosen.architecture
    ]


def _values(candidate: "Candidate") -> tuple[str, ...]:
    from ofa_nas.cli.console import format_bytes, format_count
    from ofa_nas.search.budgets import format_amount

    latency = [] if candidate.latency_ms is None else [format_amount(candidate.latency_ms, "ms")]
    return (
        f"{candidate.accuracy:.1%}",
        *latency,
        format_count(candidate.macs),
        format_bytes(candidate.peak_activation_bytes),
        format_bytes(candidate.weight_bytes),
    )


def _cells(candidate: "Candidate") -> list[str]:
    values = list(_values(candidate))
    names = ["top-1", *(["latency"] if candidate.latency_ms is not None else []), "MACs", "peak", "weights"]
    return [f"{name} {value}" for name, value in zip(names, values, strict=True)]
