"""Which latency tables there are, shipped and measured before, and which of them a name means."""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ofa_nas.assets import asset_folder, asset_names, cache_folder, find_asset
from ofa_nas.devices import HOST, DeviceInfo, describe_threads, place_of
from ofa_nas.errors import ConfigError, FileError, TableError
from ofa_nas.files import read_bytes, read_json, write_bytes
from ofa_nas.latency.roofline import refuse_roofline
from ofa_nas.latency.table import SCHEMA, LatencyTable
from ofa_nas.latency.table_writer import table_document, write_document
from ofa_nas.latency.verification import find_other_machine
from ofa_nas.locks import changing
from ofa_nas.precisions import FP32
from ofa_nas.space.search_space import SearchSpace

_FOLDER, _SUFFIX = "latency_tables", ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_BOARD = re.compile(r"ssh://(?:[^@/]*@)?([^@/]+)(?:/.*)?", re.DOTALL)
_LOGGER = logging.getLogger(__name__)
_PORT = re.compile(r":([0-9]+)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The tables of one folder.

    Attributes:
        tables: By their files, sorted.
        damaged: Why the other files are none, by file.
    """

    tables: Mapping[Path, LatencyTable]
    damaged: Mapping[Path, TableError]

    @classmethod
    def shipped(cls) -> Self:
        """Those that came with this tool."""
        return cls._read(asset_folder(_FOLDER))

    @classmethod
    def measured(cls) -> Self:
        """Those that were measured before, in the user's cache folder."""
        return cls._read(measured_folder())

    @classmethod
    def _read(cls, folder: Path) -> Self:
        tables, damaged = {}, {}
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            try:
                tables[path] = LatencyTable.load(path)
            except TableError as error:
                damaged[path] = error
        return cls(tables, damaged)

    @property
    def names(self) -> list[str]:
        """Names of the tables, sorted, each once."""
        return sorted({table.name for table in self.tables.values()})


def measured_folder() -> Path:
    """Where tables lie that were measured without a file being named: in the user's cache folder."""
    return cache_folder() / _FOLDER


def shipped_names() -> list[str]:
    """Names of the tables that came with this tool, sorted."""
    return asset_names(_FOLDER, suffix=_SUFFIX)


def find_table(
    name: str | Path,
    *,
    space: SearchSpace | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> tuple[Path, LatencyTable]:
    """The table that a user calls so, and its file.

    Args:
        name: A path, the name of a shipped table, or that of one measured before. The shipped table of a
            device has another one for int8.
        space: That tells tables of one name apart; where none fits it, the first of that name is found.
            Without, any, and exactly one table must fit.
        precision: That tells them apart; without, any.
        threads: Likewise.

    Raises:
        TableError: There is none, there are several, it is damaged, or it is a roofline.
    """
    name = str(name)
    refuse_roofline(name)
    shipped = shipped_names()
    if name.endswith(_SUFFIX) or os.sep in name or name in shipped:
        other = f"{name}_{precision}"
        path = find_asset(_FOLDER, other if other in shipped else name, suffix=_SUFFIX, error=TableError)
        return path, LatencyTable.load(path)
    own = Shelf.measured()
    if space is not None:
        best = named_table_path(space, name, threads=threads or 1, precision=precision or FP32)
        if best in own.damaged:
            raise own.damaged[best]
    namesakes = {path: table for path, table in own.tables.items() if table.name == name}
    fitting = [one for one in namesakes.items() if is_of(one[1], precision, threads, space=space)]
    if space is not None:
        fitting = [*fitting, *namesakes.items()][:1]
    if len(fitting) == 1:
        return fitting[0]
    if namesakes:
        listed = ", ".join(f"{path} ({describe_use(table)})" for path, table in namesakes.items())
        raise TableError(
            f"{name}: {len(fitting) or 'none'} of the tables of that name fit; choose by --precision and "
            f"--threads, or give the path of one: {listed}"
        )
    address = "" if space is None else ", or the address of a device: host, ssh://USER@HOST"
    raise TableError(
        f"{name[:200]}: no such latency table; shipped: {', '.join(shipped)}; measured before: "
        f"{', '.join(own.names) or 'none'}; or give the path of a .json file{address}"
    )


def is_of(
    table: LatencyTable, precision: str | None, threads: int | None, *, space: SearchSpace | None = None
) -> bool:
    """Whether a table is of networks of a precision, timed with so many threads, of a space; None is any.

    One that does not tell its threads is of any number: who searches with it says how many are timed.
    """
    device, held = table.device, table.rows_of
    return (
        precision in (None, device.precision)
        and (device.threads is None or threads in (None, device.threads))
        and (space is None or held is None or held.digest == space.digest)
    )


def describe_use(table: LatencyTable) -> str:
    """Precision and threads of a table, for people."""
    return f"{table.device.precision}, {describe_threads(table.device.threads)}"


def named_table_path(space: SearchSpace, name: str, *, threads: int = 1, precision: str = FP32) -> Path:
    """Where a table of that name would lie in the cache folder: one for each use of threads and precision."""
    use = f"{threads}t" if precision == FP32 else f"{threads}t-{precision}"
    return measured_folder() / f"{_plain(name)}-{_plain(space.name)}-{space.digest}-{use}{_SUFFIX}"


def _plain(name: str) -> str:
    """What of a name may be part of a file's: a space of somebody else's may be called `../../x`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:80].lstrip(".")


def default_name(address: str, info: DeviceInfo) -> str:
    """How the table of a device is called without a name of its own: like the host, with the port if given.

    Args:
        address: Of the device.
        info: Of it.

    Raises:
        ConfigError: No table of a user's own may have that name.
    """
    if address == HOST:
        return info.name
    port = _PORT.search(place_of(address))
    name = f"{info.name}-{port[1]}" if port else info.name
    if name == HOST or name in shipped_names() or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{address}: its table would be called {name[:80]}, which is the name of another table or none: "
            f"measure it with ofa-nas profile --device {address} --name my-{info.name[:50]}"
        )
    return name


def check_name(name: str) -> None:
    """Refuse a name that no table of a user's own may have.

    Raises:
        ConfigError: Says why, and what would be right.
    """
    if name == HOST or name in shipped_names():
        raise ConfigError(f"--name {name}: that is the name of another table; choose one such as my-{name}")
    if not _NAME.fullmatch(name) or name.endswith(_SUFFIX):
        raise ConfigError(
            f"--name {name[:80]!r}: expected a name such as my-rpi4: at most 64 letters, digits, dots, "
            "dashes and underscores"
        )


def is_fresh(
    table: LatencyTable, space: SearchSpace, info: DeviceInfo, *, threads: int = 1, precision: str = FP32
) -> bool:
    """Whether a table was measured on this machine, runtime and space, at all of its resolutions."""
    return not why_not_fresh(table, space, info, threads=threads, precision=precision)


def why_not_fresh(
    table: LatencyTable, space: SearchSpace, info: DeviceInfo, *, threads: int = 1, precision: str = FP32
) -> str:
    """Why a table is not fresh, for people; empty where it is."""
    held = table.measured
    if held is None:
        return f"it is {table.provenance}"
    if held.digest != space.digest:
        return f"it is not of this {space.name}"
    if missing := sorted(set(space.resolutions) - set(held.resolutions)):
        return f"it has no {', '.join(map(str, missing))} px"
    if (table.device.threads, table.device.precision) != (threads, precision):
        return f"it is of {describe_use(table)}"
    if table.device.runtime != info.runtime:
        return f"its runtime was {table.device.runtime}, it is {info.runtime} now"
    return "; ".join(find_other_machine(held.environment, info.environment))


def check_replaceable(path: Path) -> None:
    """Refuse to replace a table that a newer ofa-nas made: nobody here knows what it holds.

    Raises:
        TableError: It is one.
    """
    schema: object = None
    with suppress(TableError):  # a damaged one is kept aside
        schema = read_json(path, error=TableError).get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise TableError(
            f"{path}: schema {schema!s:.20}: made by a newer ofa-nas, so it is not replaced: update "
            "this one, or measure with ofa-nas profile under another --name"
        )


def put_on_shelf(table: LatencyTable, path: Path) -> Path | None:
    """Write a measured table; one that is there and tells something else is kept aside, and that is logged.

    Args:
        table: To write.
        path: Of `named_table_path`.

    Returns:
        Where the other one is now, if there was one: `superseded-1/` beside it, under the same name.

    Raises:
        TableError: A newer ofa-nas made the one that is there, or this one could not be read again.
        FileError: It cannot be written.
    """
    aside = None
    with changing(path):
        check_replaceable(path)
        if path.is_file() and (reason := _why_kept(path, table)):
            aside = _free_place(path)
            write_bytes(aside, read_bytes(path, error=FileError))
            _LOGGER.warning("the table that was %s is %s now: %s", path, aside, reason)
        write_document(table_document(table), path)
    return aside


def _free_place(path: Path) -> Path:
    number = 1
    while (place := path.parent / f"superseded-{number}" / path.name).exists():
        number += 1
    return place


def _why_kept(path: Path, new: LatencyTable) -> str:
    """What a table in a file tells that a new one of its name does not; empty where it is measured again."""
    try:
        old = LatencyTable.load(path)
    except TableError as error:
        return f"it cannot be read ({error!s:.200})"
    if old.measured is None or new.measured is None:
        return f"it is {old.provenance}"
    if others := _find_other_device(old, new):
        return "; ".join(others)
    if old.device.runtime != new.device.runtime:
        return f"its runtime was {old.device.runtime}, it is {new.device.runtime} now"
    if lost := sorted(set(old.measured.resolutions) - set(new.measured.resolutions)):
        return f"the new one has no {', '.join(map(str, lost))} px"
    clocks = old.measured.protocol.clock, new.measured.protocol.clock
    return "" if clocks[0] == clocks[1] else f"its clock was {clocks[0]}, it is {clocks[1]} now"


def _find_other_device(old: LatencyTable, new: LatencyTable) -> tuple[str, ...]:
    """What tells that two tables are of different devices; boards of one model are told by their address.

    Where a table does not tell its address, by the host name.
    """
    assert old.measured
    assert new.measured
    then, now = old.measured.environment, new.measured.environment
    if others := find_other_machine(then, now):
        return others
    if old.address and new.address:
        return _difference("address", _board_of(old.address), _board_of(new.address))
    return _difference("host name", then.get("host_name"), now.get("host_name"))


def _difference(what: str, then: object, now: object) -> tuple[str, ...]:
    return () if then == now else (f"its {what} was {then!s:.80}, it is {now!s:.80} now",)


def _board_of(address: str) -> str:
    """What of an address tells the board: a user and a Python may change."""
    found = _BOARD.fullmatch(place_of(address))
    return found[1] if found else place_of(address)
