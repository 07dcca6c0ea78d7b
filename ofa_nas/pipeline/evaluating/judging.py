"""What subnets and exported files say of images: how many they get right, of which classes, and which not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofa_nas.accuracy import Top1
from ofa_nas.confusion import Confusion
from ofa_nas.data import Source
from ofa_nas.data.dataset import open_like
from ofa_nas.data.sample import decode
from ofa_nas.errors import ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.ort_model import OrtModel, classify
from ofa_nas.pipeline.evaluating.evaluation import (
    Bench,
    DrawnImages,
    Network,
    draw_images,
    held_out_source,
)
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.points import named_architecture
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

VALIDATION, SPLITS = "val", ("val", "all")  # images of a data set: those not trained on, or every one
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image that was told as another class than its own.

    Attributes:
        place: Where it lies.
        label: Its class.
        predicted: What it was taken for.
    """

    place: str
    label: str
    predicted: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a subnet, or an exported file, says of images.

    Attributes:
        architecture: Its own.
        macs: Of one image.
        confusion: Of all images.
        mistakes: Images that it is wrong about, in their order.
        file: That was judged as it is; None for a subnet of a supernet.
    """

    architecture: Architecture
    macs: int
    confusion: Confusion
    mistakes: tuple[Mistake, ...] = ()
    file: Path | None = None

    @property
    def top_1(self) -> Top1:
        """Of all images."""
        return self.confusion.top_1


def evaluate(
    supernet: str | Path,
    archs: Sequence[str],
    *,
    data: str | None = None,
    split: str = VALIDATION,
    images: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[Evaluation]:
    """Extract, calibrate and evaluate subnets; judge exported files as they are.

    Args:
        supernet: Shipped name or weights file; not looked for where only files are judged on a data set.
        archs: Texts, `smallest`, `middle`, `largest`, named points of the space, or paths of `.onnx` files.
        data: Data set whose images serve; the supernet's own held-out images without.
        split: Which of its images, one of `SPLITS`.
        images: At most so many, drawn by `seed`; all without.
        seed: Of that draw.
        threads: Images at once; None for one a core.

    Raises:
        CheckpointError: The supernet or its images are missing or damaged.
        ConfigError: There is no such split, or `all` without a data set; or the networks see images by
            different fits.
        DataError: The data set has classes that the network has not.
        FileError: A file is no export of this tool.
    """
    if split not in SPLITS:
        raise ConfigError(f"--split {split[:80]}: expected {' or '.join(SPLITS)}")
    if data is None and split != VALIDATION:
        raise ConfigError(f"--split {split} chooses among the images of a data set: add --data")
    paths = {text: Path(text) for text in archs if text.endswith(ONNX_SUFFIX)}
    files = {text: _open_file(path, threads=threads) for text, path in paths.items()}
    bench = None if len(paths) == len(archs) else Bench.open(supernet, threads=threads)
    chosen = {
        text: named_architecture(bench.card.space, text) for text in archs if bench and text not in paths
    }
    networks: list[Network] = [*([bench.card] if bench else ()), *(card for _, card in files.values())]
    source = _held_out(supernet, networks) if data is None else _images_of(data, networks, split)
    drawn = draw_images(source, networks, images, seed)
    packed = decode(drawn)
    for text in archs:
        if bench and text in chosen:
            file, arch, space = bench.file_of(chosen[text]), chosen[text], bench.card.space
        else:
            file, card = files[text]
            arch, space = card.arch, card.space
        predicted = np.concatenate(list(classify(file, packed.images)))
        yield Evaluation(
            arch,
            network_macs(space, arch),
            Confusion.of(drawn.labels, predicted, drawn.class_names),
            tuple(_mistakes(drawn, predicted)),
            paths.get(text),
        )


def images_for(path: Path, data: str, *, split: str = VALIDATION) -> DrawnImages:
    """Images of a data set that an exported file is to be judged by, decoded.

    Args:
        path: Of the file.
        data: Data set.
        split: Which of its images, one of `SPLITS`.

    Raises:
        FileError: The file is no export of this tool.
        ConfigError: There is no such data set.
        DataError: It has classes that the file has not.
    """
    card = ModelCard.from_model(read_model(path), path)
    found = decode(draw_images(_images_of(data, [card], split), [card], None, 0))
    return DrawnImages(found.images, found.labels, found.class_names, data)


def _open_file(path: Path, *, threads: int | None) -> tuple[OrtModel, ModelCard]:
    model = read_model(path)
    card = ModelCard.from_model(model, path)
    return OrtModel(model, card.normalization, name=str(path), threads=threads), card


def _held_out(supernet: str | Path, networks: Sequence[Network]) -> Source:
    """Images beside a supernet, which are squared as it sees them."""
    files = SupernetFiles.find(supernet)
    source = held_out_source(files)
    _check_fits([SupernetCard.load(files.card), *networks])
    return source


def _check_fits(networks: Sequence[Network]) -> None:
    fits = sorted({network.fit for network in networks})
    if len(fits) > 1:
        raise ConfigError(
            f"the networks see images that are not square by different fits, {' and '.join(fits)}: judge "
            "them one by one, with --data"
        )


def _images_of(data: str, networks: Sequence[Network], split: str) -> Source:
    """Images of a data set for networks, in the order of the classes of the first, large enough for each.

    A file tells nothing of the images that it was trained on: the largest resolution of its space serves.
    """
    _check_fits(networks)
    found = open_like(data, networks[0])
    source = found.val if split == VALIDATION else found.whole
    for card in networks:
        size = card.image_size if isinstance(card, SupernetCard) else card.space.resolutions[-1]
        source = source.at_least(size)
    return source.for_classes(networks[0].class_names)


def _mistakes(source: Source, predicted: NDArray[np.int64]) -> Iterator[Mistake]:
    names = source.class_names
    for index in np.flatnonzero(predicted != source.labels).tolist():
        yield Mistake(source.place_of(index), names[source.labels[index]], names[predicted[index]])
