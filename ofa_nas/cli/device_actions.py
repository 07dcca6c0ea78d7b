"""What `ofa-nas devices` does beside listing: explain a roofline, calibrate it, import a published table."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.devices import summarise
from ofa_nas.figures import format_bytes, format_count

if TYPE_CHECKING:
    from ofa_nas.latency.calibration import Calibration
    from ofa_nas.latency.lint import Finding
    from ofa_nas.latency.roofline import Explanation, Roofline, RooflineModel

SHOWN_TIMINGS = 20  # a calibration by blocks has too many for a screen


def explain(args: argparse.Namespace) -> None:
    """Tell what binds an architecture, or rank several."""
    from ofa_nas.cli.console import err, give_document
    from ofa_nas.latency import roofline
    from ofa_nas.space.points import named_architecture
    from ofa_nas.space.search_space import SearchSpace

    model, about, is_calibrated = _find_model(args.name)
    for doubt in () if is_calibrated else model.doubts:
        err.print(doubt, markup=False)
    space = SearchSpace.load(args.space)
    space = space.with_classes(args.classes or space.classes)
    archs = [named_architecture(space, text) for text in args.archs]
    found = {str(arch): roofline.explain(model, list(space.layers(arch))) for arch in archs}
    ranked = dict(sorted(found.items(), key=lambda item: item[1].total_ms))
    fastest = next(iter(ranked.values())).total_ms
    document = {
        "device": args.name,
        "calibrated": is_calibrated,
        "ridge_macs_per_byte": model.ridge,
        "architectures": [
            {
                "architecture": arch,
                "relative": one.total_ms / fastest,
                "latency_ms": one.total_ms if is_calibrated else None,
                "memory_share": one.memory_share,
                "layers": one.layers,
            }
            for arch, one in ranked.items()
        ],
    }
    if give_document(args, document):
        return
    _show_model(f"{about}; {space.name}, {space.classes} classes", is_calibrated=is_calibrated)
    if len(ranked) == 1:
        _show_explanation(next(iter(ranked.values())), model, is_calibrated=is_calibrated)
    else:
        _show_ranking(ranked, is_calibrated=is_calibrated)


def _find_model(name: str) -> "tuple[RooflineModel, str, bool]":
    """A roofline, what it is, and whether it was calibrated.

    Raises:
        TableError: There is none, or the table prices layers in another way.
    """
    from ofa_nas.errors import TableError
    from ofa_nas.latency.roofline import Roofline, RooflineModel
    from ofa_nas.latency.table import LatencyTable

    if not name.endswith(".json"):
        board = Roofline.load(name)
        return board.model, f"{board.name}: {board.description}, {board.cpu}", False
    table = LatencyTable.load(Path(name))
    if not isinstance(table.model, RooflineModel):
        raise TableError(
            f"{name}: is no calibrated roofline; give the name of a roofline, see ofa-nas devices"
        )
    return table.model, f"{table.name}: {table.device.name}, {table.device.cpu}", True


def _show_model(about: str, *, is_calibrated: bool) -> None:
    from ofa_nas.cli.console import out

    kind = "a calibrated roofline: estimated" if is_calibrated else "published figures: ranks only"
    out.print(f"{about} ({kind})")


def _show_explanation(found: "Explanation", model: "RooflineModel", *, is_calibrated: bool) -> None:
    from ofa_nas.cli.console import make_table, out

    table = make_table("layer", "MACs", "bytes", "MAC/B", "bound by", "of the time", "of it memory")
    for one in found.layers:
        table.add_row(
            one.layer,
            format_count(one.macs),
            format_bytes(one.bytes),
            f"{one.intensity:.1f}",
            one.bound,
            f"{one.share:.1%}",
            f"{one.memory_share:.0%}",
        )
    out.print(table)
    total = f" of {found.total_ms:.3g} ms" if is_calibrated else ""
    out.print(
        f"{found.memory_bound} of {len(found.layers)} layers are memory-bound; memory binds for "
        f"{found.memory_share:.0%} of the predicted time{total}. "
        f"It binds an operator below {model.ridge:.1f} MAC/B."
    )


def _show_ranking(ranked: "dict[str, Explanation]", *, is_calibrated: bool) -> None:
    from ofa_nas.cli.console import make_table, wide

    fastest = next(iter(ranked.values())).total_ms
    table = make_table("relative", *(["latency"] if is_calibrated else []), "MACs", "memory", "architecture")
    for arch, one in ranked.items():
        latency = [f"{one.total_ms:.3g} ms"] if is_calibrated else []
        macs = format_count(sum(layer.macs for layer in one.layers))
        table.add_row(f"{one.total_ms / fastest:.2f}", *latency, macs, f"{one.memory_share:.0%}", arch)
    wide.print(table)


def calibrate(args: argparse.Namespace) -> None:
    """Fit a roofline to timings, write the table, and show how far off it is."""
    from ofa_nas.cli.console import err, give_document
    from ofa_nas.files import check_writable
    from ofa_nas.latency import calibration
    from ofa_nas.latency.roofline import Roofline
    from ofa_nas.latency.timings import read_timings

    check_writable(args.output, option="--output", suffix=".json")
    board = Roofline.load(args.name)
    timings = read_timings(args.timings, element_bytes=board.model.element_bytes, classes=args.classes)
    found = calibration.calibrate(board, timings, runtime=args.runtime, threads=args.threads)
    found.table.save(args.output)
    document = {
        "path": str(args.output),
        "provenance": found.table.provenance,
        "judged_on": found.table.judged_on,
        "left_out": found.table.error,
        "model": found.table.model,
        "timings": [
            {"name": timing.name, "measured_ms": timing.ms, "left_out_ms": ms}
            for timing, ms in zip(found.timings, found.left_out_ms, strict=True)
        ],
    }
    if not give_document(args, document):
        _show_calibration(found, board)
    err.print(f"wrote {args.output}, an estimated table: give it to --device")


def _show_calibration(found: "Calibration", board: "Roofline") -> None:
    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.latency.roofline import RooflineModel

    model, error = found.table.model, found.table.error
    assert isinstance(model, RooflineModel)
    assert error
    if len(found.timings) <= SHOWN_TIMINGS:
        table = make_table("measured", "left out", "off by", found.table.judged_on)
        for timing, ms in zip(found.timings, found.left_out_ms, strict=True):
            table.add_row(f"{timing.ms:.3g} ms", f"{ms:.3g} ms", f"{ms / timing.ms - 1:+.1%}", timing.name)
        wide.print(table)
    out.print(
        f"fitted to {len(found.timings)} {found.table.judged_on}: {model.gmac_per_s:.3g} GMAC/s "
        f"(published {board.model.gmac_per_s:g}), {model.gb_per_s:.3g} GB/s ({board.model.gb_per_s:g}), "
        f"depthwise MACs {model.depthwise_slowdown:.2g} times as long, {model.overhead_ms:.2g} ms an operator"
    )
    out.print(
        f"{found.table.judged_on} left out: off by {error.mape:.1%} on average, {error.p50:.1%} at the "
        f"median, {error.p95:.1%} at the 95th percentile, {error.worst:.1%} at worst; rank correlation "
        f"{error.spearman or 0.0:.2f}"
    )
    for note in found.table.notes[1:]:
        out.print(note, markup=False)


def import_table(args: argparse.Namespace) -> None:
    """Import published look-up tables, lint and write the table."""
    from ofa_nas.cli.console import err, give_document, out
    from ofa_nas.files import check_writable
    from ofa_nas.latency.lint import lint_table
    from ofa_nas.latency.lookup_table import NOT_STATED, Origin, import_lookup_tables
    from ofa_nas.latency.table import RUNTIME_NOT_STATED
    from ofa_nas.space.search_space import SearchSpace

    check_writable(args.output, option="--output", suffix=".json")
    space = SearchSpace.load(args.space)
    origin = Origin(
        board=args.board or args.name,
        runtime=args.runtime or RUNTIME_NOT_STATED,
        source=args.source or NOT_STATED,
        licence=args.licence or NOT_STATED,
    )
    table = import_lookup_tables(args.files, space, name=args.name, origin=origin)
    findings = lint_table(table, space=space)
    _refuse_errors(args.name, findings)
    table.save(args.output)
    if not give_document(args, {**asdict(summarise(table, args.output)), "findings": findings}):
        assert table.published
        sizes = table.published.resolutions
        out.print(
            f"{len(table.published.rows)} layers of {space.name} at {sizes[0]}-{sizes[-1]} px, imported"
        )
        out.print(f"source {origin.source}; licence {origin.licence}; {table.notes[0]}", markup=False)
        for finding in findings:
            out.print(f"doubtful ({finding.rule}): {finding.message}", markup=False)
    err.print(f"wrote {args.output}")


def _refuse_errors(name: str, findings: "tuple[Finding, ...]") -> None:
    from ofa_nas.errors import TableError

    for finding in findings:
        if finding.is_error:
            raise TableError(f"{name}: {finding.rule}: {finding.message}")
