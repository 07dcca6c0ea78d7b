"""Locks between processes that end with whoever holds them, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ofa_nas.errors import FileError

_TURNS = 10_000  # that others may have before one's own


def try_lock(descriptor: int) -> bool:
    """Lock an open file until its last descriptor is closed; false while another process has it.

    Without such locks (Windows, some network file systems) nobody is kept out: that is the user's care.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Have a file to oneself from reading it to replacing it; others wait, for moments.

    The lock is a file beside it, `.NAME.lock`, which is gone afterwards.

    Raises:
        FileError: Nothing can be written there.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:
        yield
        return
    if not path.name:
        yield  # whoever writes refuses it
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        descriptor = _hold(lock)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who waited for it sees that it is gone
        os.close(descriptor)


def _hold(lock: Path) -> int:
    """A descriptor of a lock file that is there, and that nobody else holds."""
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TURNS):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        is_held = False
        try:
            with suppress(OSError):  # a network file system without locks: nobody waits for anybody
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                is_held = os.path.samestat(os.fstat(descriptor), lock.stat())
        finally:
            if not is_held:
                os.close(descriptor)
        if is_held:
            return descriptor
    raise FileError(f"{lock}: {_TURNS} others have had it first: try again")
