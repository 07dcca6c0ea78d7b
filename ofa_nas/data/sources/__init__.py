"""Data sets, one file each. A plug-in is a module with the names of `SourcePlugin`."""

import hashlib
import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ofa_nas.data import Source

ATTRIBUTES = ("DEFAULT_FOLDERS", "ADDRESS", "CHECKSUM", "is_layout", "splits")


class SourcePlugin(Protocol):
    """What a module in this folder offers; `ofa_nas.data.dataset` finds it by its file name.

    One of signals may also hold `windowed_splits(root, windows)`, as `--window` and `--hop` ask for, and
    `PACKAGE`, the name of a Python package whose folder is the data set's; it is never imported.

    Attributes:
        DEFAULT_FOLDERS: Where the data set is looked for when only its name is given, below
            $OFA_NAS_DATA; an absolute folder is one that a system package fills.
        ADDRESS: Where the official archive is, for the message when it is not there.
        CHECKSUM: Of that archive, as `md5:...`; empty where there is none.
    """

    DEFAULT_FOLDERS: tuple[str, ...]
    ADDRESS: str
    CHECKSUM: str

    def is_layout(self, root: Path) -> bool:
        """Whether a folder holds this data set, told by its marker files."""

    def splits(self, root: Path) -> dict[str, Source]:
        """The splits `train` and `val` of the data set in a folder.

        Raises:
            DataError: A file is missing or wrong; the message begins with its path.
        """


def share_of(name: str) -> float:
    """A number in [0, 1) that a name alone decides, to cut a data set by."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def listed(texts: Iterable[str]) -> str:
    """The first of some texts, for a message."""
    every = list(texts)
    return ", ".join(every[:8]) + (", …" if len(every) > 8 else "")


@lru_cache(maxsize=256)
def warn_once(text: str) -> None:
    """Warn once, however often a command opens the data."""
    logging.getLogger(__name__).warning("%s", text)
