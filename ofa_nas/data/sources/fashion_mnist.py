"""Fashion-MNIST: 60,000 + 10,000 grey images of 10 classes, 28 px, given three equal channels."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ofa_nas.data import Source
from ofa_nas.data.files import array_source, check_labels, listing_digest
from ofa_nas.errors import DataError
from ofa_nas.files import LARGEST, open_regular

# The second is where Debian's package dataset-fashion-mnist puts it.
DEFAULT_FOLDERS = ("fashion-mnist", "/usr/share/datasets/fashion-mnist")
ADDRESS = "https://github.com/zalandoresearch/fashion-mnist"
CHECKSUM = ""
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PREFIX = {"train": "train", "val": "t10k"}


def is_layout(root: Path) -> bool:
    """Whether a folder holds the idx files, packed or not."""
    return any((root / f"train-images-idx3-ubyte{suffix}").is_file() for suffix in (".gz", ""))


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val`; `val` is the official test set."""
    return {split: _split(root, prefix) for split, prefix in _PREFIX.items()}


def _split(root: Path, prefix: str) -> Source:
    images_path = _find(root, f"{prefix}-images-idx3-ubyte")
    labels_path = _find(root, f"{prefix}-labels-idx1-ubyte")
    grey = read_idx(images_path, ndim=3)
    labels = check_labels(read_idx(labels_path, ndim=1), len(CLASS_NAMES), str(labels_path))
    if len(grey) != len(labels) or grey.shape[1] != grey.shape[2] or grey.shape[1] == 0:
        raise DataError(f"{images_path}: images are {grey.shape}, not ({len(labels)}, S, S) as the labels")
    images = np.broadcast_to(grey[..., None], (*grey.shape, 3))
    return array_source(images, labels, CLASS_NAMES, digest=listing_digest([images_path, labels_path]))


def _find(root: Path, name: str) -> Path:
    plain = root / name
    return plain if plain.is_file() else root / f"{name}.gz"


def _unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


def read_idx(path: Path, *, ndim: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes, gzipped or not.

    Raises:
        DataError: It is no idx file of `ndim` dimensions, or not a whole one.
    """
    try:
        with open_regular(path, error=DataError) as raw, _unpacked(raw, path) as file:
            header = file.read(4 + 4 * ndim)
            # The magic number: two zeros, 8 for unsigned bytes, the number of dimensions.
            if len(header) != 4 + 4 * ndim or header[:4] != bytes((0, 0, 8, ndim)):
                raise DataError(f"{path}: not an idx file of {ndim}-dimensional bytes")
            shape = tuple(int(side) for side in np.frombuffer(header, ">u4", offset=4))
            size = math.prod(shape)
            content = file.read(size + 1) if size <= LARGEST else b""
    except (OSError, EOFError, zlib.error, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: not a whole idx file: {error}") from error
    if len(content) != size:
        raise DataError(f"{path}: truncated, or too long: {shape} needs exactly {size} bytes")
    return np.frombuffer(content, np.uint8).reshape(shape)
