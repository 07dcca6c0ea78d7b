"""CIFAR-10: 50,000 + 10,000 images of 10 classes, 32 px. Its Python version is pickles and is refused."""

from pathlib import Path

import numpy as np

from ofa_nas.data import Source
from ofa_nas.data.files import array_source, check_labels, listing_digest, read_bytes, read_npz
from ofa_nas.errors import DataError

DEFAULT_FOLDERS = ("cifar-10-batches-bin", "cifar10")
ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_VAL_FILES = ("test_batch.bin",)
_PYTHON_FILE = "data_batch_1"
_PACK = "exact_subset.npz"
# One byte of label, then 32 × 32 bytes of red, of green, of blue.
_RECORD_BYTES = 1 + 3 * 32 * 32


def is_layout(root: Path) -> bool:
    """Whether a folder holds CIFAR-10 in any of its versions."""
    return any((root / name).is_file() for name in (_TRAIN_FILES[0], _PACK, _PYTHON_FILE))


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val`; `val` is the official test set."""
    if (root / _PACK).is_file():
        return {"train": _pack_split(root / _PACK, "train"), "val": _pack_split(root / _PACK, "test")}
    if (root / _PYTHON_FILE).is_file() and not (root / _TRAIN_FILES[0]).is_file():
        raise DataError(
            f"{root}: this is CIFAR-10's Python version, which is pickled and could run code; "
            f"take the binary version, {ADDRESS} ({CHECKSUM})"
        )
    return {"train": _binary_split(root, _TRAIN_FILES), "val": _binary_split(root, _VAL_FILES)}


def _pack_split(path: Path, split: str) -> Source:
    arrays = read_npz(path, (f"x_{split}", f"y_{split}"))
    images = arrays[f"x_{split}"]
    labels = check_labels(arrays[f"y_{split}"], len(CLASS_NAMES), f"{path}: y_{split}")
    if images.dtype != np.uint8 or images.shape != (len(labels), 32, 32, 3):
        raise DataError(
            f"{path}: x_{split} is {images.dtype} {images.shape}, not uint8 ({len(labels)}, 32, 32, 3)"
        )
    return array_source(images, labels, CLASS_NAMES, digest=f"{listing_digest([path])}-{split}")


def _binary_split(root: Path, names: tuple[str, ...]) -> Source:
    records = np.concatenate([_read_records(root / name) for name in names])
    images = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    digest = listing_digest([root / name for name in names])
    return array_source(images, records[:, 0].astype(np.int64), CLASS_NAMES, digest=digest)


def _read_records(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    content = read_bytes(path)
    if not content or len(content) % _RECORD_BYTES:
        raise DataError(f"{path}: truncated: {len(content)} bytes is no multiple of {_RECORD_BYTES}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    check_labels(records[:, 0], len(CLASS_NAMES), str(path))
    return records
