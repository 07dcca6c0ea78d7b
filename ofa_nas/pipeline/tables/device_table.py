"""From what a user calls a device to its latency table: shipped, a file, measured before, or measured now."""

import logging
from collections.abc import Iterator
from pathlib import Path

from ofa_nas.activity import Activity
from ofa_nas.assets import OWN_CACHE
from ofa_nas.devices import DeviceInfo, MeasuringProtocol, describe_threads, is_address, open_device
from ofa_nas.devices.quiet import quiet
from ofa_nas.errors import TableError
from ofa_nas.files import check_writable
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.shelf import (
    check_replaceable,
    default_name,
    find_table,
    named_table_path,
    put_on_shelf,
    why_not_fresh,
)
from ofa_nas.latency.table import LatencyTable
from ofa_nas.precisions import FP32, TABLE_PRECISIONS
from ofa_nas.space.search_space import SearchSpace

_LOGGER = logging.getLogger(__name__)


def device_table(
    text: str, space: SearchSpace, *, threads: int = 1, seed: int = 0, precision: str = FP32
) -> Iterator[Activity | LatencyTable]:
    """Find the table of a device; one given by its address is measured first when there is no fresh one.

    Args:
        text: An address (`host`, `ssh://…`), the path of a `.json` file, or the name of a table: a shipped
            one, or one that was measured before.
        space: With the classes of the supernet.
        threads: Of ONNX Runtime.
        seed: Of the measurement.
        precision: Of the networks, `fp32` or `int8`; the shipped table of a device has another one for int8.

    Yields:
        Activities while measuring, and the table as the last record.

    Raises:
        TableError: There is no such table, it is damaged, it is of another space, precision or number of
            threads, it is a roofline, which only ranks, or a newer ofa-nas made what would be replaced.
        FileError: A table that is to be measured cannot be written.
        ConfigError: A device that is to be measured has the name of another table.
        DeviceError: The device cannot be reached or measured.
    """
    if is_address(text):
        yield from _measure(text, space, threads=threads, seed=seed, precision=precision)
        return
    _, found = find_table(text, space=space, precision=precision, threads=threads)
    _check_space(found, space)
    _check_use(found, threads, precision)
    yield found


def _measure(
    address: str, space: SearchSpace, *, threads: int, seed: int, precision: str
) -> Iterator[Activity | LatencyTable]:
    info = open_device(address).info()
    name = default_name(address, info)
    path = named_table_path(space, name, threads=threads, precision=precision)
    table, _ = _find_fresh(path, space, info, threads=threads, precision=precision)
    if table is None:
        check_writable(path, advice=OWN_CACHE)
        with quiet(address):
            device = open_device(address)  # as it is once nobody else measures on it
            table, reason = _find_fresh(path, space, device.info(), threads=threads, precision=precision)
            if reason:
                _LOGGER.warning("%s; it is measured anew", reason)
            if table is None:  # nor has anybody measured the same meanwhile
                protocol = MeasuringProtocol(threads=threads, seed=seed)
                records = profile_device(device, space, protocol=protocol, name=name, precision=precision)
                for record in records:
                    if isinstance(record, Activity):
                        yield record
                        continue
                    table = record.measured_at(address)
                    put_on_shelf(table, path)
                    device.forget()
    assert table
    yield table


def _find_fresh(
    path: Path, space: SearchSpace, info: DeviceInfo, *, threads: int, precision: str
) -> tuple[LatencyTable | None, str]:
    """A table measured before; or None, and why one that is there cannot be used."""
    check_replaceable(path)
    try:
        table = LatencyTable.load(path) if path.is_file() else None
    except TableError as error:
        return None, str(error)
    if table is None:
        return None, ""
    reason = why_not_fresh(table, space, info, threads=threads, precision=precision)
    if not reason:
        return table, ""
    return None, f"{path} of {str(table.made_by.get('made_on', ''))[:10]} is not used: {reason}"


def _check_use(table: LatencyTable, threads: int, precision: str) -> None:
    own = table.device.precision
    if own != precision:
        measures = f" (ofa-nas profile --precision {precision} measures one)"
        advice = measures if precision in TABLE_PRECISIONS else ", of which there are none yet"
        raise TableError(
            f"latency table {table.name} is of {own} networks, and the file will be {precision}: give "
            f"--precision {own}, or a table of {precision}{advice}"
        )
    if table.device.threads not in (None, threads):  # None: the source does not say
        raise TableError(
            f"latency table {table.name} was {table.provenance} with "
            f"{describe_threads(table.device.threads)}, not {threads}; search with --threads "
            f"{table.device.threads}, or give another"
        )


def _check_space(table: LatencyTable, space: SearchSpace) -> None:
    held = table.rows_of
    if held is None or held.digest == space.digest:
        return
    advice = f"measure it with ofa-nas profile --space {space.name} --classes {space.classes}"
    if space.axes == 1:
        advice = "measure it with ofa-nas profile --supernet FILE, which tells the channels of signals too"
    if not table.measured:
        advice = "give a table of that space"
    raise TableError(
        f"latency table {table.name} was {table.provenance} for {held.space} with {held.classes} classes; "
        f"the supernet is of {space.name} with {space.classes}: {advice}"
    )
