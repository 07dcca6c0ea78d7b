"""The samples of a supernet's present weights, one an architecture and all on one data set."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Self

from ofa_nas.accuracy import AccuracySample, of_one_data_set, one_of_each
from ofa_nas.errors import CheckpointError
from ofa_nas.predictors import (
    Observations,
)
from ofa_nas.sample_store import SampleStore
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet_card import SupernetCard, SupernetFiles


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Samples of a supernet's present weights, one an architecture and all on one data set.

    Attributes:
        files: The supernet's.
        card: What is known of it.
        encoding: Of its space.
        samples: In the order in which they were stored.
        observations: The same as genes and numbers.
    """

    files: SupernetFiles
    card: SupernetCard
    encoding: Encoding
    samples: tuple[AccuracySample, ...]
    observations: Observations

    @classmethod
    def load(cls, supernet: str) -> Self:
        """Read them.

        Raises:
            CheckpointError: The supernet is damaged, or there are no samples of its weights.
            DataError: There are too few.
        """
        files = SupernetFiles.find(supernet)
        card = SupernetCard.load(files.card)
        card.check_weights(files.name)
        encoding = Encoding.of(card.space)
        samples = present_samples(files, card)
        if not samples:
            raise CheckpointError(
                f"{files.samples}: no samples of these weights; make some with ofa-nas predictor collect"
            )
        return cls(files, card, encoding, tuple(samples), Observations.of(encoding, samples))


def present_samples(
    files: SupernetFiles, card: SupernetCard, *, data: str | None = None
) -> list[AccuracySample]:
    """Samples of the weights that a supernet has now, in the order in which they were stored.

    There is one of each architecture, on most images, and all are on one data set: `data`, without the
    supernet's own, if there are any on that, else the one of most samples.
    """
    return one_of_each(of_one_data_set(_of_weights(files, card), data or card.data))


def tell_left_aside(files: SupernetFiles, card: SupernetCard, *, data: str | None = None) -> None:
    """Warn of samples on other images than those of `present_samples`, by the names of their splits."""
    samples = _of_weights(files, card)
    kept = of_one_data_set(samples, data or card.data)
    aside = Counter(one.split for one in samples) - Counter(one.split for one in kept)
    for split, count in aside.items():
        logging.getLogger(__name__).warning(
            "%s: %d samples of %s are left aside: they are on other images than the %d of %s",
            *(files.samples, count, split, len(kept), kept[0].split),
        )


def _of_weights(files: SupernetFiles, card: SupernetCard) -> list[AccuracySample]:
    return [sample for sample in SampleStore(files.samples).read() if sample.supernet == card.sha256]
