"""Open images for learning without labels: an npz file of them, a folder of them, or any data set."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_nas.data import Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.files import (
    array_source,
    file_source,
    list_images,
    listing_digest,
    read_npz,
)
from ofa_nas.data.image_files import IMAGE_SUFFIXES
from ofa_nas.errors import ConfigError, DataError

_CLASS_NAMES = ("unlabelled",)


@dataclass(frozen=True, slots=True)
class UnlabelledImages:
    """Images, and where they are from.

    Attributes:
        name: Of the file, the folder or the data set.
        source: Their labels mean nothing.
    """

    name: str
    source: Source


def open_unlabelled(text: str) -> UnlabelledImages:
    """Open images; nothing is decoded yet.

    Args:
        text: An npz file with an array `images`, `(n, S, S, 3)` uint8, as `ofa-nas data` writes; a folder
            with images right in it; or a data set as `open_data` takes it, whose training split it is then.

    Raises:
        ConfigError: There is no such file, folder or data set.
        DataError: It is damaged, or holds something else.
    """
    path = Path(text)
    if text.endswith(".npz"):
        if not os.path.lexists(path):
            raise ConfigError(f"data {text[:200]}: no such file; ofa-nas data writes one")
        return UnlabelledImages(path.name, _of_file(path))
    if _holds_images(path):
        return UnlabelledImages(path.resolve().name, _of_folder(path))
    try:
        data = open_data(text)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; without labels, an .npz file of ofa-nas data or a folder of images will do too"
        ) from error
    return UnlabelledImages(data.name, data.train)


def _of_file(path: Path) -> Source:
    images = read_npz(path, ("images",))["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (images.shape[1],) * 2 + (3,):
        raise DataError(f"{path}: images is {images.dtype} {images.shape}, not uint8 (n, S, S, 3)")
    if images.size == 0:
        raise DataError(f"{path}: holds no image")
    labels = np.zeros(len(images), dtype=np.int64)
    return array_source(images, labels, _CLASS_NAMES, digest=listing_digest([path]))


def _holds_images(folder: Path) -> bool:
    """Whether images lie right in a folder, and no sub-folder, which would be a class."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        has_folders = any(entry.is_dir() for entry in entries)
    except OSError:
        return False
    return not has_folders and any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def _of_folder(folder: Path) -> Source:
    paths = list_images(folder)
    labels = np.zeros(len(paths), dtype=np.int64)
    return file_source(paths, labels, _CLASS_NAMES)
