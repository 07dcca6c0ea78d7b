"""Recordings of sensors, cut into windows: the images of signals."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ofa_nas.data import LONGEST_WINDOW, Source
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import Fit

_SUFFIX = re.compile(r"@(\d{1,7})?(?:/(\d{1,7}))?", re.ASCII)
NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Windows:
    """How recordings are cut.

    Attributes:
        length: Samples of a window; 0 for what is usual for the data.
        hop: Samples from the start of one window to that of the next; 0 for half a window.
    """

    length: int = 0
    hop: int = 0

    def or_usual(self, length: int) -> "Windows":
        """The same, with a length and a hop."""
        length = self.length or length
        return Windows(length, self.hop or max(1, length // 2))

    def __str__(self) -> str:
        return f"@{self.length or ''}" + (f"/{self.hop}" if self.hop else "")


USUAL = Windows()


def with_windows(data: str, window: int | None, hop: int | None) -> str:
    """A data set's text with windows, `hapt@256/128`: what `--window` and `--hop` make of `--data`.

    Raises:
        ConfigError: One of them is no length, or the text has windows already.
    """
    for option, value in (("--window", window), ("--hop", hop)):
        if value is not None and not 1 <= value <= LONGEST_WINDOW:
            raise ConfigError(f"{option} {value}: expected 1 or more samples")
    if window is None and hop is None:
        return data
    if split_windows(data)[1] != USUAL:
        raise ConfigError(f"--window and --hop say again what {data[:200]!r} says: leave one of them out")
    return f"{data}{Windows(window or 0, hop or 0)}"


def split_windows(data: str) -> tuple[str, Windows]:
    """A data set's text without its windows, and these; a folder that is there has its whole name."""
    name, at, rest = data.rpartition("@")
    match = _SUFFIX.fullmatch(at + rest)
    if not at or not name or match is None or not (match[1] or match[2]):
        return data, USUAL
    if any(os.path.isdir(text) for text in (data, data.partition("=")[2])):  # noqa: PTH112 - Path would raise
        return data, USUAL
    return name, Windows(int(match[1] or 0), int(match[2] or 0))


class Trained(Protocol):
    """A network, by its card or with its weights."""

    @property
    def space(self) -> SearchSpace:
        """Its search space."""

    @property
    def data(self) -> str:
        """Name of the data set that it was trained on."""

    @property
    def fit(self) -> Fit:
        """How its images became square."""


def windows_like(data: str, network: Trained) -> str:
    """A data set's text, with the windows of a network's own data where it names none."""
    if network.space.axes == 2 or split_windows(data)[1] != USUAL:
        return data
    return f"{data}{str(split_windows(network.data)[1]).rstrip('@')}"


@dataclass(frozen=True, slots=True)
class Recording:
    """Signals that were recorded together, without a gap.

    Attributes:
        signals: `(T, C)` float32.
        labels: `(T,)` int64, indices of classes; `NO_LABEL` where nobody knows.
        person: Who was recorded.
    """

    signals: NDArray[np.float32]
    labels: NDArray[np.int64]
    person: int


def window_source(
    recordings: Sequence[Recording],
    windows: Windows,
    *,
    class_names: tuple[str, ...],
    digest: str,
    where: str,
) -> Source:
    """A split whose images are the windows of recordings; every sample of a window has the same label.

    Args:
        recordings: In the order of their windows, all of the same channels.
        windows: With a length and a hop.
        class_names: One per class.
        digest: Changes when the recordings do.
        where: Names the split in messages.

    Raises:
        DataError: Not one window fits.
    """
    length = windows.length
    places = [
        (index, start) for index, one in enumerate(recordings) for start in _starts(one.labels, windows)
    ]
    if not places:
        raise DataError(
            f"{where}: no stretch of one label is {length} samples long: take shorter windows (--window)"
        )

    def pixels(index: int) -> NDArray[np.float32]:
        recording, start = places[index]
        return recordings[recording].signals[None, start : start + length]

    return Source(
        labels=np.array([recordings[index].labels[start] for index, start in places], dtype=np.int64),
        class_names=class_names,
        size_px=length,
        digest=hashlib.sha256(f"{digest}\n{windows}".encode()).hexdigest(),
        pixels=pixels,
        axes=1,
        channels=recordings[0].signals.shape[1],
        groups=np.array([recordings[index].person for index, _ in places], dtype=np.int64),
    )


def _starts(labels: NDArray[np.int64], windows: Windows) -> list[int]:
    """Starts of the windows in each stretch of one label; the rest behind the last one is left out."""
    bounds = [0, *(1 + np.flatnonzero(np.diff(labels))).tolist(), len(labels)]
    return [
        start
        for begin, end in pairwise(bounds)
        if begin < end and labels[begin] != NO_LABEL
        for start in range(begin, end - windows.length + 1, windows.hop)
    ]
