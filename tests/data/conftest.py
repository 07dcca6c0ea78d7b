"""Small real data sets, one writer per plug-in: true files, officially laid out."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pickles import pickled_people

WriteLayout = Callable[[str], Path]


def encode(rng: np.random.Generator, size_px: int, kind: str, *, is_grey: bool = False) -> bytes:
    """A smooth random image as file content."""
    channels = 1 if is_grey else 3
    coarse = rng.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    image = Image.fromarray(coarse[..., 0] if is_grey else coarse).resize((size_px, size_px))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_tiny_imagenet(root: Path, rng: np.random.Generator) -> None:
    wnids = ["n02", "n01", "n03"]
    write(root / "wnids.txt", "".join(f"{wnid}\n" for wnid in wnids))
    write(root / "words.txt", "n01\tgoldfish\nn02\tcat, house cat\nn03\tdog\nn09\tnot used\n")
    lines = []
    for wnid in wnids:
        for index in range(3):
            image = encode(rng, 64, "JPEG", is_grey=index == 2)
            write(root / "train" / wnid / "images" / f"{wnid}_{index}.JPEG", image)
        write(root / "val" / "images" / f"val_{wnid}.JPEG", encode(rng, 64, "JPEG"))
        lines.append(f"val_{wnid}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    write(root / "val" / "val_annotations.txt", "".join(lines))


def write_cifar10(root: Path, rng: np.random.Generator) -> None:
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        write(root / name, records.tobytes())


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_fashion_mnist(root: Path, rng: np.random.Generator) -> None:
    for prefix, count in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        write(root / f"{prefix}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
        write(root / f"{prefix}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))


def write_folder(root: Path, rng: np.random.Generator) -> None:
    for name in ("bolts", "nuts"):
        for index in range(6):
            kind = ("PNG", "JPEG", "BMP")[index % 3]
            write(root / name / f"{index}.{kind.lower()}", encode(rng, 24 + 4 * index, kind))


def write_hapt(root: Path, rng: np.random.Generator) -> None:
    write(root / "HAPT.pkl.gz", gzip.compress(pickled_people(rng)))


def write_signals(root: Path, rng: np.random.Generator) -> None:
    root.mkdir()
    for split, people in (("train", (1, 2, 3)), ("test", (4, 5))):
        np.savez(
            root / f"{split}.npz",
            x=rng.standard_normal((2 * len(people), 4, 40)),
            y=np.arange(2 * len(people)) % 2,
            person=np.repeat(people, 2),
            class_names=np.array(["still", "moving"]),
        )


WRITERS = {
    "cifar10": write_cifar10,
    "fashion_mnist": write_fashion_mnist,
    "folder": write_folder,
    "hapt": write_hapt,
    "signals": write_signals,
    "tiny_imagenet": write_tiny_imagenet,
}


@pytest.fixture
def write_layout(tmp_path: Path) -> WriteLayout:
    """Writes the small data set of a plug-in and gives its folder."""

    def write_one(name: str) -> Path:
        assert name in WRITERS, f"write a small data set for the new plug-in {name} here"
        root = tmp_path / name
        WRITERS[name](root, np.random.default_rng(len(name)))
        return root

    return write_one
