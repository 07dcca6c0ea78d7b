"""Optuna's storages by their addresses: a journal file, SQLite, or a database server.

Optuna runs measured search, where a trial takes seconds. It is imported here and in `study`, when needed.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_nas.errors import ConfigError, StudyError
from ofa_nas.files import check_writable

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.storages.journal import JournalFileSymlinkLock
    from sqlalchemy import URL, Engine

JOURNAL = "journal:"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+]+:", re.ASCII)  # two letters or more: one is a drive of Windows
_FIRST_WORDS = b'{"op_code":'  # of every line of a journal
LONGEST_HEAD = 4096  # bytes of a journal that are looked at before Optuna reads it
LOCK_WAIT_S = 60.0  # SQLite: how long a worker waits for the transactions of others
OPENINGS = 6  # of a database, while other workers make its tables; no more once `LOCK_WAIT_S` are over
_MADE_MEANWHILE = ("already exists", "unique constraint", "duplicate key", "database is locked")
_SQLITE = {"connect_args": {"timeout": LOCK_WAIT_S}}
# What Optuna was seen to raise for journals and databases that somebody else has written to.
_DAMAGED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
_SERVER = {"pool_pre_ping": True}  # trials are long, and idle connections are cut
_KINDS = "a file, journal:FILE, sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def open_storage(address: str) -> "BaseStorage":
    """Open a storage; files are made where there are none.

    Args:
        address: `journal:FILE` or the name of a file for Optuna's journal, else a URL of SQLAlchemy.

    Raises:
        ConfigError: There is no such kind of storage, it keeps nothing, or its driver is not installed.
        FileError: A file cannot be written.
        StudyError: It cannot be reached, or holds something else.
    """
    if address.startswith(JOURNAL):
        return _open_journal(Path(address.removeprefix(JOURNAL)))
    if _SCHEME.match(address):
        return _open_database(address)
    return _open_journal(Path(address))


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep Optuna, which logs to stderr by itself, from telling that it made a study; warnings stay."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def storage_name(address: str) -> str:
    """An address for people: without the password."""
    if address.startswith(JOURNAL) or not _SCHEME.match(address):
        return address.removeprefix(JOURNAL)[:200]
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address).render_as_string(hide_password=True)[:200]
    except (ArgumentError, ValueError):
        return address.split(":", 1)[0][:40] + ":…"


@contextmanager
def storage_refusals(name: str) -> Iterator[None]:
    """Turn what a storage raises while it is used into one error.

    Raises:
        StudyError: It cannot be read or written any more.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        raise StudyError(f"{name}: cannot be used: {_reason(error)}") from error
    except KeyError as error:
        raise StudyError(f"{name}: the study was deleted meanwhile") from error
    except _DAMAGED as error:
        raise StudyError(f"{name}: is damaged: {_reason(error)}: give another --storage") from error


def _open_journal(path: Path) -> "BaseStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    _make_room(path)
    refusal = f"{path}: holds no journal of Optuna: give another file, or sqlite:///{path} for a database"
    try:
        with path.open("ab+") as file:
            file.seek(0)
            head = file.readline(LONGEST_HEAD)
        if head and b'"op_code"' not in head and not _FIRST_WORDS.startswith(head):
            raise StudyError(refusal)
        lock = JournalFileSymlinkLock(str(path))
        _cut_torn_end(path, lock)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except OSError as error:
        raise StudyError(f"{path}: cannot be used: {_reason(error)}") from error
    except _DAMAGED as error:
        raise StudyError(refusal) from error


def _cut_torn_end(path: Path, lock: "JournalFileSymlinkLock") -> None:
    """Cut off a line that a full disk left without its end: what is written behind it would be lost, too."""
    if not _is_torn(path):
        return
    lock.acquire()
    try:
        if _is_torn(path):  # nobody is in the middle of writing it
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)
    finally:
        lock.release()


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _open_database(address: str) -> "BaseStorage":
    from optuna.exceptions import StorageInternalError
    from sqlalchemy import NullPool, make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    name = storage_name(address)
    try:
        url = make_url(address)
        url.get_dialect()
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"--storage {name}: no such kind of storage: give {_KINDS}") from error
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = _SERVER
    if is_sqlite:
        _make_room(_sqlite_file(url, name))
        options = {**_SQLITE, "poolclass": NullPool}  # Python warns of connections that nobody closes
    try:
        storage = _make_tables(address, options)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or url.get_driver_name()
        raise ConfigError(
            f"--storage {name}: the driver {missing} is not installed; for PostgreSQL: pip install "
            "'psycopg[binary]'"
        ) from error
    except (StorageInternalError, SQLAlchemyError, OSError, RuntimeError) as error:
        raise StudyError(f"{name}: cannot be used: {_reason(error)}") from error
    if is_sqlite:
        _begin_at_once(storage.engine)
    return storage


def _make_tables(address: str, options: dict[str, Any]) -> "RDBStorage":
    """Open a database, again if another worker made the same tables just then."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    end = time.monotonic() + LOCK_WAIT_S
    for attempt in range(OPENINGS - 1):
        try:
            return RDBStorage(address, engine_kwargs=dict(options))
        except (StorageInternalError, SQLAlchemyError) as error:
            told = _reason(error).lower()
            if time.monotonic() >= end or not any(sign in told for sign in _MADE_MEANWHILE):
                raise
            time.sleep(0.1 * 2**attempt)
    return RDBStorage(address, engine_kwargs=dict(options))


def _sqlite_file(url: "URL", name: str) -> Path:
    if url.database in (None, "", ":memory:"):
        raise ConfigError(f"--storage {name}: keeps nothing: name a file, such as sqlite:///study.db")
    return Path(str(url.database))


def _make_room(path: Path) -> None:
    """Make the folder of a file that can be written."""
    check_writable(path, option="--storage")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{path}: cannot be used: {_reason(error)}") from error


def _begin_at_once(engine: "Engine") -> None:
    """Let SQLite's transactions lock the file when they begin.

    It locks at the first write otherwise, so that two workers may both read that a trial waits, and both take
    it. Source: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#enabling-non-legacy-sqlite-transactional-modes-with-the-sqlite3-or-aiosqlite-driver
    """
    from sqlalchemy import event

    def leave_transactions_to_us(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # of sqlite3

    event.listen(engine, "connect", leave_transactions_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(told).strip().splitlines()[0][:300]
