"""`ofa-nas devices`: the latency tables there are, shipped and measured here."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.latency.table import LatencyTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: none beside those of every command."""


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table.

    Attributes:
        error: Mean error on networks that had no part in it, a fraction.
        p95: Their 95th percentile.
    """

    name: str
    provenance: str
    device: str
    runtime: str
    threads: int | None
    precision: str
    space: str
    classes: int | None
    resolutions: tuple[int, ...]
    made_on: str
    error: float
    p95: float
    notes: tuple[str, ...]
    path: str


def summarise(table: "LatencyTable", path: Path) -> TableSummary:
    """What to tell of a table."""
    held = table.measured
    return TableSummary(
        name=table.name,
        provenance=table.provenance,
        device=f"{table.device.name}, {table.device.cpu}",
        runtime=table.device.runtime,
        threads=table.device.threads,
        precision=table.device.precision,
        space=held.space if held else "any",
        classes=held.classes if held else None,
        resolutions=held.resolutions if held else (),
        made_on=str(table.made_by.get("made_on", ""))[:10],
        error=table.error.mape,
        p95=table.error.p95,
        notes=table.notes,
        path=str(path),
    )


def run(args: argparse.Namespace) -> None:
    """List tables; one that cannot be read is named on stderr and left out."""
    from ofa_nas.assets import asset_folder, cache_folder
    from ofa_nas.cli.console import err, print_json
    from ofa_nas.errors import TableError
    from ofa_nas.latency.table import LatencyTable

    found = []
    for folder in (asset_folder("latency_tables"), cache_folder() / "latency_tables"):
        for path in sorted(folder.glob("*.json")):
            try:
                found.append(summarise(LatencyTable.load(path), path))
            except TableError as error:
                err.print(f"left out: {error}", markup=False)
    if args.json:
        print_json({"tables": found})
    else:
        _list(found)


def _list(found: list[TableSummary]) -> None:
    from ofa_nas.cli.console import make_table, out

    table = make_table("device", "space", "measured with", "mean error", "p95")
    for one in found:
        sizes = f"{one.resolutions[0]}-{one.resolutions[-1]} px" if one.resolutions else "any px"
        threads = f"{one.threads} thread{'s' * (one.threads > 1)}" if one.threads else "threads unknown"
        source = "\n".join([*one.runtime.split(", "), f"{threads}, {one.precision}", one.made_on]).strip()
        table.add_row(
            f"{one.name}\n{one.provenance}",
            f"{one.space}\n{sizes}",
            source,
            f"{one.error:.1%}",
            f"{one.p95:.1%}",
        )
    if not any(one.name == "host" for one in found):
        table.add_row("host\nnot measured yet", "", "", "", "")
    out.print(table)
    out.print("estimated: nobody here could measure the board. Measure yours: ofa-nas profile --device host")
