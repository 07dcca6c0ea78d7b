"""Images and labels: a data set before and after it is decoded. No torch but in `augment` and `views`.

A signal is an image of height 1 whose pixels are samples, float32 in the units of its sensors.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ofa_nas.errors import DataError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import CROP, Fit

Pixels = NDArray[np.uint8 | np.float32]
Flip = Literal["horizontal", "none", "both"]
LONGEST_WINDOW = 9_999_999  # of signals, in samples


@dataclass(frozen=True, slots=True)
class Normalization:
    """What a network subtracts and divides by: input = (pixel − mean) / std.

    Attributes:
        mean: One value per channel, in pixel units 0 to 255, or in those of a signal.
        std: One value per channel, in the same units.

    Source: EfficientNet-Lite's released networks (mean 127, std 128) are the default.
    """

    mean: tuple[float, ...] = (127.0, 127.0, 127.0)
    std: tuple[float, ...] = (128.0, 128.0, 128.0)


@dataclass(frozen=True, slots=True)
class Jitter:
    """How far the colours of an image may change at random.

    Attributes:
        brightness: Largest share by which it grows brighter or darker, in [0, 1].
        saturation: Largest share by which its colours grow stronger or paler, in [0, 1].

    Source: the code of Cai et al. 2020, arXiv:1908.09791: colour "tf".
    """

    brightness: float = 32 / 255
    saturation: float = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """One split of a data set, its images not decoded yet.

    Attributes:
        labels: `(n,)` int64, indices into `class_names`.
        class_names: One name per class.
        size_px: Side of the squares to pack them as: their short side, the median where they differ. Of
            signals, the length of their windows in samples.
        digest: Changes when the files or their order do; packs are found by it.
        pixels: Decodes image `index` to `(H, W, 3)` uint8, or gives window `index` as `(1, L, C)` float32;
            raises DataError naming the image.
        encoded: The bytes of image `index` in its own format, where the data set has any.
        class_ids: WordNet identifiers of the classes, where the data set has them; else empty.
        axes: 2 of images, 1 of signals.
        channels: Three colours, or the sensors of a signal.
        groups: `(n,)` int64 where images hang together, as those of one person do: a cut is made between
            groups; else None.
        origin: Which split of which folder this is, a dash, and a digest of the files there; subsets keep it.
            Packs of the same split of other files are outdated. Empty where there is no folder.
        place: Where image `index` lies, for people: the path of its file; None where it has none of its own.
        fit: How images become square; see `ofa_nas.data.packed.square_pixels`.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    size_px: int
    digest: str
    pixels: Callable[[int], Pixels]
    encoded: Callable[[int], bytes] | None = None
    class_ids: tuple[str, ...] = ()
    axes: int = 2
    channels: int = 3
    groups: NDArray[np.int64] | None = None
    origin: str = ""
    place: Callable[[int], str] | None = None
    fit: Fit = CROP

    def __len__(self) -> int:
        return len(self.labels)

    def place_of(self, index: int) -> str:
        """Where image `index` lies, or its number."""
        return f"#{index}" if self.place is None else self.place(index)

    def content(self, index: int) -> bytes:
        """The file of image `index`, or its pixels where the data set has no files."""
        return self.pixels(index).tobytes() if self.encoded is None else self.encoded(index)

    def at_least(self, size_px: int) -> "Source":
        """The same, its images at least so large where they are judged or kept; windows as they are."""
        return replace(self, size_px=max(self.size_px, size_px)) if self.axes == 2 else self

    def subset(self, indices: NDArray[np.int64]) -> "Source":
        """The images of some indices.

        Args:
            indices: `(k,)` int64, in the order wanted.
        """
        chosen = np.asarray(indices, np.int64)
        pixels, encoded, place_of = self.pixels, self.encoded, self.place_of
        return replace(
            self,
            labels=self.labels[chosen],
            digest=hashlib.sha256(self.digest.encode() + chosen.tobytes()).hexdigest(),
            pixels=lambda index: pixels(int(chosen[index])),
            encoded=None if encoded is None else lambda index: encoded(int(chosen[index])),
            groups=None if self.groups is None else self.groups[chosen],
            place=lambda index: place_of(int(chosen[index])),
        )

    def for_classes(self, class_names: Sequence[str]) -> "Source":
        """The same images for a network of these classes, in whatever order; some may have no image.

        Images of a class that is not among them leave all as it is, for `check_classes` to refuse.
        """
        numbers = {name: number for number, name in enumerate(class_names)}
        if not set(self.class_names) <= set(numbers):
            return self
        own = np.array([numbers[name] for name in self.class_names], np.int64)
        ids = self.class_ids if self.class_names == tuple(class_names) else ()
        return replace(self, labels=own[self.labels], class_names=tuple(class_names), class_ids=ids)


@dataclass(frozen=True, slots=True)
class DataSet:
    """The splits of a data set; both have the same classes and no image in common.

    Attributes:
        name: Plug-in name, or the name of the user's folder.
        train: What training and calibration may see.
        val: What accuracies are reported on.
    """

    name: str
    train: Source
    val: Source

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        return self.train.class_names

    @property
    def whole(self) -> Source:
        """Every image: first those of `val`."""
        first, then = self.val, self.train

        def of(index: int) -> tuple[Source, int]:
            return (first, index) if index < len(first) else (then, index - len(first))

        def pixels(index: int) -> Pixels:
            source, own = of(index)
            return source.pixels(own)

        def content(index: int) -> bytes:
            source, own = of(index)
            return source.content(own)

        def place(index: int) -> str:
            source, own = of(index)
            return source.place_of(own)

        return replace(
            first,
            labels=np.concatenate([first.labels, then.labels]),
            size_px=max(first.size_px, then.size_px),
            digest=hashlib.sha256(f"{first.digest}{then.digest}".encode()).hexdigest(),
            pixels=pixels,
            encoded=content,
            groups=None,
            origin="",
            place=place,
        )


def check_input(source: Source, space: SearchSpace) -> None:
    """Refuse signals for a network of images, images for one of signals, and other channels than its own.

    Raises:
        DataError: Says what the data are, and what the network takes.
    """
    if source.axes != space.axes:
        what, others, shipped = (
            ("signals", "images", "conv1d")
            if source.axes == 1
            else ("images", "signals", "efficientnet_lite")
        )
        raise DataError(
            f"the data are {what}, and {space.name} takes {others}: {shipped} is a space for {what}"
        )
    if source.channels != space.channels:
        raise DataError(
            f"the data have {source.channels} channels, and the network takes {space.channels}; they must be "
            "the same"
        )


def space_for(space: SearchSpace, data: DataSet) -> SearchSpace:
    """A space with the classes of a data set, and with the channels of its signals.

    Raises:
        DataError: As `check_input` does.
    """
    own = space.with_classes(len(data.class_names))
    if data.train.axes == own.axes == 1:
        own = own.with_channels(data.train.channels)
    check_input(data.train, own)
    return own
