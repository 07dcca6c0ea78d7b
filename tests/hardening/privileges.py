"""Folders that nobody may write into, root included."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 0x20080522  # of the kernel's capget and capset: two words of 32 capabilities
_OVERRIDES = (1, 2, 3)  # of file permissions: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
_PR_CAPBSET_DROP = 24


def respect_permissions() -> None:
    """From now on, file permissions hold for this process and its children, though it be root's."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    for capability in _OVERRIDES:
        _check(libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    _check(libc.capget(header, data))
    for number in range(3):  # effective, permitted, inheritable; the second word is of other capabilities
        data[number] &= ~sum(1 << capability for capability in _OVERRIDES)
    _check(libc.capset(header, data))


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below a folder can be made, changed or removed meanwhile."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
