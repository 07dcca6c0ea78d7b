"""What a classifier takes for what: counts of images by their class and by the class that is predicted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofa_nas.accuracy import Top1
from ofa_nas.arrays import Floats


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of images by class.

    Attributes:
        counts: `(K, K)` int64, rows by the class of an image, columns by the predicted class.
        class_names: K names.
    """

    counts: NDArray[np.int64]
    class_names: tuple[str, ...]

    @classmethod
    def of(
        cls, labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: tuple[str, ...]
    ) -> "Confusion":
        """Count; labels and predictions are `(n,)` int64."""
        size = len(class_names)
        counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
        return cls(counts.astype(np.int64), class_names)

    @property
    def top_1(self) -> Top1:
        """Of all images."""
        return Top1(int(np.trace(self.counts)), int(self.counts.sum()))

    @property
    def images(self) -> NDArray[np.int64]:
        """Images of each class `(K,)`."""
        images: NDArray[np.int64] = self.counts.sum(axis=1)
        return images

    @property
    def is_balanced(self) -> bool:
        """Whether all classes that have images have equally many."""
        return len(set(self.images[self.images > 0].tolist())) <= 1

    @property
    def recall(self) -> Floats:
        """Share of the images of each class that are told as it `(K,)`; NaN for a class without images."""
        return _shares(np.diagonal(self.counts), self.images)

    @property
    def precision(self) -> Floats:
        """Share of what is told as each class that is of it `(K,)`; NaN for one that is never predicted."""
        return _shares(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images: top-1 if each had as many.

        Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", ICPR.
        """
        return float(np.nanmean(self.recall))

    def mistaken_for(self, label: int) -> list[tuple[str, int]]:
        """What images of a class are taken for instead, with how many, the most frequent first."""
        row = self.counts[label]
        order = [one for one in np.argsort(-row, kind="stable").tolist() if one != label and row[one]]
        return [(self.class_names[one], int(row[one])) for one in order]


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    """Shares `(K,)` float64, NaN of nothing."""
    shares: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares
