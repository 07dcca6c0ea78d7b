"""Folders of packs, which several processes find, make, replace and remove at once."""

import os
import secrets
import shutil
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

from ofa_nas.data import Pixels
from ofa_nas.errors import DataError
from ofa_nas.files import read_json
from ofa_nas.locks import may_be_locked, try_lock

# A folder that a killed process left behind is swept away when nobody has written to it for so long.
_ABANDONED_S = 6 * 3600
_GONE = "-gone"  # end of the name of a pack that was removed while it was open


def read_text(folder: Path, key: str) -> str:
    """What a pack says of itself; empty where there is none."""
    try:
        return str(read_json(folder / "pack.json", error=DataError)[key])
    except (DataError, KeyError):
        return ""


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds something else: a pack would replace it."""
    if (
        folder.exists()
        and not (folder / "pack.json").is_file()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise DataError(
            f"{folder}: holds something that is no pack; name a folder that is empty or not there"
        )


def put_in_place(partial: Path, folder: Path, digest: str) -> None:
    """Let a finished pack of some digest take the place of whatever pack was there."""
    with suppress(FileNotFoundError):
        _remove(folder)
    try:
        partial.rename(folder)
    except OSError:
        # Without locks, another process may have put the same pack there in the meantime.
        if read_text(folder, "digest") != digest:
            raise


def aside(folder: Path, ending: str = "") -> Path:
    """A name beside a pack that nothing else has."""
    return folder.with_name(f".{folder.name}.partial-{secrets.token_hex(4)}{ending}")


def _remove(folder: Path) -> None:
    """Remove a pack at once, so that nobody finds half of it; one that is open is swept away later."""
    gone = folder.rename(aside(folder, _GONE))
    if not may_be_locked(gone / "images.npy"):
        shutil.rmtree(gone, ignore_errors=True)


def sweep(parent: Path, pattern: str) -> None:
    """Remove what killed processes left behind, and removed packs that nobody has open any more."""
    for path in parent.glob(pattern):
        with suppress(OSError):  # another process sweeps it away, too
            if path.name.endswith(_GONE):
                is_needed = may_be_locked(path / "images.npy")
            else:
                newest = max((file.stat().st_mtime for file in path.iterdir()), default=path.stat().st_mtime)
                is_needed = time.time() - newest <= _ABANDONED_S
            if not is_needed:
                shutil.rmtree(path, ignore_errors=True)


def remove_outdated(packs: Path, origin: str) -> None:
    """Remove packs of the same split of other files, but for those that are open; see `Source.origin`."""
    sweep(packs, ".*.partial-*")
    place = origin.partition("-")[0]
    for path in packs.glob("[!.]*/images.npy"):
        theirs = read_text(path.parent, "origin")
        if place and theirs != origin and theirs.partition("-")[0] == place and not may_be_locked(path):
            with suppress(OSError):
                lock = lock_pack(path.parent)
                if lock is not None:
                    with lock:
                        _remove(path.parent)


def lock_pack(folder: Path) -> ExitStack | None:
    """Keep other processes from making or removing a pack; None while one of them does."""
    with ExitStack() as stack:
        path = folder.with_name(f".{folder.name}.lock")
        file = stack.enter_context(path.open("ab"))
        if not try_lock(file.fileno()):
            return None
        with suppress(FileNotFoundError):  # whoever had the lock took its file away at the end
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                stack.callback(_unlink, path)
                return stack.pop_all()
        return None


def _unlink(path: Path) -> None:
    with suppress(OSError):  # Windows keeps what is open
        path.unlink()


def lock_while_mapped(path: Path, images: Pixels) -> None:
    """Keep a shared lock as long as the images live: over a network, a file that is removed is lost."""
    file = path.open("rb")
    weakref.finalize(images, file.close)
    try_lock(file.fileno(), is_shared=True)
