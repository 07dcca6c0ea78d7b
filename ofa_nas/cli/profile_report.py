"""What `ofa-nas profile` shows of the tables that it wrote."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.latency.measured import ErrorFigures
    from ofa_nas.latency.table import LatencyTable


def tell_tables(args: argparse.Namespace, tables: "list[tuple[LatencyTable, Path]]") -> None:
    """Show tables, or print them: an object for one, a list of several."""
    from ofa_nas.cli.console import err, give_document

    documents = [{"path": str(path), **_document(table)} for table, path in tables]
    is_printed = give_document(args, documents[0] if len(documents) == 1 else documents)
    for table, path in tables:
        if not is_printed:
            _show(table)
        err.print(f"wrote {path}", markup=False)


def _document(table: "LatencyTable") -> dict[str, object]:
    """What a user wants to know of a measured table, for JSON."""
    assert table.measured
    held = table.measured
    return {
        "name": table.name,
        "provenance": table.provenance,
        "device": asdict(table.device),
        "space": held.space,
        "classes": held.classes,
        "layers": len({row.layer for row in held.rows}),
        "notes": table.notes,
        "resolutions": {
            str(size): {
                "table": asdict(held.errors(resolution=size)),
                "macs_linear": asdict(held.errors(resolution=size, by_macs=True)),
            }
            for size in held.resolutions
        },
        "table": asdict(held.errors()),
        "macs_linear": asdict(held.errors(by_macs=True)),
        "noise_floor": held.noise_floor(),
    }


def _show(table: "LatencyTable") -> None:
    from ofa_nas.cli.console import make_table, out, wide

    assert table.measured
    held = table.measured
    shown = make_table("px", "by", "mean", "p50", "p95", "worst", "bias", "< 5 %", "< 10 %", "rank", "noise")
    for size in (*held.resolutions, None):
        floor = held.noise_floor(resolution=size)
        noise = "unknown" if floor is None else f"{floor:.1%}"
        for name, by_macs in (("table", False), ("MACs", True)):
            figures = held.errors(resolution=size, by_macs=by_macs)
            shown.add_row("all" if size is None else str(size), name, *_cells(figures), noise)
    device = table.device
    out.print(f"{device.name}: {device.cpu}, {device.runtime}, threads: {device.threads}, {device.precision}")
    layers = len({row.layer for row in held.rows})
    out.print(f"{held.space}, {held.classes} classes: {layers} layers; errors on unseen networks:")
    wide.print(shown)
    out.print("MACs: a line through the MACs of the same anchors. Noise: what exact predictions would show.")
    for note in table.notes:
        out.print(note)


def _cells(figures: "ErrorFigures") -> tuple[str, ...]:
    errors = (f"{value:.1%}" for value in (figures.mape, figures.p50, figures.p95, figures.worst))
    shares = (f"{value:.0%}" for value in (figures.within_5 or 0.0, figures.within_10 or 0.0))
    return (*errors, f"{figures.bias:+.1%}", *shares, f"{figures.spearman or 0.0:.3f}")
