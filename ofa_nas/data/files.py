"""Read what data sets are made of: listings, npz packs. Whatever is wrong is one DataError."""

import binascii
import hashlib
import lzma
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ofa_nas import files
from ofa_nas.data import Source
from ofa_nas.data.image_files import IMAGE_SUFFIXES, decode_image, median_side_px
from ofa_nas.errors import DataError

LARGEST_UNPACKED, MOST_PACKED = (
    256 << 20,
    100,
)  # bytes of an array, or so many times what it takes in the file
# Photographs are larger than any network's input; packs of more than this would only cost disk.
MAX_SIZE_PX = 256
_PIECE = 1 << 20  # bytes that are read at a time
NPY_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    binascii.Error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
)


def read_bytes(path: Path) -> bytes:
    """The content of a file; DataError when it cannot be read."""
    return files.read_bytes(path, error=DataError)


def read_lines(path: Path) -> list[str]:
    """The lines of an UTF-8 text; DataError when it cannot be read, or holds NUL, which no name may."""
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from error
    if "\0" in text:
        raise DataError(f"{path}: not UTF-8 text: it holds the character NUL")
    return text.splitlines()


def list_folder(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name, without hidden files; DataError when it is missing."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from error


def list_images(folder: Path) -> list[Path]:
    """The images right in a folder, told by their suffix, sorted by name.

    Raises:
        DataError: There is none.
    """
    named = (path for path in list_folder(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = [path for path in named if not path.is_dir()]
    if not paths:
        raise DataError(f"{folder}: an empty class: no image ({' '.join(sorted(IMAGE_SUFFIXES))}) in it")
    return paths


def listing_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over sizes, times and paths, however these are spelled; cheap, and changes when a file does."""
    digest = hashlib.sha256()
    resolved: dict[Path, Path] = {}
    for path in paths:
        folder = path.parent
        try:
            status = path.stat()
            if folder not in resolved:
                resolved[folder] = folder.resolve()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        place = resolved[folder] / path.name
        digest.update(f"{place}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def read_npz(path: Path, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of an npz file, never unpickling and never allocating more than the file holds.

    Raises:
        DataError: A key is missing, an array holds objects, or the file is damaged.
    """
    arrays = {}
    try:
        with files.open_regular(path, error=DataError) as file, zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            for key in keys:
                if f"{key}.npy" not in names:
                    raise DataError(f"{path}: no array {key!r}; it holds {', '.join(sorted(names))[:200]}")
                arrays[key] = _read_member(archive, f"{key}.npy", path)
    except NPY_ERRORS as error:
        raise DataError(f"{path}: not a whole npz file: {error!s:.200}") from error
    return arrays


def npz_names(path: Path) -> frozenset[str]:
    """Names of the arrays of an npz file.

    Raises:
        DataError: It is missing or no npz file.
    """
    try:
        with files.open_regular(path, error=DataError) as file, zipfile.ZipFile(file) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except NPY_ERRORS as error:
        raise DataError(f"{path}: not a whole npz file: {error}") from error


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    entry = archive.getinfo(name)
    if entry.file_size > max(LARGEST_UNPACKED, MOST_PACKED * entry.compress_size):
        raise DataError(
            f"{path}: {name} would be {entry.file_size} bytes, {MOST_PACKED} times its packed size"
        )
    with archive.open(entry) as member:
        return read_npy(member, f"{path}: {name}", size=entry.file_size)


def read_npy(file: IO[bytes], where: str, *, size: int) -> NDArray[Any]:
    """Read an array, never unpickling and never allocating more than the file holds.

    Args:
        file: At its beginning.
        where: It is, for messages.
        size: Of all of it [bytes].

    Raises:
        DataError: It holds objects, is cut short, or does not fit into memory.
        Exception: One of `NPY_ERRORS`: it is no array.
    """
    # numpy's own reader allocates what the header claims before it looks at the file.
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects; only plain numbers and text are read")
    expected, held, done = dtype.itemsize, size - file.tell(), 0
    for side in shape:
        expected *= side
    if expected != held:
        raise DataError(f"{where} is truncated: {held} of {expected} bytes")
    try:
        content = np.empty(expected, dtype=np.uint8)
    except MemoryError as error:
        raise DataError(f"{where}: memory is too short for its {expected} bytes") from error
    while part := file.read(_PIECE):  # all at once, a zip file's member would be in memory twice
        content[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    if done != expected:
        raise DataError(f"{where} is truncated: {done} of {expected} bytes")
    content.flags.writeable = False
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def check_labels(labels: NDArray[Any], class_count: int, where: str) -> NDArray[np.int64]:
    """Labels as int64, after a check that they are `(n,)` integers in [0, class_count), n > 0."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0:
        raise DataError(f"{where}: labels are {labels.dtype} {labels.shape}, not integers (n,) with n > 0")
    wrong = np.flatnonzero((labels < 0) | (labels >= class_count))
    if len(wrong):
        raise DataError(
            f"{where}: label {labels[wrong[0]]} of image {wrong[0]} is out of range 0 to {class_count - 1}"
        )
    return labels.astype(np.int64)


def check_names(names: NDArray[Any], where: str) -> tuple[str, ...]:
    """Class names, after a check that they are fixed-width text `(K,)`."""
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) == 0:
        raise DataError(f"{where}: class names are {names.dtype} {names.shape}, not text (K,)")
    return writable_names((str(name) for name in names), where)


def writable_names(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Class names, after a check that they are whole letters: they stand in JSON, ONNX and npz files."""
    found = tuple(names)
    for name in found:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{where}: the class name {name!r:.80} is not UTF-8: rename it") from error
    return found


def file_source(
    paths: list[Path], labels: NDArray[np.int64], class_names: tuple[str, ...], *, size_px: int | None = None
) -> Source:
    """A split whose images are files.

    Args:
        paths: n image files.
        labels: `(n,)` int64.
        class_names: One per class.
        size_px: Native short side; None for the median of the images, at most `MAX_SIZE_PX`.
    """
    source = Source(
        labels=labels,
        class_names=class_names,
        size_px=size_px or MAX_SIZE_PX,
        digest=listing_digest(paths),
        pixels=lambda index: decode_image(read_bytes(paths[index]), str(paths[index])),
        encoded=lambda index: read_bytes(paths[index]),
        place=lambda index: str(paths[index]),
    )
    return source if size_px else replace(source, size_px=min(median_side_px(source), MAX_SIZE_PX))


def array_source(
    images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: tuple[str, ...], *, digest: str
) -> Source:
    """A split whose images are decoded already.

    Args:
        images: `(n, S, S, 3)` uint8.
        labels: `(n,)` int64.
        class_names: One per class.
        digest: Changes when the file does.
    """
    return Source(
        labels=labels,
        class_names=class_names,
        size_px=images.shape[1],
        digest=digest,
        pixels=lambda index: images[index],
    )


class _JpegBytes:
    """The array `jpeg` of a pack, read once whichever thread asks first."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length
        self._lock = threading.Lock()
        self._content: NDArray[np.uint8] | None = None

    def read(self) -> NDArray[np.uint8]:
        with self._lock:
            if self._content is None:
                content = read_npz(self._path, ("jpeg",))["jpeg"]
                if content.ndim != 1 or content.dtype != np.uint8:
                    raise DataError(
                        f"{self._path}: jpeg is {content.dtype} {content.shape}, not uint8 (bytes,)"
                    )
                if len(content) < self._length:
                    raise DataError(
                        f"{self._path}: jpeg is truncated: {len(content)} of {self._length} bytes"
                    )
                self._content = content
            return self._content


def pack_source(path: Path, *, names_key: str, size_px: int) -> Source:
    """A split in one npz file of encoded images: `jpeg` bytes, `offset` (n + 1,), `label` (n,), names (K,).

    The bytes are read when the first image is asked for: with a pack of decoded images nobody waits for them.

    Args:
        path: The npz file.
        names_key: Key of the class names.
        size_px: Native short side.

    Raises:
        DataError: The file is damaged or its arrays do not fit together.
    """
    arrays = read_npz(path, ("offset", "label", names_key))
    offset = arrays["offset"]
    class_names = check_names(arrays[names_key], f"{path}: {names_key}")
    labels = check_labels(arrays["label"], len(class_names), str(path))
    if offset.shape != (len(labels) + 1,) or offset.dtype.kind not in "iu":
        raise DataError(f"{path}: offset is {offset.dtype} {offset.shape}, not integers ({len(labels) + 1},)")
    bounds = offset.astype(np.int64)
    if bounds[0] < 0 or np.any(bounds[1:] < bounds[:-1]):
        raise DataError(f"{path}: offset does not ascend from 0")
    jpeg = _JpegBytes(path, int(bounds[-1]))

    def encoded(index: int) -> bytes:
        return jpeg.read()[bounds[index] : bounds[index + 1]].tobytes()

    return Source(
        labels=labels,
        class_names=class_names,
        size_px=size_px,
        digest=listing_digest([path]),
        pixels=lambda index: decode_image(encoded(index), f"{path}: image {index}"),
        encoded=encoded,
    )
