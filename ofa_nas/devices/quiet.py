"""Who else works on this machine: latencies are measured while nobody does.

Whatever measures takes turns by locks on files of the cache folder, which end with their process. Where there
are no such locks (Windows, some network file systems) nobody waits. For those who measure on a board from
elsewhere, its agent has a lock there.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

from ofa_nas.assets import cache_folder
from ofa_nas.devices import HOST, agent, describe_address, place_of
from ofa_nas.errors import FileError
from ofa_nas.locks import lock, try_lock

PATIENCE_S = 1.0  # who waits for longer says for whom
_held: set[tuple[int, str]] = set()  # threads, and the machines that they have to themselves


@contextmanager
def working() -> Iterator[None]:
    """Work that would disturb a measurement on this machine; it waits until none is under way or wanted.

    Raises:
        FileError: The cache folder cannot be written.
    """
    if (threading.get_ident(), HOST) in _held:
        yield
        return
    with _locked("turn", is_shared=True):
        pass  # who wants quiet holds the turn while others finish: work that never pauses cannot starve it
    with _locked(HOST, is_shared=True):
        yield


@contextmanager
def quiet(address: str, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Have a device to oneself: nobody here measures on it, nor works beside, if it is this machine.

    A thread that has it may ask for it again. Where the cache folder cannot be written, nobody waits.

    Args:
        address: Of the device; its user, its Python and its execution provider make no difference.
        patience_s: Who waits for longer logs which process has the device: it may hang [s].
    """
    place = _machine(address)
    mine = threading.get_ident(), place
    if mine in _held:
        yield
        return

    def tell(holder: str) -> None:
        told = "waiting for another measurement on %s: %s; if that hangs, end it"
        logging.getLogger(__name__).warning(told, describe_address(place), holder or "a process")

    with ExitStack() as locks:
        for name in ("turn", HOST) if place == HOST else (place,):
            with suppress(FileError):
                locks.enter_context(_locked(name, is_shared=False, patience_s=patience_s, tell=tell))
        _held.add(mine)
        locks.callback(_held.discard, mine)
        yield


def _machine(address: str) -> str:
    place = place_of(address)
    backend, sign, rest = place.partition("://")
    if backend != "ssh":
        return place
    return backend + sign + rest.split("/", 1)[0].rpartition("@")[2]


@contextmanager
def _locked(
    name: str,
    *,
    is_shared: bool,
    patience_s: float = PATIENCE_S,
    tell: Callable[[str], None] | None = None,
) -> Iterator[None]:
    with _open_lock(name) as file:
        if not try_lock(file.fileno(), is_shared=is_shared):
            with _told(file, patience_s, tell):
                lock(file.fileno(), is_shared=is_shared)
        yield


@contextmanager
def _told(file: BinaryIO, patience_s: float, tell: Callable[[str], None] | None) -> Iterator[None]:
    """Tell, after so long, which process has a file locked, unless the block has ended."""
    if tell is None:
        yield
        return
    timer = threading.Timer(patience_s, lambda: tell(agent.lock_holder(file.fileno())))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open_lock(name: str) -> BinaryIO:
    path = cache_folder() / "locks" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}; set XDG_CACHE_HOME") from error
