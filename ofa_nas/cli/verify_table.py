"""`ofa-nas verify-table`: time fresh networks, and tell whether a latency table still holds."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.precisions import TABLE_PRECISIONS

if TYPE_CHECKING:
    from ofa_nas.latency.verification import Verification
    from ofa_nas.pipeline.tables.table_verification import Plan, Verified

SHOWN = 3  # networks that the table misses most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify-table`."""
    parser.add_argument("table", metavar="TABLE", help="name of a latency table, or its .json file")
    parser.add_argument(
        "--device",
        metavar="ADDRESS",
        help="where to time: host, or ssh://[USER@]HOST[:PORT][/PATH/OF/PYTHON] [default: where it "
        "was measured]",
    )
    parser.add_argument(
        "--precision", choices=TABLE_PRECISIONS, help="which table, if several have that name [default: any]"
    )
    parser.add_argument(
        "--threads",
        metavar="COUNT",
        type=int,
        help="which table, if several have that name [default: any]; or ONNX Runtime threads, if "
        "the table states none [default: 1]",
    )
    parser.add_argument(
        "--space", help="search space, by name or TOML file [default: the one that the table names]"
    )
    parser.add_argument(
        "--networks",
        metavar="COUNT",
        type=int,
        default=20,
        help="number of fresh networks, 20 to 200 [default: 20]",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed, of networks, weights and order [default: 0]"
    )


def run(args: argparse.Namespace) -> int:
    """Time, judge, show and keep; status 1 when the table does not hold."""
    from ofa_nas.cli.console import ProgressBar, err, follow, give_document
    from ofa_nas.devices.quiet import quiet
    from ofa_nas.files import check_writable
    from ofa_nas.pipeline.tables.table_verification import (
        Verified,
        keep_verification,
        plan_verification,
        verify_table,
    )

    plan = plan_verification(
        args.table,
        device=args.device,
        space=args.space,
        networks=args.networks,
        precision=args.precision,
        threads=args.threads,
        seed=args.seed,
    )
    if not plan.is_shipped:
        check_writable(plan.path.resolve())
    title = f"timing on {plan.address}"
    with quiet(plan.address):
        found = follow(verify_table(plan), Verified, show=ProgressBar.show, title=title, quiet=args.json)
    if not give_document(args, _document(plan, found)):
        _show(plan, found)
    written = keep_verification(plan, found.verification)
    err.print(f"wrote {written}" if written else "not kept: the table ships with ofa-nas", markup=False)
    return 0 if found.verification.passed else 1


def _document(plan: "Plan", found: "Verified") -> dict[str, object]:
    return {
        "table": plan.table.name,
        "path": str(plan.path),
        "provenance": plan.table.provenance,
        "space": plan.space.name,
        "references": found.references,
        "criteria": found.verification.criteria,
        "findings": found.findings,
        **found.verification.to_json(),
    }


def _show(plan: "Plan", found: "Verified") -> None:
    from ofa_nas.cli.console import make_table, out
    from ofa_nas.latency.verification import LEVEL_TOLERANCE

    table, verification = plan.table, found.verification
    device = table.device
    out.print(f"{table.name}: {device.name}, {device.cpu}, {device.runtime}", markup=False)
    sizes = sorted({arch.resolution for arch in plan.networks})
    untold = "" if device.threads else " (the table does not tell its own)"
    out.print(
        f"{len(plan.networks)} fresh networks of {plan.space.name} at {', '.join(map(str, sizes))} px, timed "
        f"on {plan.address}, threads: {plan.protocol.threads}{untold}, {device.precision}",
        markup=False,
    )
    shown = make_table("", "condition")
    for criterion in verification.criteria:
        shown.add_row("holds" if criterion.is_met else "[bold]fails[/bold]", _escape(criterion.told))
    out.print(shown)
    if verification.macs_linear is None:
        out.print("The table has no line through MACs: nothing was held against that.")
    loud = "; the device is too busy for a fair verdict, try when it is quiet" if verification.is_loud else ""
    floor = verification.noise_floor
    noise = "unknown after one visit each" if floor is None else f"{floor:.2%}"
    out.print(f"noise floor {noise}: what exact predictions would show on average{loud}")
    _show_doubts(verification)
    if verification.speed is not None:
        each = ", ".join(f"{ratio:.3f}" for ratio in found.references.values())
        out.print(
            f"the references take {verification.speed:.3f} times as long as for the table (each {each}); "
            f"beyond ±{LEVEL_TOLERANCE:.0%} it is stale"
        )
    for finding in found.findings:
        kind = "wrong" if finding.is_error else "doubtful"
        out.print(f"{kind} ({finding.rule}): {finding.message}", markup=False)
    _show_worst(verification)
    for reason in verification.stale:
        out.print(f"[bold]stale[/bold]: {_escape(reason)}")
    out.print("[bold]passed[/bold]" if verification.passed else "[bold]failed[/bold]")


def _show_doubts(verification: "Verification") -> None:
    from ofa_nas.cli.console import out

    for count, what in ((verification.noisy, "noisy"), (verification.throttled, "throttled")):
        if count:
            out.print(f"{what}: {count} networks, references among them")


def _show_worst(verification: "Verification") -> None:
    from ofa_nas.cli.console import make_table, wide

    worst = sorted(verification.networks, key=lambda one: -abs(one.predicted_ms / one.measured_ms - 1.0))
    table = make_table("measured", "predicted", "off by", "missed most")
    for one in worst[:SHOWN]:
        off = one.predicted_ms / one.measured_ms - 1.0
        table.add_row(
            f"{one.measured_ms:.3g} ms", f"{one.predicted_ms:.3g} ms", f"{off:+.1%}", one.architecture
        )
    wide.print(table)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
