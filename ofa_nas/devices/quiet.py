"""Who else works on this machine: latencies are measured while nobody does.

Workers of a measured search take turns by locks on files of the cache folder, which end with their process.
Where there are no such locks (Windows), one worker is right.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from ofa_nas.assets import cache_folder
from ofa_nas.devices import HOST, place_of
from ofa_nas.errors import FileError


@contextmanager
def working() -> Iterator[None]:
    """Work that would disturb a measurement on this machine; it waits until none is under way or wanted."""
    with _locked("turn", is_shared=True):
        pass  # who wants quiet holds the turn while others finish: work that never pauses cannot starve it
    with _locked(HOST, is_shared=True):
        yield


@contextmanager
def quiet(address: str) -> Iterator[None]:
    """Have a device to oneself: nobody here measures on it, nor works beside, if it is this machine."""
    place = place_of(address)
    if place != HOST:
        with _locked(place, is_shared=False):
            yield
        return
    with _locked("turn", is_shared=False), _locked(HOST, is_shared=False):
        yield


@contextmanager
def _locked(name: str, *, is_shared: bool) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    with _open_lock(name) as file:
        with suppress(OSError):  # a network file system without locks: nobody waits for anybody
            fcntl.flock(file.fileno(), fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        yield


def _open_lock(name: str) -> BinaryIO:
    path = cache_folder() / "locks" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}; set XDG_CACHE_HOME") from error
