"""Signals in npz files: a user's own recordings, and the samples that lie beside a supernet.

A file holds `x` (n, C, L) numbers, `y` (n,) or (n, L) labels from 0, -1 where there is none, and maybe
`person` (n,) and `class_names` (K,).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofa_nas.data import Source
from ofa_nas.data.files import check_names, listing_digest, npz_names, read_npz
from ofa_nas.data.windows import NO_LABEL, Recording, Windows, window_source
from ofa_nas.errors import DataError
from ofa_nas.files import replacing
from ofa_nas.space.limits import MOST_CHANNELS
from ofa_nas.supernet_card import LARGEST

MOST_UNNAMED = 10_000  # classes whose names are the numbers of their labels
SIGNALS, LABELS, PERSON, NAMES = "x", "y", "person", "class_names"


@dataclass(frozen=True, slots=True)
class SignalFile:
    """What one file holds.

    Attributes:
        recordings: One a row; each its own person where the file does not tell.
        length: Samples of a row.
        has_people: Whether the file tells who was recorded.
        class_names: Of the file, or the numbers of its labels.
        has_names: Whether they are those of the file.
    """

    recordings: tuple[Recording, ...]
    length: int
    has_people: bool
    class_names: tuple[str, ...]
    has_names: bool


def holds_signals(path: Path) -> bool:
    """Whether an npz file holds signals, not images."""
    return SIGNALS in npz_names(path)


def read_signals(path: Path) -> SignalFile:
    """Read a file of signals and check all of it.

    Raises:
        DataError: It is missing, damaged, or its arrays do not fit together.
    """
    present = npz_names(path)
    arrays = read_npz(path, [SIGNALS, LABELS, *(key for key in (PERSON, NAMES) if key in present)])
    signals, labels = arrays[SIGNALS], arrays[LABELS]
    if signals.ndim != 3 or signals.dtype.kind not in "fiu" or 0 in signals.shape:
        raise DataError(f"{path}: x is {signals.dtype} {signals.shape}, not numbers (n, channels, length)")
    count, channels, length = signals.shape
    if channels > MOST_CHANNELS:
        raise DataError(
            f"{path}: x has {channels} channels; expected (n, channels, length), {MOST_CHANNELS} at most"
        )
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, length)):
        raise DataError(
            f"{path}: y is {labels.dtype} {labels.shape}, not integers ({count},), or, for a label a sample, "
            f"({count}, {length})"
        )
    with np.errstate(over="ignore"):
        signals = signals.astype(np.float32)
    if not (np.abs(signals) <= LARGEST).all():  # nan is not, either
        raise DataError(f"{path}: x holds a value that is not finite, or beyond {LARGEST:.0e}")
    people = arrays.get(PERSON, np.arange(count))
    if people.shape != (count,) or people.dtype.kind not in "iu":
        raise DataError(f"{path}: person is {people.dtype} {people.shape}, not integers ({count},)")
    most = int(labels.max())
    if most == labels.min() == NO_LABEL:
        raise DataError(f"{path}: y is {NO_LABEL} everywhere: nothing is labelled")
    names = check_names(arrays[NAMES], f"{path}: {NAMES}") if NAMES in arrays else _numbers(most, path)
    if labels.min() < NO_LABEL or most >= len(names):
        wrong = most if most >= len(names) else int(labels.min())
        raise DataError(f"{path}: label {wrong} is out of range 0 to {len(names) - 1} (-1 for none)")
    every = (
        labels.astype(np.int64)
        if labels.ndim == 2
        else np.repeat(labels[:, None], length, 1).astype(np.int64)
    )
    return SignalFile(
        tuple(
            Recording(row.T, of_row, int(person))
            for row, of_row, person in zip(signals, every, people, strict=True)
        ),
        length,
        PERSON in arrays,
        names,
        NAMES in arrays,
    )


def _numbers(most: int, path: Path) -> tuple[str, ...]:
    if most >= MOST_UNNAMED:
        raise DataError(
            f"{path}: y holds the label {most}, and no class_names; expected labels from 0 to "
            f"{MOST_UNNAMED - 1}"
        )
    return tuple(str(label) for label in range(most + 1))


def read_sample(path: Path) -> Source:
    """The windows that `save_signals` wrote, as they were cut.

    Raises:
        DataError: The file is missing or damaged.
    """
    found = read_signals(path)
    return window_source(
        found.recordings,
        Windows(found.length, found.length),
        class_names=found.class_names,
        digest=listing_digest([path]),
        where=str(path),
    )


def save_signals(path: Path, source: Source, indices: NDArray[np.int64]) -> None:
    """Write windows of a split in the format of a user's own signals.

    Raises:
        FileError: The file cannot be written.
    """
    windows = [source.pixels(int(index))[0].T for index in indices]
    arrays = {
        SIGNALS: np.stack(windows).astype(np.float32),
        LABELS: source.labels[indices],
        NAMES: np.array(source.class_names),
    }
    if source.groups is not None:
        arrays[PERSON] = source.groups[indices]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes its own options for arrays
