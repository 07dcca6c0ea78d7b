"""Deliver what a search chose; show how a file is made and checked, and the table of its checks."""

import argparse
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ofa_nas.figures import format_ms

if TYPE_CHECKING:
    from ofa_nas.activity import Activity
    from ofa_nas.export.card import Quantization
    from ofa_nas.export.check import Check
    from ofa_nas.pipeline.delivery.file_verification import Delivery
    from ofa_nas.pipeline.searching.estimators import Estimators
    from ofa_nas.pipeline.searching.promise import Places
    from ofa_nas.pipeline.searching.search import SearchResult


def deliver_result(
    args: argparse.Namespace, estimators: "Estimators", result: "SearchResult", places: "Places"
) -> "Delivery":
    """Export the subnet that a search chose, check the file, and show the checks.

    Args:
        args: Of the command.
        estimators: Of the supernet.
        result: Of the search.
        places: Where latencies are measured, by the names of the tables.
    """
    from ofa_nas.cli.file_form import read_form
    from ofa_nas.cli.torch_process import prepare_process

    prepare_process()
    from ofa_nas.pipeline.delivery.deliver import deliver
    from ofa_nas.pipeline.searching.promise import promise_of_result

    promise = promise_of_result(result, estimators, places=places)
    stream = deliver(
        estimators.files, result.chosen.architecture, promise, output=args.export, form=read_form(args)
    )
    delivery = follow_delivery(stream, quiet=args.json)
    if not args.json:
        show_delivery(delivery)
    return delivery


def follow_delivery(stream: "Iterator[Activity | Delivery]", *, quiet: bool) -> "Delivery":
    """Run a delivery with a progress bar."""
    from ofa_nas.cli.console import ProgressBar, follow
    from ofa_nas.pipeline.delivery.file_verification import Delivery

    return follow(stream, Delivery, show=ProgressBar.show, title="checking", quiet=quiet)


def show_delivery(delivery: "Delivery") -> None:
    """Print the table of checks."""
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide

    table = make_table("", "predicted", "measured", "off by", "how")
    table.columns[-1].no_wrap = False
    share = "{:.1%}".format
    timed = {check.device for check in delivery.checks if check.device}
    for check in delivery.checks:
        title = check.title + (f" on {check.device}" if check.device and len(timed) > 1 else "")
        predicted = "" if check.predicted is None else check.text(check.predicted, share=share)
        how = _mark(check) + escape(check.note)
        table.add_row(escape(title), predicted, check.text(check.measured, share=share), check.deviation, how)
    paper = out if out.is_terminal else wide  # no log is cut up as a narrow terminal needs it
    paper.print(table, soft_wrap=False)
    show_quantization(delivery.card.quantization)
    for reason in delivery.unchecked:
        out.print(f"unchecked {escape(reason)}")
    is_told = any(check.quantity == "latency" and check.predicted is None for check in delivery.checks)
    for one in delivery.card.latencies:
        if one.device not in timed and not is_told:  # among the unchecked: nothing predicted is comparable
            predicted = format_ms(one.latency_ms)
            path = escape(shlex.quote(str(delivery.path)))
            out.print(
                f"latency   {predicted} predicted on {escape(one.device)} ({one.provenance}), not measured: "
                f"ofa-nas verify {path} --device {escape(one.address)} times it there"
            )
    show_licence(delivery.card.licence)
    out.print(f"{escape(str(delivery.path))}: {_verdict(delivery)}")


def show_licence(licence: str) -> None:
    """Print the terms of weights; nothing where nobody stated them."""
    from rich.markup import escape

    from ofa_nas.cli.console import out

    if licence:
        out.print(f"licence   {escape(licence)}")


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
    from ofa_nas.export.check import describe_excess

    excess = describe_excess(delivery.checks)
    kept = "every promise kept" if not delivery.unchecked else "every promise kept that could be checked"
    return f"{kept}, but as measured {excess}" if excess else kept
