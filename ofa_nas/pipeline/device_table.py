"""From what a user calls a device to its latency table: shipped, a file, measured before, or measured now."""

import logging
from collections.abc import Iterator
from pathlib import Path

from ofa_nas.assets import find_asset
from ofa_nas.devices import open_device
from ofa_nas.errors import TableError
from ofa_nas.latency.profile import Progress, cached_table_path, is_fresh, profile_host
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace

HOST = "host"


def device_table(
    name: str, space: SearchSpace, *, threads: int = 1, seed: int = 0
) -> Iterator[Progress | LatencyTable]:
    """Find the table of a device; this machine is measured first when there is no fresh one.

    Args:
        name: `host`, a shipped table, or the path of a `.json` file.
        space: With the classes of the supernet.
        threads: Of ONNX Runtime; for `host` only.
        seed: Of the measurement.

    Yields:
        Progress while measuring, and the table as the last record.

    Raises:
        TableError: There is no such table, it is damaged, or it is of another space or other threads.
    """
    if name != HOST:
        found = LatencyTable.load(find_asset("latency_tables", name, suffix=".json", error=TableError))
        _check_space(found, space)
        _check_threads(found, threads)
        yield found
        return
    info = open_device(HOST).info()
    path = cached_table_path(space, info, threads=threads)
    table = _cached(path)
    if table is not None and is_fresh(table, space, info, threads=threads):
        yield table
        return
    for record in profile_host(space, threads=threads, seed=seed):
        if isinstance(record, LatencyTable):
            record.save(path)
        yield record


def _cached(path: Path) -> LatencyTable | None:
    """A table measured before; None where there is none, or one that cannot be read any more."""
    try:
        return LatencyTable.load(path) if path.is_file() else None
    except TableError as error:
        logging.getLogger(__name__).warning("%s; it is measured anew", error)
        return None


def _check_threads(table: LatencyTable, threads: int) -> None:
    if table.measured is not None and table.device.threads != threads:
        raise TableError(
            f"latency table {table.name} was measured with {table.device.threads} threads, not {threads}; "
            f"search with --threads {table.device.threads}, or measure another"
        )


def _check_space(table: LatencyTable, space: SearchSpace) -> None:
    held = table.measured
    if held is not None and held.digest != space.digest:
        raise TableError(
            f"latency table {table.name} was measured for {held.space} with {held.classes} classes; "
            f"the supernet is of {space.name} with {space.classes}: measure it with "
            f"ofa-nas profile --space {space.name} --classes {space.classes}"
        )
