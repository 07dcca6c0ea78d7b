"""Find a device's latency table, with a progress bar where this machine is measured first."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.space.search_space import SearchSpace


def find_table(
    device: str | None, space: "SearchSpace", *, threads: int, seed: int, quiet: bool
) -> "LatencyTable | None":
    """The table of a device; None without a device.

    Raises:
        TableError: There is no such table, or it is of another space.
        DeviceError: This machine cannot be measured.
    """
    if device is None:
        return None
    from ofa_nas.cli.console import err, progress
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.pipeline.device_table import device_table

    with progress(f"measuring {device}", total=None, quiet=quiet) as bar:
        has_begun, table = False, None
        for record in device_table(device, space, threads=threads, seed=seed):
            if isinstance(record, LatencyTable):
                table = record
                continue
            if not has_begun and not quiet:
                err.print("no fresh latency table of this machine: measuring it once, which takes minutes")
            bar.move_to(record.done, total=record.total, note=f"{record.resolution} px")
            has_begun = True
    return table


def describe_table(table: "LatencyTable") -> str:
    """One or two lines: what the latencies rest on, how far off they were, and what to do about it."""
    error = table.error
    figures = f"off by {error.mape:.1%} on average and {error.p95:.1%} at the 95th percentile"
    device = f"{table.name} ({table.device.cpu}; {table.device.runtime})"
    if table.measured:
        by_macs = table.measured.errors(by_macs=True)
        count = len(table.measured.holdouts)
        figures = f"{figures} on {count} unseen subnets (MACs fitted linearly: {by_macs.mape:.1%})"
        return f"{device}: measured; {figures}"
    return (
        f"{device}: [bold]estimated[/bold] from published measurements; {figures} on networks left out. "
        "Measure your own: run ofa-nas profile on the board, and give its table to --device"
    )
