"""Decode a split once into square uint8 images of one size, or float32 windows, memory-mapped ever after."""

import hashlib
import io
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from ofa_nas.assets import cache_folder
from ofa_nas.data import Pixels, Source
from ofa_nas.data.files import NPY_ERRORS, check_labels, read_bytes, read_npy
from ofa_nas.data.pack_folder import (
    aside,
    check_replaceable,
    lock_pack,
    lock_while_mapped,
    put_in_place,
    read_text,
    remove_outdated,
    sweep,
)
from ofa_nas.devices.agent import usable_cores
from ofa_nas.errors import DataError
from ofa_nas.figures import format_bytes
from ofa_nas.files import open_regular, read_json
from ofa_nas.supernet_card import CROP, Fit

_VERSION = 2  # in packs of before, images of 16 bits are nearly white
_CHUNK, _CHUNK_BYTES = 256, 256 << 20  # decoded at once, at most: images, and what they take
GREY = 127  # around images that are padded; 0 after the usual normalisation
_NAMED = 10  # corrupt images, at most
_WAIT_S = 0.1  # before it is asked again whether another process is done
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackedImages:
    """Decoded images of one split.

    Attributes:
        images: `(n, S, S, 3)` uint8, or `(n, 1, L, C)` float32 of signals, memory-mapped copy-on-write
            (torch takes it without a copy).
        labels: `(n,)` int64.
        class_names: One name per class.
    """

    images: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_px(self) -> int:
        """Side of the images, or length of the windows."""
        return int(self.images.shape[2])

    def subset(self, indices: NDArray[np.int64]) -> "PackedImages":
        """The images of some indices, read into memory.

        Args:
            indices: `(k,)` int64, in the order wanted.
        """
        return PackedImages(np.asarray(self.images[indices]), self.labels[indices], self.class_names)


@dataclass(frozen=True, slots=True)
class PackProgress:
    """How far packing is.

    Attributes:
        done: Images decoded so far.
        total: Images of the split.
        packed: The result, in the last record only.
    """

    done: int
    total: int
    packed: PackedImages | None = None


def default_pack_folder(source: Source, *, size_px: int) -> Path:
    """Folder of this split's pack in the user's cache."""
    return cache_folder() / "packs" / f"{pack_digest(source, size_px=size_px)[:24]}"


def pack(source: Source, folder: Path, *, size_px: int) -> PackedImages:
    """Pack a split, or open its pack; see `pack_images`."""
    packed = None
    for progress in pack_images(source, folder, size_px=size_px):
        packed = progress.packed
    assert packed is not None
    return packed


def pack_images(source: Source, folder: Path, *, size_px: int) -> Iterator[PackProgress]:
    """Decode a split into a folder, unless the folder holds just that already.

    Images become square as `source.fit` says; windows of signals are kept as they are, or brought to another
    length by linear interpolation. In the user's cache, packs of files that have changed or are gone since
    make room first, but for those that a process has open. Where another process decodes into the folder,
    this one waits for it.

    Args:
        source: Split to decode.
        folder: Becomes `images.npy`, `labels.npy` and `pack.json`, all of them or none.
        size_px: Side S of the packed images.

    Yields:
        Counts, and the packed images in the last record.

    Raises:
        DataError: Images are corrupt (ten are named), the disk has no room for the pack, or the folder cannot
            be written.
    """
    digest = pack_digest(source, size_px=size_px)
    total = len(source)
    packed = _open_same(folder, digest)
    if packed is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = lock_pack(folder)
            if lock is None:
                _LOG.warning("%s: another process decodes these images; waiting for it", folder)
            while lock is None:
                yield PackProgress(0, total)
                time.sleep(_WAIT_S)
                lock = lock_pack(folder)
            with lock:
                if read_text(folder, "digest") != digest:
                    for done in _write_pack(source, folder, digest, size_px=size_px):
                        yield PackProgress(done, total)
                packed = open_pack(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot write the pack: {error}") from error
    yield PackProgress(total, total, packed)


def pack_digest(source: Source, *, size_px: int) -> str:
    """SHA-256 of everything that decides the content of a pack."""
    text = f"{_VERSION}\n{size_px}\n{source.digest}\n{source.class_names}\n"
    digest = hashlib.sha256((text if source.fit == CROP else f"{source.fit}\n{text}").encode())
    digest.update(source.labels.tobytes())
    return digest.hexdigest()


def open_pack(folder: Path) -> PackedImages:
    """Open a pack without reading its images.

    Raises:
        DataError: The folder holds no whole pack.
    """
    try:
        description = read_json(folder / "pack.json", error=DataError)
        class_names = tuple(str(name) for name in description["class_names"])
        size_px = int(description["size_px"])
        channels = int(description.get("channels", 0))  # of signals
        with open_regular(folder / "images.npy", error=DataError):
            images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        lock_while_mapped(folder / "images.npy", images)
        content = read_bytes(folder / "labels.npy")
        labels = read_npy(io.BytesIO(content), str(folder / "labels.npy"), size=len(content))
    except (DataError, *NPY_ERRORS) as error:
        raise DataError(
            f"{folder}: not a whole pack: {error!s:.300}; delete the folder to have it made anew"
        ) from error
    labels = check_labels(labels, len(class_names), str(folder / "labels.npy"))
    dtype = np.dtype(np.float32 if channels else np.uint8)
    expected = (len(labels), *((1, size_px, channels) if channels else (size_px, size_px, 3)))
    if images.dtype != dtype or images.shape != expected:
        raise DataError(
            f"{folder / 'images.npy'}: {images.dtype} {images.shape}, not {dtype} {expected!s:.200}"
        )
    return PackedImages(images, labels, class_names)


def _open_same(folder: Path, digest: str) -> PackedImages | None:
    """The pack of a digest, if it lies there, whatever other processes replace or remove meanwhile."""
    if read_text(folder, "digest") != digest:
        return None
    try:
        packed = open_pack(folder)
    except DataError:
        if read_text(folder, "digest") == digest:
            raise
        return None
    return packed if read_text(folder, "digest") == digest else None


def frame(source: Source, index: int, *, size_px: int) -> Pixels:
    """Image `index` as a square `(S, S, 3)` uint8, or window `index` as `(1, S, C)` float32.

    Raises:
        DataError: It is corrupt, or its source gives something else.
    """
    pixels = source.pixels(index)
    wanted = (*pixels.shape[:2], 3) if source.axes == 2 else (1, *pixels.shape[1:2], source.channels)
    if pixels.shape != wanted or (source.axes == 2 and pixels.dtype != np.uint8):
        expected = "uint8 (H, W, 3)" if source.axes == 2 else f"(1, L, {source.channels})"
        raise DataError(f"image {index} is {pixels.dtype} {pixels.shape}, not {expected}")
    if source.axes == 1:
        return _stretch(pixels, length=size_px)
    return square_pixels(pixels, size_px=size_px, fit=source.fit)


def _stretch(window: Pixels, *, length: int) -> NDArray[np.float32]:
    """A window `(1, L, C)` at another length, by linear interpolation between the centres of samples."""
    old = window.shape[1]
    if old == length:
        return window.astype(np.float32, copy=False)
    places = (np.arange(length) + 0.5) * (old / length) - 0.5
    columns = [np.interp(places, np.arange(old), channel) for channel in window[0].T]
    return np.stack(columns, axis=1).astype(np.float32)[None]


def square_pixels(pixels: Pixels, *, size_px: int, fit: Fit = CROP) -> Pixels:
    """Resize (bilinear, antialiased) to a square.

    Args:
        pixels: `(H, W, 3)` uint8.
        size_px: Side S of the result.
        fit: `crop` takes the central square, `pad` the whole image in the middle of a square of `GREY`, and
            `stretch` scales width and height each to S. Square images are the same by all three.

    Returns:
        `(S, S, 3)` uint8.
    """
    height, width = pixels.shape[:2]
    if height == width == size_px:
        return pixels
    image = Image.fromarray(pixels)
    if fit == "pad":
        return _pad(image, size_px)
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side) if fit == CROP else None
    return np.asarray(image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box))


