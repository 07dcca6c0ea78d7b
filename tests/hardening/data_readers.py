"""Readers of images and of data sets, as they came or packed."""

import json
from pathlib import Path

from ofa_nas.data.dataset import open_data
from ofa_nas.data.files import read_bytes
from ofa_nas.data.image_files import decode_image
from ofa_nas.data.packed import open_pack
from ofa_nas.data.sample import in_sample, load_images, load_sample
from ofa_nas.data.sources.fashion_mnist import read_idx
from tests.hardening.reading import Reader

IMAGES = ("png", "jpeg", "webp", "bmp", "gif", "tiff", "ppm")


def read_images(path: Path) -> None:
    load_images(path)
    in_sample(path, load_sample(path))


def read_image(path: Path) -> None:
    decode_image(read_bytes(path), str(path))


def read_pack(path: Path) -> None:
    open_pack(path.parent)


def read_idx_file(path: Path) -> None:
    read_idx(path, ndim=3)


def use_data(name: str, folder: Path) -> None:
    data = open_data(f"{name}={folder}")
    for split in (data.train, data.val):
        assert split.pixels(len(split) - 1).shape[2] == 3


def read_cifar(path: Path) -> None:
    use_data("cifar10", path.parent)


def read_tiny_imagenet(path: Path) -> None:
    use_data("tiny_imagenet", path.parent)


def read_annotations(path: Path) -> None:
    """The file where the layout has it: deeper than its folder."""
    place = path.parent / "val" / path.name
    place.unlink(missing_ok=True)
    place.symlink_to(path)
    use_data("tiny_imagenet", path.parent)


DATA_READERS = (
    Reader("images", "supernet.calibration.npz", read_images),
    *(Reader(kind, f"image.{kind}", read_image) for kind in IMAGES),
    Reader("pack", "pack.json", read_pack, json.loads),
    Reader("packed images", "images.npy", read_pack),
    Reader("packed labels", "labels.npy", read_pack),
    Reader("idx", "idx3-ubyte", read_idx_file),
    Reader("idx packed", "idx3-ubyte.gz", read_idx_file),
    Reader("cifar10 records", "data_batch_3.bin", read_cifar),
    Reader("cifar10 arrays", "exact_subset.npz", read_cifar),
    Reader("tiny_imagenet classes", "wnids.txt", read_tiny_imagenet),
    Reader("tiny_imagenet names", "words.txt", read_tiny_imagenet),
    Reader("tiny_imagenet labels", "val_annotations.txt", read_annotations),
    Reader("tiny_imagenet packed", "val.npz", read_tiny_imagenet),
)
