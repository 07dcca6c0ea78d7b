"""A folder of recordings of the user's own: `train.npz` and `test.npz`, or `signals.npz` with people.

The arrays are those of `ofa_nas.data.signal_files`. A row is one window, unless others are asked for.
"""

from collections.abc import Sequence
from pathlib import Path

from ofa_nas.data import Source
from ofa_nas.data.files import listing_digest
from ofa_nas.data.signal_files import SignalFile, holds_signals, read_signals
from ofa_nas.data.sources import listed, share_of, warn_once
from ofa_nas.data.windows import USUAL, Recording, Windows, window_source
from ofa_nas.errors import DataError

DEFAULT_FOLDERS: tuple[str, ...] = ()
ADDRESS = ""
CHECKSUM = ""
VAL_SHARE = 0.2  # of the people of signals.npz
_TRAIN, _TEST, _BOTH = "train.npz", "test.npz", "signals.npz"


def is_layout(root: Path) -> bool:
    """Whether a folder holds signals."""
    if (root / _BOTH).is_file():
        return True
    return (root / _TRAIN).is_file() and (root / _TEST).is_file() and holds_signals(root / _TRAIN)


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val`; every row is one window."""
    return windowed_splits(root, USUAL)


def windowed_splits(root: Path, windows: Windows) -> dict[str, Source]:
    """The splits `train` and `val`, no person on both sides, in any windows."""
    if (root / _BOTH).is_file():
        both = read_signals(root / _BOTH)
        train, val = _by_person(both, root / _BOTH)
        names, length, paths = both.class_names, both.length, [root / _BOTH]
    else:
        paths = [root / _TRAIN, root / _TEST]
        first, second = map(read_signals, paths)
        names, length = _common_names(root, first, second), first.length
        train, val = first.recordings, second.recordings
    digest = listing_digest(paths)
    found = {
        split: window_source(
            recordings,
            windows.or_usual(length) if windows.length or windows.hop else Windows(length, length),
            class_names=names,
            digest=f"{digest}-{split}",
            where=f"{root}, {split}",
        )
        for split, recordings in (("train", train), ("val", val))
    }
    _tell_empty(root, names, {label for source in found.values() for label in source.labels.tolist()})
    return found


def _tell_empty(root: Path, names: tuple[str, ...], seen: set[int]) -> None:
    """Warn of classes without a window: labels may begin at 1."""
    empty = [f"{label} (class {name!r})" for label, name in enumerate(names) if label not in seen]
    if empty:
        told = f"no window has the label {listed(empty)}"
        warn_once(f"{root}: {told}: labels count from 0, and a window lies within one")


def _by_person(found: SignalFile, path: Path) -> tuple[Sequence[Recording], Sequence[Recording]]:
    """Cut between people, by a hash of who they are: they stay on their side when others come and go.

    Of so few people that all hashes are above the share, the lowest is held out, until a lower one comes.
    """
    people = sorted({one.person for one in found.recordings}, key=lambda person: share_of(str(person)))
    if not found.has_people or len(people) < 2:
        raise DataError(
            f"{path}: expected an array `person` (n,) with 2 people or more, to be cut between them; or give "
            f"{_TRAIN} and {_TEST}. Windows of one person on both sides would make accuracies too good"
        )
    chosen = {person for person in people[:-1] if share_of(str(person)) < VAL_SHARE} or {people[0]}
    return (
        [one for one in found.recordings if one.person not in chosen],
        [one for one in found.recordings if one.person in chosen],
    )


def _common_names(root: Path, train: SignalFile, test: SignalFile) -> tuple[str, ...]:
    """The classes of both files, which must fit together in everything."""
    channels = [one.recordings[0].signals.shape[1] for one in (train, test)]
    if channels[0] != channels[1] or train.length != test.length:
        raise DataError(
            f"{root}: {_TRAIN} holds {channels[0]} channels of {train.length} samples, {_TEST} {channels[1]} "
            f"of {test.length}; both need the same"
        )
    shared = {one.person for one in train.recordings} & {one.person for one in test.recordings}
    if train.has_people and test.has_people and shared:
        raise DataError(
            f"{root}: person {min(shared)} is in both {_TRAIN} and {_TEST}; nobody may be in both"
        )
    named = [one for one in (train, test) if one.has_names] or [train, test]
    names = max((one.class_names for one in named), key=len)
    if any(
        one.class_names != names if one.has_names else len(one.class_names) > len(names)
        for one in (train, test)
    ):
        raise DataError(f"{root}: {_TRAIN} and {_TEST} name different classes")
    return names
