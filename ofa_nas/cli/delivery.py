"""Show how a file is made and checked, and the table of its checks: the last thing a user sees."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ofa_nas.figures import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from ofa_nas.export.card import Quantization
    from ofa_nas.export.verify import Check
    from ofa_nas.pipeline.deliver import Activity, Delivery

_TITLES = {
    "numerics": "numerics",
    "agreement": "agreement with torch",
    "accuracy_drop": "top-1 lost",
    "accuracy": "top-1",
    "latency": "latency",
    "latency_p90": "latency, p90",
    "peak_memory": "peak memory",
    "resident_memory": "resident memory",
    "file_size": "file size",
    "macs": "MACs",
}


def follow(stream: "Iterator[Activity | Delivery]", *, quiet: bool) -> "Delivery":
    """Run a delivery with a progress bar."""
    from ofa_nas.cli.console import progress
    from ofa_nas.pipeline.deliver import Delivery

    with progress("checking", total=None, quiet=quiet) as bar:
        for record in stream:
            if isinstance(record, Delivery):
                return record
            bar.move_to(record.done, total=record.total or None, note=record.name)
    raise AssertionError("a delivery ended without its record")


def show_delivery(delivery: "Delivery") -> None:
    """Print the table of checks."""
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out

    table = make_table("", "predicted", "measured", "off by", "how")
    table.columns[-1].no_wrap = False
    timed = {check.device for check in delivery.checks if check.device}
    for check in delivery.checks:
        title = _TITLES[check.quantity] + (f" on {check.device}" if check.device and len(timed) > 1 else "")
        predicted = "" if check.predicted is None else _amount(check.predicted, check)
        how = _mark(check) + escape(check.note)
        cells = (predicted, _amount(check.measured, check), _difference(check), how)
        table.add_row(escape(title), *cells)
    out.print(table, soft_wrap=False)
    show_quantization(delivery.card.quantization)
    for reason in delivery.unchecked:
        out.print(f"unchecked {escape(reason)}")
    for one in delivery.card.latencies:
        if one.device not in timed:
            predicted = format_ms(one.latency_ms)
            out.print(
                f"latency   {predicted} predicted on {escape(one.device)} ({one.provenance}), not measured: "
                f"ofa-nas verify {delivery.path} --device ssh://USER@HOST times it on a board"
            )
    out.print(f"{escape(str(delivery.path))}: {_verdict(delivery)}")


def show_quantization(found: "Quantization | None") -> None:
    """Print how a file was quantised; nothing where it was not."""
    from rich.markup import escape

    from ofa_nas.cli.console import out

    if found is None:
        return
    kept = escape(", ".join(found.kept)) or "nothing"
    out.print(
        f"int8      ranges by {found.method}; on {found.images} calibration images {found.agreement:.1%} "
        f"classes as in fp32, logits distorted by {found.distortion:.2%}; left in fp32: {kept}"
    )


def _mark(check: "Check") -> str:
    if not check.is_met:
        return "[red]✗ [/red]"
    return "[yellow]! [/yellow]" if check.exceeds_budget else ""


def _verdict(delivery: "Delivery") -> str:
    if not delivery.is_met:
        return "[red]a promise is broken, see ✗[/red]"
    above = dict.fromkeys(_TITLES[check.quantity] for check in delivery.checks if check.exceeds_budget)
    kept = "every promise kept" if not delivery.unchecked else "every promise kept that could be checked"
    if not above:
        return kept
    verb = "is above its budget" if len(above) == 1 else "are above their budgets"
    return f"{kept}, but as measured {' and '.join(above)} {verb}"


def _amount(value: float, check: "Check") -> str:

    if check.quantity == "numerics":
        return f"{value:.1e}"
    if check.unit == "ms":
        return format_ms(value)
    if check.quantity == "accuracy_drop":
        return f"{100 * value:+.2f} points"
    if check.unit == "MACs":
        return format_count(value)
    return format_bytes(value) if check.unit == "bytes" else f"{value:.1%}"


def _difference(check: "Check") -> str:
    if check.predicted is None:
        return ""
    if check.quantity == "accuracy":
        return f"{100 * (check.measured - check.predicted):+.1f} points"
    return f"{check.measured / check.predicted - 1:+.1%}"
