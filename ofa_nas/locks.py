"""Locks between processes that end with whoever holds them, however it ends.

Without such locks (Windows, some network file systems) nobody is kept out: that is the user's care.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ofa_nas.errors import FileError

if sys.platform != "win32":
    import fcntl

_TURNS = 10_000  # that others may have before one's own


def lock(descriptor: int, *, is_shared: bool = False) -> None:
    """Lock an open file until its last descriptor is closed; wait for whoever has it."""
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock an open file until its last descriptor is closed; false while another process has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def try_lock_byte(descriptor: int, place: int) -> bool:
    """Lock one byte, which may lie behind the file's end, until the process closes the file or dies."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def may_be_locked(path: Path) -> bool:
    """Whether a process has a file locked, in whatever way, or nobody can tell."""
    if sys.platform == "win32":
        return False  # Windows neither renames nor removes what is open
    try:
        with path.open("rb+") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Have a file to oneself from reading it to replacing it; others wait, for moments.

    The lock is a file beside it, `.NAME.lock`, which is gone afterwards.

    Raises:
        FileError: Nothing can be written there.
    """
    if sys.platform == "win32" or not path.name:
        yield  # whoever writes refuses a file without a name
        return
    beside = path.with_name(f".{path.name}.lock")
    try:
        descriptor = _hold(beside)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)  # while it is held: who waited for it sees that it is gone
        os.close(descriptor)


def _hold(path: Path) -> int:
    """A descriptor of a lock file that is there, and that nobody else holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TURNS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        is_held = False
        try:
            lock(descriptor)
            with suppress(FileNotFoundError):
                is_held = os.path.samestat(os.fstat(descriptor), path.stat())
        finally:
            if not is_held:
                os.close(descriptor)
        if is_held:
            return descriptor
    raise FileError(f"{path}: {_TURNS} others have had it first: try again")
