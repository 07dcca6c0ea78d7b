"""`ofa-nas devices`: list tables and rooflines; the other actions stand in `device_actions`."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.assets import DEFAULT_SPACE
from ofa_nas.cli.argument_groups import add_common_options

if TYPE_CHECKING:
    from ofa_nas.latency.roofline import Roofline
    from ofa_nas.latency.table import LatencyTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions; without one, tables are listed."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add_action(
        actions, "list", "list the latency tables and rooflines (what devices does without an action)"
    )
    explain = _add_action(actions, "explain", "show what limits an architecture, or rank several")
    explain.add_argument(
        "name", metavar="NAME", help="a shipped roofline, a .toml file, or the .json file of a calibrated one"
    )
    explain.add_argument(
        "archs",
        metavar="ARCH",
        nargs="+",
        help="architectures: smallest, middle, largest, a named point of the space, or a text such "
        "as 128/3x1/5x6.3x4/…; several are ranked",
    )
    explain.add_argument(
        "--space",
        default=DEFAULT_SPACE,
        help=f"search space, by name or TOML file [default: {DEFAULT_SPACE}]",
    )
    explain.add_argument(
        "--classes", metavar="COUNT", type=int, help="outputs of the classifier [default: the space's own]"
    )
    calibrate = _add_action(actions, "calibrate", "fit a roofline to timings of its board, and write a table")
    calibrate.add_argument("name", metavar="NAME", help="a shipped roofline or a .toml file")
    calibrate.add_argument(
        "timings",
        metavar="CSV",
        type=Path,
        help="CSV file: space,architecture,ms of 2 networks or more, or layer fields and ms of 30 "
        "blocks or more",
    )
    calibrate.add_argument(
        "--classes",
        metavar="COUNT",
        type=int,
        help="outputs of the timed networks' classifier [default: their spaces' own]",
    )
    calibrate.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="table to write, a .json file"
    )
    calibrate.add_argument(
        "--runtime", default="", help="runtime that timed them, noted in the table [default: not stated]"
    )
    calibrate.add_argument(
        "--threads", metavar="COUNT", type=int, help="threads they were timed with [default: not stated]"
    )
    fetch = _add_action(actions, "import", "turn once-for-all's published look-up tables into a table")
    fetch.add_argument("name", metavar="NAME", help="name for the table")
    fetch.add_argument("files", metavar="FILE", nargs="+", type=Path, help="YAML files, one per resolution")
    fetch.add_argument("--space", required=True, help="search space, by name or TOML file")
    fetch.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="table to write, a .json file"
    )
    fetch.add_argument("--board", help="the board's full name, noted in the table [default: NAME]")
    fetch.add_argument("--runtime", help="runtime that timed it, noted in the table [default: not stated]")
    fetch.add_argument("--source", default="", help="who published it, and where [default: not stated]")
    fetch.add_argument("--licence", default="", help="licence of the data [default: not stated]")


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, meaning: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name, help=meaning, description=f"{meaning[:1].upper()}{meaning[1:]}.", allow_abbrev=False
    )
    add_common_options(action, suppress=True)
    return action


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table.

    Attributes:
        error: Mean error on what had no part in it, a fraction; None where nobody knows.
        p50: Their median.
        p95: Their 95th percentile.
        judged_on: What that was: `networks`, or `blocks` timed alone.
        verified_on: Day of the last verification; empty without one.
        marks: What doubts it: `failed` or `stale` by the last verification, `noisy`, `throttled`.
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
    error: float | None
    p50: float | None
    p95: float | None
    judged_on: str
    verified_on: str
    marks: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    licence: str
    path: str


def summarise(table: "LatencyTable", path: Path) -> TableSummary:
    """What to tell of a table."""
    from ofa_nas.latency.verification import marks_of

    held = table.rows_of
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
        error=table.error.mape if table.error else None,
        p50=table.error.p50 if table.error else None,
        p95=table.error.p95 if table.error else None,
        judged_on=table.judged_on,
        verified_on=table.history[-1].made_on if table.history else "",
        marks=marks_of(table),
        notes=table.notes,
        sources=table.sources,
        licence=table.published.licence if table.published else "",
        path=str(path),
    )


def run(args: argparse.Namespace) -> None:
    """List, explain, calibrate or import."""
    from ofa_nas.cli.device_actions import calibrate, explain, import_table

    actions = {"explain": explain, "calibrate": calibrate, "import": import_table}
    actions.get(args.action, _list)(args)


def _list(args: argparse.Namespace) -> None:
    """List what there is; a file that cannot be read is named on stderr and left out."""
    from ofa_nas.cli.console import err, give_document
    from ofa_nas.latency.roofline import Roofline, roofline_names
    from ofa_nas.latency.shelf import Shelf

    found = []
    for shelf in (Shelf.shipped(), Shelf.measured()):
        found += [summarise(table, path) for path, table in shelf.tables.items()]
        for error in shelf.damaged.values():
            err.print(f"left out: {error}", markup=False)
    boards = [Roofline.load(name) for name in roofline_names()]
    if not give_document(args, {"tables": found, "rooflines": [_describe(board) for board in boards]}):
        _show_tables(found)
        _show_rooflines(boards)


def _show_tables(found: list[TableSummary]) -> None:
    from ofa_nas.cli.console import make_table, out
    from ofa_nas.devices import describe_threads
    from ofa_nas.latency.shelf import measured_folder

    table = make_table("device", "space", "measured with", "mean error")
    for one in found:
        sizes = f"{one.resolutions[0]}-{one.resolutions[-1]} px" if one.resolutions else "any px"
        threads = describe_threads(one.threads)
        source = "\n".join([*one.runtime.split(", "), f"{threads}, {one.precision}", one.made_on]).strip()
        table.add_row(
            "\n".join([one.name, one.provenance, *one.marks]),
            f"{one.space}\n{sizes}",
            source,
            _errors(one),
        )
    if not any(one.name == "host" for one in found):
        table.add_row("host\nnot measured yet", "", "", "")
    out.print(table)
    for one in found:
        if one.notes:
            out.print("\n".join([f"{one.name}:", *(f"  {note}" for note in one.notes)]), markup=False)
    out.print(
        "estimated: nobody here could measure the board. imported: somebody else's table, as published."
    )
    if any(one.marks for one in found):
        out.print(
            "failed, stale: found by ofa-nas verify-table. noisy, throttled: some networks, when measured."
        )
    out.print("Measure yours: ofa-nas profile --device host")
    folder = measured_folder()
    own = [one.path for one in found if Path(one.path).parent == folder]
    out.print("\n  ".join([f"Yours lie in {folder}{':' if own else ''}", *own]), markup=False)


def _errors(one: TableSummary) -> str:
    verified = ["verified", one.verified_on] if one.verified_on else []
    figures = (
        ["unknown"] if one.error is None else [f"{one.error:.1%}", f"p50 {one.p50:.1%}", f"p95 {one.p95:.1%}"]
    )
    return "\n".join(figures + verified)


def _show_rooflines(boards: "list[Roofline]") -> None:
    from ofa_nas.cli.console import make_table, out

    table = make_table("roofline", "board", "published", "memory below")
    for board in boards:
        model = board.model
        table.add_row(
            f"{board.name}\nranks only",
            f"{board.description}\n{board.cpu}",
            f"{model.gmac_per_s:g} GMAC/s\n{model.gb_per_s:g} GB/s",
            f"{model.ridge:.1f} MAC/B",
        )
    out.print(table)
    out.print("A roofline ranks, and promises no milliseconds: ofa-nas devices explain NAME ARCH")
    out.print(
        "Two networks timed on the board make it a table: ofa-nas devices calibrate NAME CSV --output FILE"
    )


def _describe(board: "Roofline") -> dict[str, object]:
    figures = {key: value for key, value in asdict(board).items() if key != "model"}
    return {
        **figures,
        "promises": "ranks only",
        "gmac_per_s": board.model.gmac_per_s,
        "gb_per_s": board.model.gb_per_s,
    }
