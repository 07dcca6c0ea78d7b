"""Write images of a generator into one npz file, image by image, on several processes if wanted."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ofa_nas.data.generators import load_generator
from ofa_nas.errors import ConfigError, FileError
from ofa_nas.figures import format_bytes
from ofa_nas.files import replacing
from ofa_nas.randomness import checked_seed, rng_of

LEAST_SIZE_PX, MOST_SIZE_PX = 8, 1024
_CHUNK = 64  # images a process draws at a time
_AHEAD = 2  # chunks a process may be ahead of the writer
_BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)  # of zip files: the same command writes the same bytes


@dataclass(frozen=True, slots=True)
class SyntheticImages:
    """Which images: image `index` follows from these and `index` alone, whatever the count.

    Attributes:
        generator: As `load_generator` takes it.
        mode: Of the generator; empty where it has none.
        count: How many.
        size_px: Side of the squares.
        seed: Of all of them.
    """

    generator: str
    mode: str
    count: int
    size_px: int
    seed: int

    @classmethod
    def plan(
        cls, generator: str, *, mode: str | None, count: int, size_px: int, seed: int
    ) -> "SyntheticImages":
        """Check what a user asks for; without a mode it is the generator's usual one.

        Raises:
            ConfigError: There is no such generator or mode, or a number is out of range.
        """
        modes = load_generator(generator).MODES
        if mode is not None and mode not in modes:
            allowed = f"expected {', '.join(modes)}" if modes else "it has no modes: leave --mode out"
            raise ConfigError(f"--mode {mode[:60]}: no mode of {generator}; {allowed}")
        if not LEAST_SIZE_PX <= size_px <= MOST_SIZE_PX:
            raise ConfigError(f"--size-px {size_px}: expected {LEAST_SIZE_PX} to {MOST_SIZE_PX}")
        if count < 1:
            raise ConfigError(f"--count {count}: expected 1 or more")
        mode = mode or (modes[0] if modes else "")
        return cls(generator, mode, count, size_px, checked_seed(seed))

    def image(self, index: int) -> NDArray[np.uint8]:
        """Draw one image, `(S, S, 3)` uint8.

        Raises:
            ConfigError: The generator gives anything else, or lacks a file or the like.
        """
        rng = rng_of(self.seed, index)
        try:
            drawn: Any = load_generator(self.generator).paint(self.size_px, mode=self.mode, rng=rng)
        except OSError as error:  # not of the file that is written
            raise ConfigError(f"{self.generator} raised {type(error).__name__}: {error}") from error
        expected = (self.size_px, self.size_px, 3)
        if not isinstance(drawn, np.ndarray) or drawn.dtype != np.uint8 or drawn.shape != expected:
            found = f"{drawn.dtype} {drawn.shape}" if isinstance(drawn, np.ndarray) else type(drawn).__name__
            raise ConfigError(f"{self.generator}: paint: gave {found}; expected uint8 {expected}")
        return drawn


def write_synthetic(images: SyntheticImages, path: Path, *, workers: int = 1) -> Iterator[int]:
    """Draw images into an npz file: `images`, `(n, S, S, 3)` uint8, and `made_by`, a JSON text.

    The file appears when it is whole. No more than a few images are in memory at once.

    Args:
        images: Which.
        path: File to replace.
        workers: Processes to draw on; with more than one, a script has to guard its own main part, as with
            every process that is spawned.

    Yields:
        How many are written.

    Raises:
        FileError: The file cannot be written, or the disk has no room for it.
        ConfigError: A process cannot be started, or is killed.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (images.count, *(images.size_px,) * 2, 3)}
    _check_room(images, path)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with _member(archive, "made_by") as file:
            npy.write_array(file, np.array(json.dumps(asdict(images))), allow_pickle=False)
        with _member(archive, "images") as file, _chunks(images, workers) as chunks:
            npy.write_array_header_1_0(file, header)
            for done, content in chunks:
                file.write(content)
                yield done


def _check_room(images: SyntheticImages, path: Path) -> None:
    needed = images.count * images.size_px**2 * 3
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{path}: the {images.count} images take {format_bytes(needed)}, and {format_bytes(free)} are "
            "free: take fewer or smaller ones, or another disk"
        )


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # Not compressed: what is random does not shrink.
    return archive.open(zipfile.ZipInfo(f"{name}.npy", _BEGINNING_OF_TIME), "w", force_zip64=True)


@contextmanager
def _chunks(images: SyntheticImages, workers: int) -> Iterator[Iterator[tuple[int, bytes]]]:
    """The images' bytes in order, and how many there are up to then."""
    starts = range(0, images.count, _CHUNK)
    paint = partial(_paint, images)
    if min(workers, len(starts)) <= 1:
        yield map(paint, starts)
        return
    context = multiprocessing.get_context("spawn")
    with _blamed_on(workers):
        pool = ProcessPoolExecutor(min(workers, len(starts)), context, initializer=_follow_parent)
    try:
        yield _in_order(pool, images, starts, workers=workers)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _blamed_on(workers: int) -> Iterator[None]:
    """Tell of processes that cannot be started, or are killed, as of too many of them."""
    try:
        yield
    except BrokenProcessPool as error:
        told = "a process that draws was killed, such as for want of memory"
        raise ConfigError(f"{told}; give fewer --workers than {workers}") from error
    except OSError as error:
        told = f"cannot start {workers} processes that draw: {error.strerror or error}"
        raise ConfigError(f"{told}; give fewer --workers") from error


def _in_order(
    pool: ProcessPoolExecutor,
    images: SyntheticImages,
    starts: Iterable[int],
    *,
    workers: int,
) -> Iterator[tuple[int, bytes]]:
    """As `pool.map` does, but with few chunks drawn or waiting: the writer may be slow."""
    pending: deque[tuple[int, Future[tuple[int, bytes] | None]]] = deque()

    def first() -> tuple[int, bytes]:
        start, future = pending.popleft()
        return future.result() or _paint(images, start)

    with _blamed_on(workers):
        for start in starts:
            pending.append((start, pool.submit(_try_to_paint, images, start)))
            if len(pending) == _AHEAD * workers:
                yield first()
        while pending:
            yield first()


def _paint(images: SyntheticImages, start: int) -> tuple[int, bytes]:
    stop = min(start + _CHUNK, images.count)
    return stop, b"".join(images.image(index).tobytes() for index in range(start, stop))


def _try_to_paint(images: SyntheticImages, start: int) -> tuple[int, bytes] | None:
    """None where a generator raises: drawn again by the parent, an exception tells where it is from.

    What comes from a process has lost that, or cannot even be brought over.
    """
    try:
        return _paint(images, start)
    except Exception:  # noqa: BLE001 - the parent meets it
        return None


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is killed: a pool's process would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
