"""Really measured accuracies of subnets: as counted, and their noise."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np

from ofa_nas.arrays import Flags, Floats, Index

Z_90 = 1.645  # of a normal distribution: 90 % two-sided, 95 % one-sided
MOST_IMAGES = 10**12  # of one evaluation
LEAST_HALVES = 8  # samples that tell how noisy they are
Count = TypeVar("Count", float, Floats)


@dataclass(frozen=True, slots=True)
class Top1:
    """Top-1 as counted: of how many images the class was right."""

    correct: int
    images: int

    @property
    def accuracy(self) -> float:
        """Fraction in [0, 1]."""
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 90 % interval that the number of images leaves."""
        return wilson_interval(self.correct, self.images)

    @property
    def half_width(self) -> float:
        """Half of that interval; its middle is not `accuracy` but nearer to a half."""
        low, high = self.interval
        return (high - low) / 2.0


@dataclass(frozen=True, slots=True)
class AccuracySample:
    """One subnet, evaluated for real.

    Attributes:
        arch: Text of the architecture.
        correct: Images whose top-1 class was right.
        images: Images looked at.
        split: Data set and draw of the images, such as `tiny_imagenet/predictor, seed 0`.
        calibration: How its batch norm was calibrated, such as `2048 images, seed 0`.
        supernet: Digest of the weights it was cut from.
        correct_even: Of `correct`, those among the images 0, 2, 4, …; -1 where nobody counted them.
        digest: Of the images and of those of the calibration; empty in files from before there was one.
    """

    arch: str
    correct: int
    images: int
    split: str
    calibration: str = ""
    supernet: str = ""
    correct_even: int = -1
    digest: str = ""

    @property
    def accuracy(self) -> float:
        """Top-1 as a fraction."""
        return self.correct / self.images

    @property
    def data(self) -> str:
        """Name of the data set that the images are of."""
        return self.split.rpartition("/")[0]

    @property
    def draw(self) -> tuple[str, int, str]:
        """Which images and calibration it names; whether they are those of another sample, digests tell."""
        return self.split, self.images, self.calibration

    @property
    def variance(self) -> float:
        """Variance of `accuracy` that comes from the choice of images: binomial, never zero."""
        return binomial_variance(float(self.correct), self.images)

    @property
    def halves(self) -> tuple[float, float] | None:
        """Top-1 on every other image, and on those between; None where nobody counted them."""
        if self.correct_even < 0 or self.images < 2:
            return None
        odd = self.images // 2
        return self.correct_even / (self.images - odd), (self.correct - self.correct_even) / odd

    @property
    def unmeasured(self) -> "AccuracySample":
        """Which evaluation this is, without what it found."""
        return replace(self, correct=0, correct_even=-1)

    def is_alike(self, other: "AccuracySample") -> bool:
        """Whether weights, images and calibration are those of another sample, as far as it tells.

        One without a digest may be of any images of that name.
        """
        own, others = (replace(one.unmeasured, arch="", digest="") for one in (self, other))
        return own == others and self.digest in ("", other.digest)


def of_one_data_set(samples: Sequence[AccuracySample], own: str) -> list[AccuracySample]:
    """Samples on images of one data set: of `own` where there are any, else of the one with most samples.

    Of two data sets of one name, whose digests differ for one draw, it is the one with more samples.
    """
    counts = Counter(sample.data for sample in samples)
    data = own if own in counts else max(counts, key=counts.__getitem__, default="")
    named = [sample for sample in samples if sample.data == data]
    seen = Counter((sample.draw, sample.digest) for sample in named if sample.digest)
    usual = dict(draw for draw, _ in reversed(seen.most_common()))
    return [sample for sample in named if sample.digest in ("", usual.get(sample.draw))]


def one_of_each(samples: Sequence[AccuracySample]) -> list[AccuracySample]:
    """One sample of each architecture: of most images, the latest of equals.

    Args:
        samples: Of the same weights.
    """
    best: dict[str, AccuracySample] = {}
    for sample in samples:
        if sample.arch not in best or sample.images >= best[sample.arch].images:
            best[sample.arch] = sample
    return list(best.values())


