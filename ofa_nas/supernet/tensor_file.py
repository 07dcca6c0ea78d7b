"""Files of tensors that others wrote with `torch.save`: nothing but tensors is unpickled."""

import io
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ofa_nas.errors import CheckpointError
from ofa_nas.files import read_bytes

LARGEST = 2 << 30  # bytes; once-for-all's have 40 MB
# What torch.load raises for files that others made, damaged ones among them.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


def read_tensor_file(path: Path, *, what: str) -> Any:
    """Read what `torch.save` wrote, on the CPU.

    Args:
        path: Of the file.
        what: It is not when it cannot be read, for the message: `not a checkpoint of …`.

    Returns:
        Tensors, in whatever containers they are.

    Raises:
        CheckpointError: It is missing, too large, damaged, or asks for code.
    """
    return unpickle_tensors(read_bytes(path, error=CheckpointError, most=LARGEST), path, what=what)


def unpickle_tensors(content: bytes, path: Path, *, what: str) -> Any:
    """The same of content that was read; `path` is for messages."""
    try:
        if content.startswith(b"PK\3\4"):  # torch.load takes it for a zip file
            _check_unpacked(content, path, what=what)
        with warnings.catch_warnings(action="ignore"):  # of files that look like something else
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        unsafe = re.search(r"GLOBAL ([\w.]+) w", str(error), re.ASCII)
        reason = f"it asks for {unsafe[1]}" if unsafe else "it is damaged, or torch.save did not write it"
        raise CheckpointError(f"{path}: {what}: {reason}; only a dict of tensors is read") from error


def _check_unpacked(content: bytes, path: Path, *, what: str) -> None:
    """Refuse a zip file that is larger unpacked than packed: torch.save packs nothing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > len(content):
        told = f"it would unpack to {unpacked} bytes from {len(content)}"
        raise CheckpointError(f"{path}: {what}: {told}, and torch.save packs nothing")
