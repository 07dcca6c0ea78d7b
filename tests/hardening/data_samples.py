"""Valid samples of images and data sets."""

import gzip
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.conftest import WRITERS, encode
from tests.small_supernet import SmallSupernet

IDX = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4)) + bytes(range(32))


def write_data(small: SmallSupernet, path: Path) -> None:
    """Write the sample that a name and a suffix ask for, and what must lie beside it."""
    rng = np.random.default_rng(5)
    if path.stem == "image":
        image = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize((20, 24))
        image.save(path, path.suffix[1:])
    elif path.parent.name.startswith("pack"):
        folder = next((small.data.parent / "cache").rglob("pack.json")).parent
        shutil.copytree(folder, path.parent, dirs_exist_ok=True)
    elif path.name.startswith("idx"):
        path.write_bytes(gzip.compress(IDX) if path.suffix == ".gz" else IDX)
    elif path.suffix == ".npz":
        _write_arrays(path, rng)
    else:
        WRITERS["cifar10" if path.suffix == ".bin" else "tiny_imagenet"](path.parent, rng)
        if path.stem == "val_annotations":
            (path.parent / "val" / path.name).rename(path)


def _write_arrays(path: Path, rng: np.random.Generator) -> None:
    if path.stem == "exact_subset":
        pixels = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(4)
        np.savez_compressed(path, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
        return
    jpeg = [encode(rng, 64, "JPEG") for _ in range(4)]
    offset = np.cumsum([0, *map(len, jpeg)])
    names, wnid = np.array(["goldfish", "cat"]), np.array(["n01", "n02"])
    for split in ("train", "val"):
        np.savez(
            path.with_stem(split),
            jpeg=np.frombuffer(b"".join(jpeg), np.uint8),
            offset=offset,
            label=np.array([0, 1, 0, 1]),
            names=names,
            wnid=wnid,
        )
