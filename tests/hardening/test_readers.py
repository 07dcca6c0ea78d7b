"""Whatever a file holds, it is read, or refused by one error that names it: no traceback, no hang, no flood.

`campaign.py` does the same for hours; what it found has examples of its own below.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hardening.readers import READERS
from tests.hardening.reading import Reader, fault_of

EXAMPLES = 12
PATIENCE_S = 20
every_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.name))
Samples = dict[str, Path]


@contextmanager
def impatience() -> Iterator[None]:
    """Fail where nothing comes back."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"nothing for {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def copy_of(sample: Path, folder: Path) -> Path:
    """A sample with what lies beside it, to be spoilt."""
    shutil.copytree(sample.parent, folder, dirs_exist_ok=True)
    return folder / sample.name


@every_reader
def test_a_valid_file_is_read(reader: Reader, samples: Samples, tmp_path: Path) -> None:
    reader.read(copy_of(samples[reader.name], tmp_path / "folder"))


@every_reader
def test_a_spoilt_file_is_read_or_one_error(
    reader: Reader, samples: Samples, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = copy_of(samples[reader.name], tmp_path_factory.mktemp("folder"))
    content = path.read_bytes()

    @settings(max_examples=EXAMPLES)
    @given(rng=st.randoms(use_true_random=True))
    def read_one(rng: Random) -> None:
        path.write_bytes(reader.spoilt(content, rng))
        with impatience():
            assert fault_of(reader, path) is None

    read_one()


def make_empty(path: Path) -> None:
    path.touch()


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_ring(path: Path) -> None:
    path.symlink_to(path.name)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)  # no block of it is on the disk


def make_nothing(path: Path) -> None:
    assert not path.exists()


STRANGE: tuple[Callable[[Path], object], ...] = (
    make_empty,
    make_endless,
    make_pipe,
    make_ring,
    make_huge,
    Path.mkdir,
    make_nothing,
)


@every_reader
def test_what_is_no_file_of_its_kind_is_one_error(reader: Reader, samples: Samples, tmp_path: Path) -> None:
    for number, make in enumerate(STRANGE):
        path = copy_of(samples[reader.name], tmp_path / str(number))
        path.unlink()
        make(path)
        with impatience():
            assert fault_of(reader, path) is None, make
