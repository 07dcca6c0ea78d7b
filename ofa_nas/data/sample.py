"""Samples of a data set that ship with a supernet: original image bytes, or windows, in one npz file."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ofa_nas.arrays import Flags
from ofa_nas.data import Source
from ofa_nas.data.files import npz_names, pack_source, read_npz
from ofa_nas.data.image_files import median_side_px
from ofa_nas.data.packed import PackedImages, frame, square_pixels
from ofa_nas.data.signal_files import holds_signals, read_sample, save_signals
from ofa_nas.errors import DataError
from ofa_nas.files import replacing
from ofa_nas.supernet_card import CROP


def balanced_indices(
    labels: NDArray[np.int64], per_class: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Up to `per_class` indices of every class, drawn by `rng`, in random order of classes.

    Args:
        labels: `(n,)` int64.
        per_class: At most so many; classes with fewer give all they have.
        rng: Source of randomness.

    Returns:
        `(k,)` int64.
    """
    return _first_of_each(labels, np.full(labels.max(initial=0) + 1, per_class), rng)


def proportional_indices(
    labels: NDArray[np.int64], most: int, rng: np.random.Generator, *, counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """About `most` indices, of every class its share, at least one of each; all while there are no more.

    The number is rounded up to a multiple of the number of classes, so that classes which are equally many
    stay so, and then for each class to a whole number of images.

    Args:
        labels: `(n,)` int64.
        most: To draw, but for that rounding.
        rng: Source of randomness.
        counts: `(K,)` int64, what the classes' shares are those of.

    Returns:
        `(k,)` int64, in random order.
    """
    if len(labels) <= most:
        return _first_of_each(labels, np.full(len(counts), len(labels)), rng)
    rounded_up = -(-most // len(counts)) * len(counts)
    shares = np.rint(counts * (rounded_up / counts.sum())).astype(np.int64)
    return _first_of_each(labels, np.maximum(shares, 1), rng)


def _first_of_each(
    labels: NDArray[np.int64], per_class: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """In random order, of each class as many as are asked for, `(K,)`, or all that there are."""
    order = rng.permutation(len(labels))
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        ranks[of_class] = np.arange(len(of_class))
    return order[ranks[order] < per_class[labels[order]]]


def save_sample(path: Path, source: Source, indices: NDArray[np.int64]) -> None:
    """Write images of a split as they were encoded, and windows as they are, so that nothing is lost.

    Images of a split without encoded ones become PNG; images larger than the split is packed at are brought
    to that square and become JPEG, or a few photographs would outweigh everything else. Of a split that is
    padded or stretched all images are square, so that a sample looks the same by every fit.

    Args:
        path: `….npz`.
        source: Split.
        indices: `(k,)` int64, in the order wanted.

    Raises:
        DataError: An image cannot be read.
        FileError: The file cannot be written.
    """
    if len(indices) == 0:
        raise DataError(f"{path}: a sample needs at least one image")
    if source.axes == 1:
        save_signals(path, source, indices)
        return
    images = [np.frombuffer(_encode(source, int(index)), dtype=np.uint8) for index in indices]
    digests = b"".join(_digest(source, int(index)) for index in indices)
    offset = np.concatenate([[0], np.cumsum([len(image) for image in images])]).astype(np.int64)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            jpeg=np.concatenate(images),
            offset=offset,
            label=source.labels[indices],
            class_names=np.array(source.class_names),
            digest=np.frombuffer(digests, np.uint8).reshape(-1, 32),
        )


def load_sample(path: Path) -> Source:
    """Open a sample; nothing is decoded yet.

    Raises:
        DataError: The file is missing or damaged.
    """
    if holds_signals(path):
        return read_sample(path)
    sample = pack_source(path, names_key="class_names", size_px=1)
    return replace(sample, size_px=median_side_px(sample))


def in_sample(path: Path, source: Source) -> Flags:
    """Which images of a split stand in a sample, told by their content.

    Where images hang together, all those of a group do of which one does: of the same person, where the
    sample tells whom it is of. A sample without digests has the files of its images, unless these were larger
    than their pack.

    Args:
        path: As `save_sample` wrote it.
        source: Split; every image of it is read.

    Returns:
        `(n,)` bool.

    Raises:
        DataError: The sample is missing or damaged, or an image cannot be read.
    """
    sample = load_sample(path)
    known = _digests(path, sample)
    is_in = np.array([_digest(source, index) in known for index in range(len(source))], dtype=np.bool_)
    if source.groups is not None and len(np.unique(source.groups)) > 1:
        groups = source.groups[is_in]
        if sample.groups is not None:
            groups = np.intersect1d(groups, sample.groups)
        is_in |= np.isin(source.groups, groups)
    return is_in


def load_images(path: Path) -> PackedImages:
    """Decode a whole sample into memory.

    Raises:
        DataError: The file is missing or damaged.
    """
    return decode(load_sample(path))


def decode(source: Source) -> PackedImages:
    """Decode a split into memory, at its native size.

    Raises:
        DataError: It is empty, or an image is corrupt.
    """
    if len(source) == 0:
        raise DataError("no images to decode")
    first = frame(source, 0, size_px=source.size_px)
    images = np.empty((len(source), *first.shape), first.dtype)
    images[0] = first
    for index in range(1, len(source)):
        images[index] = frame(source, index, size_px=source.size_px)
    return PackedImages(images, source.labels, source.class_names)


def _digest(source: Source, index: int) -> bytes:
    return hashlib.sha256(source.content(index)).digest()


def _digests(path: Path, sample: Source) -> set[bytes]:
    """Of the images that a sample was made of."""
    if "digest" not in npz_names(path):
        return {_digest(sample, index) for index in range(len(sample))}
    digests = read_npz(path, ("digest",))["digest"]
    if digests.dtype != np.uint8 or digests.shape != (len(sample), 32):
        raise DataError(f"{path}: digest is {digests.dtype} {digests.shape}, not uint8 ({len(sample)}, 32)")
    return {row.tobytes() for row in digests}


def _encode(source: Source, index: int) -> bytes:
    pixels = source.pixels(index)
    height, width = pixels.shape[:2]
    side_px = min(height, width) if source.fit == CROP else max(height, width)
    is_small = side_px <= source.size_px
    if source.encoded is not None and is_small and (source.fit == CROP or height == width):
        return source.encoded(index)
    buffer = io.BytesIO()
    image = Image.fromarray(square_pixels(pixels, size_px=source.size_px, fit=source.fit))
    if source.encoded is None or is_small:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
