"""Find the latency table of a device, which is measured first if need be, and describe tables."""

from typing import TYPE_CHECKING

from ofa_nas.precisions import FP32

if TYPE_CHECKING:
    from ofa_nas.activity import Activity
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.space.search_space import SearchSpace


def find_or_measure_table(
    device: str, space: "SearchSpace", *, threads: int, seed: int, quiet: bool, precision: str = FP32
) -> "LatencyTable":
    """The table of a device, for files of a precision.

    Raises:
        TableError: There is no such table, it is of another space, or it is a roofline, which only ranks.
        DeviceError: The device cannot be reached or measured.
    """
    from ofa_nas.cli.console import follow
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.pipeline.tables.device_table import device_table

    def show(bar: "ProgressBar", activity: "Activity") -> None:
        if not activity.done:
            bar.tell(f"no fresh latency table of {device}: it takes minutes to measure {activity.name}")
        bar.show(activity)

    records = device_table(device, space, threads=threads, seed=seed, precision=precision)
    return follow(records, LatencyTable, show=show, title=f"measuring {device}", quiet=quiet)


def tell_extrapolation(table: "LatencyTable", latency_ms: float) -> None:
    """Warn of a latency [ms] below those of all networks that an estimated table was fitted to."""
    from ofa_nas.cli.console import err
    from ofa_nas.figures import format_ms

    fastest_ms = table.fastest_ms
    if fastest_ms is not None and latency_ms < fastest_ms:
        err.print(
            f"{format_ms(latency_ms)} on {table.name} are extrapolated: the fastest network that the table "
            f"was fitted to takes {format_ms(fastest_ms)}",
            markup=False,
        )


def describe_table(table: "LatencyTable") -> str:
    """What the latencies rest on, how far off they were, what to do about it; and what doubts the table."""
    return _describe(table) + _unrest(table) + _doubt(table)


def _describe(table: "LatencyTable") -> str:
    from rich.markup import escape  # these may be somebody else's words

    from ofa_nas.devices import describe_threads
    from ofa_nas.latency.table import RUNTIME_NOT_STATED

    device = table.device
    runtime = "a runtime that is not stated" if device.runtime == RUNTIME_NOT_STATED else device.runtime
    threads = describe_threads(device.threads)
    stands = escape(f"stands for {runtime}, {threads}") + (" (notes: ofa-nas devices)" if table.notes else "")
    advice = "Measure your own: ofa-nas profile --device ssh://USER@HOST --name my-board"
    if table.published:
        told = escape(f"{'; '.join(table.sources)}; licence {table.published.licence}")
        return (
            f"{escape(f'{table.name} ({device.name})')}: [bold]imported[/bold] from {told}; {stands}; "
            f"nobody here can tell how far off it is. {advice}"
        )
    error = table.error
    assert error, "whoever measured or fitted a table also judged it"
    figures = (
        f"off by {error.mape:.1%} on average, {error.p50:.1%} at the median and {error.p95:.1%} at the 95th "
        "percentile"
    )
    if table.measured:
        by_macs = table.measured.errors(by_macs=True)
        count = len(table.measured.holdouts)
        figures = f"{figures} on {count} unseen subnets (MACs fitted linearly: {by_macs.mape:.1%})"
        return f"{escape(f'{table.name} ({device.cpu}; {runtime})')}: measured; {figures}"
    basis = "by a calibrated roofline" if _is_roofline(table) else "from published measurements"
    return (
        f"{escape(f'{table.name} ({device.cpu})')}: [bold]estimated[/bold] {basis}, and {stands}; {figures} "
        f"on {table.judged_on} left out. {advice}"
    )


def _unrest(table: "LatencyTable") -> str:
    """What most of the networks of a measured table suffered from; empty if nothing."""
    held = table.measured
    if held is None:
        return ""
    told = {
        f"\n[bold]noisy[/bold]: {held.noisy} of {held.networks} networks did not settle": held.noisy,
        f"\n[bold]throttled[/bold]: the device slowed down during {held.throttled} of {held.networks} "
        "networks": held.throttled,
    }
    return "".join(f"{text}, when measured" for text, count in told.items() if 2 * count > held.networks)


def _doubt(table: "LatencyTable") -> str:
    """What the last verification found against a table; empty if nothing."""
    from rich.markup import escape

    last = table.history[-1] if table.history else None
    if last is None or not (last.faults or last.stale):
        return ""
    verdict = "passed, but is stale" if last.passed else "failed"
    reasons = escape("; ".join(dict.fromkeys((*last.faults, *last.stale))))
    busy = "; the device was too busy for a fair verdict" if last.is_loud else ""
    return f"\n[bold]{verdict}[/bold] when verified on {last.made_on}: {reasons}{busy}. Measure it anew"


def _is_roofline(table: "LatencyTable") -> bool:
    from ofa_nas.latency.roofline import RooflineModel

    return isinstance(table.model, RooflineModel)