def wilson_interval(correct: int, images: int, *, z: float = Z_90) -> tuple[float, float]:
    """Ends of the interval of a share that `correct` of `images` leave, within [0, 1].

    It holds near 0 and 1 too, where the usual normal one is too narrow, or even empty.

    Args:
        correct: 0 to `images`.
        images: 1 or more.
        z: Quantile of the normal distribution; the default is that of 90 %, two-sided.

    Source: Wilson 1927, Journal of the American Statistical Association 22(158): 209-212.
    """
    share, shrink = correct / images, z * z / images
    centre = (share + shrink / 2.0) / (1.0 + shrink)
    half = z * math.sqrt((share * (1.0 - share) + shrink / 4.0) / images) / (1.0 + shrink)
    return max(0.0, centre - half), min(1.0, centre + half)


def binomial_variance(correct: Count, images: int) -> Count:
    """Variance of a share of images, `correct` of `images` (numbers or `(n,)`), that their choice makes.

    Source: Agresti and Coull 1998, The American Statistician 52(2): two right and two wrong added.
    """
    share = (correct + 2.0) / (images + 4.0)
    return share * (1.0 - share) / images


def own_noise(samples: Sequence[AccuracySample]) -> float | None:
    """Standard deviation of measuring that each subnet has of its own, a fraction; None where unknown.

    Subnets that are measured on the same images share most of the luck of that draw, and ranks do not feel
    that part. Two halves of the images share the subnets, not the luck: from subnet to subnet their
    accuracies differ by twice the noise of the whole.

    It is no lower end of what a predictor misses on these images: luck that varies smoothly with the
    architecture is learnt with the rest.
    """
    halves = np.array([sample.halves for sample in samples if sample.halves is not None])
    if len(halves) < LEAST_HALVES:
        return None
    return float(np.std(halves[:, 0] - halves[:, 1], ddof=1) / 2.0)


@dataclass(frozen=True, slots=True)
class Halves:
    """Accuracies of subnets on every other image, and on those between.

    Attributes:
        even: `(n,)` fractions.
        odd: `(n,)` fractions, moved by the luck that all subnets share, so that the means are the same.
    """

    even: Floats
    odd: Floats

    @classmethod
    def of(cls, samples: Sequence[AccuracySample]) -> Self | None:
        """Those of samples; None where somebody did not count them, or of too few."""
        found = [sample.halves for sample in samples if sample.halves is not None]
        if len(found) < max(LEAST_HALVES, len(samples)):
            return None
        even, odd = np.array(found).T
        return cls(even, np.clip(odd + even.mean() - odd.mean(), 0.0, 1.0))

    def take(self, index: Index | Flags) -> "Halves":
        """Some of the subnets."""
        return Halves(self.even[index], self.odd[index])

    def own_squares(self, by_even: Floats, by_odd: Floats) -> Floats:
        """Squared errors of predictions, less the noise of measuring: `(n,)`, of which the mean is unbiased.

        What was fitted to one half has learnt none of the luck of the other, by which it is judged. The error
        is that of the mean of both predictions, which has seen all images, against what infinitely many would
        show.

        Args:
            by_even: `(n,)` predictions of these subnets by others on the even images.
            by_odd: `(n,)` predictions by others on the odd images.

        Source: Krogh and Vedelsby 1994, NeurIPS 7, equation 6 (error of a mean, from errors and ambiguity).
        """
        crossed = ((by_even - self.odd) ** 2 + (by_odd - self.even) ** 2) / 2.0
        return crossed - (by_even - by_odd) ** 2 / 4.0 - (self.even - self.odd) ** 2 / 2.0


@dataclass(frozen=True, slots=True)
class Draw:
    """Images that many subnets were evaluated on, and how much of the luck of their draw is shared.

    Attributes:
        images: That each subnet was evaluated on.
        subnets: How many there were.
        own_share: Share of the binomial variance that is a subnet's own (`own_noise`), while the rest lifts
            or lowers all of them; None where nobody knows.
    """

    images: int
    subnets: int
    own_share: float | None

    @classmethod
    def of(cls, samples: Sequence[AccuracySample]) -> Self:
        """That of samples; of several numbers of images the harmonic mean, as variances go."""
        images = round(len(samples) / sum(1.0 / sample.images for sample in samples))
        noise = own_noise(samples)
        if noise is None:
            return cls(images, len(samples), None)
        binomial = np.mean([sample.variance for sample in samples if sample.halves is not None])
        return cls(images, len(samples), min(1.0, noise**2 / float(binomial)))

    def shared_variance(self, accuracies: Floats) -> Floats:
        """Variance of accuracies `(n,)` that all subnets share; all of it where nobody knows."""
        own = 0.0 if self.own_share is None else self.own_share
        return (1.0 - own) * binomial_variance(accuracies * self.images, self.images)