def _pad(image: Image.Image, size_px: int) -> Pixels:
    """As Pillow's `ImageOps.pad` does, but that a very narrow image keeps a pixel."""
    longest = max(image.size)
    width, height = (max(1, round(side / longest * size_px)) for side in image.size)
    left, top = round((size_px - width) / 2), round((size_px - height) / 2)
    square = np.full((size_px, size_px, 3), GREY, np.uint8)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    square[top : top + height, left : left + width] = np.asarray(resized)
    return square


def _write_pack(source: Source, folder: Path, digest: str, *, size_px: int) -> Iterator[int]:
    check_replaceable(folder)
    sweep(folder.parent, f".{folder.name}.partial-*")
    if folder == default_pack_folder(source, size_px=size_px):
        remove_outdated(folder.parent, source.origin)
    partial = aside(folder)
    partial.mkdir()
    try:
        yield from _write_images(source, partial / "images.npy", size_px=size_px)
        np.save(partial / "labels.npy", source.labels, allow_pickle=False)
        description = {
            "version": _VERSION,
            "digest": digest,
            "size_px": size_px,
            "class_names": source.class_names,
            "origin": source.origin,
        }
        if source.axes == 1:
            description["channels"] = source.channels
        (partial / "pack.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        put_in_place(partial, folder, digest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _blank(source: Source, *, size_px: int) -> Pixels:
    """What an image or a window becomes, of no content."""
    if source.axes == 2:
        return np.empty((size_px, size_px, 3), np.uint8)
    return np.empty((1, size_px, source.channels), np.float32)


def _write_images(source: Source, path: Path, *, size_px: int) -> Iterator[int]:
    # Written, not memory-mapped: a full disk must be an error and not a bus fault.
    total = len(source)
    blank = _blank(source, size_px=size_px)
    header = {
        "descr": npy.dtype_to_descr(blank.dtype),
        "fortran_order": False,
        "shape": (total, *blank.shape),
    }
    needed, free = total * blank.nbytes, shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"{path.parent.parent}: the {total} images take {format_bytes(needed)} decoded, and "
            f"{format_bytes(free)} are free: free some, set XDG_CACHE_HOME to a folder of a larger "
            "disk, or take smaller images"
        )

    def decode(index: int) -> Pixels | str:
        try:
            return frame(source, index, size_px=size_px)
        except DataError as error:
            return str(error)  # the error itself would keep the content of its file in memory

    corrupt: list[str] = []
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // blank.nbytes))
    with path.open("wb") as file, ThreadPoolExecutor(usable_cores()) as pool:
        npy.write_array_header_1_0(file, header)
        for start in range(0, total, chunk):
            indices = range(start, min(start + chunk, total))
            for one in pool.map(decode, indices):
                if isinstance(one, str):
                    corrupt.append(one)
                elif not corrupt:
                    file.write(one.tobytes())
            yield indices.stop
        if len(corrupt) > 1:
            told = "; ".join(corrupt[:_NAMED]) + ("; …" if len(corrupt) > _NAMED else "")
            raise DataError(f"{len(corrupt)} of {total} images cannot be read: {told}")
        if corrupt:
            raise DataError(corrupt[0])
        file.flush()
        os.fsync(file.fileno())
