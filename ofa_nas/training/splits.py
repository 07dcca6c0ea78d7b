"""Which images train, which are looked at in reports, and which only verification ever sees."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_nas.data import DataSet, Normalization, Pixels, Source
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import DataError
from ofa_nas.randomness import checked_seed


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many images serve beside training; all are drawn by `seed`.

    Attributes:
        reports: Validation images of the reports after each epoch.
        calibration: Training images of the batch norm statistics in those reports.
        calibration_sample: Training images that are kept beside the supernet for calibration.
        held_out_sample: Validation images that are kept beside it for verification.
        seed: Of the draws.

    Raises:
        ConfigError: The seed is none.
    """

    reports: int = 1000
    calibration: int = 500
    calibration_sample: int = 600
    held_out_sample: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", checked_seed(self.seed))


def predictor_half(val: Source) -> npt.NDArray[np.int64]:
    """Indices of the half of the validation images that reports and predictors may look at."""
    return np.flatnonzero(_halves(val) == 0)


def held_out_half(val: Source) -> npt.NDArray[np.int64]:
    """Indices of the other half, that only verification looks at."""
    return np.flatnonzero(_halves(val) == 1)


def check_halves(data: DataSet) -> None:
    """Refuse validation images of which one half would be empty.

    Raises:
        DataError: Says how many there are in each half, and what is enough.
    """
    seen, held_out = len(predictor_half(data.val)), len(held_out_half(data.val))
    if seen and held_out:
        return
    what = "images" if data.val.axes == 2 else "windows"
    raise DataError(
        f"data {data.name}: of {len(data.val)} validation {what} {seen} are for reports and predictors, and "
        f"{held_out} for verification, and each needs at least one; two of one class are enough, which a "
        f"folder that is not split has where every class has two {what} or more"
    )


def _halves(val: Source) -> npt.NDArray[np.int64]:
    """0 or 1 for each image, half of every class each; the same for the same labels, whatever the seed.

    Images that hang together, as windows of one person do, stay together: every other group is 1.
    """
    labels = val.labels
    if val.groups is not None and len(np.unique(val.groups)) > 1:
        return np.unique(val.groups, return_inverse=True)[1] % 2
    halves = np.empty(len(labels), dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        halves[of_class] = (np.arange(len(of_class)) + label) % 2
    return halves


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a training reads.

    Attributes:
        train: Images and labels to learn from.
        held_out: Images and labels for the reports only.
        calibration: `(n, S, S, 3)` uint8 for batch norm statistics.
        normalization: Applied on the device.
    """

    train: PackedImages
    held_out: PackedImages
    calibration: Pixels
    normalization: Normalization


def training_data(
    train: PackedImages, val: PackedImages, sizes: SplitSizes, *, normalization: Normalization
) -> TrainingData:
    """Draw the images of the reports and of the calibration."""
    rng = np.random.default_rng([sizes.seed, 2])
    held_out = np.sort(rng.permutation(len(val))[: sizes.reports])
    calibration = rng.permutation(len(train))[: sizes.calibration]
    return TrainingData(
        train=train,
        held_out=val.subset(held_out),
        calibration=train.subset(calibration).images,
        normalization=normalization,
    )
