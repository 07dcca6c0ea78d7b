"""Samples for an accuracy predictor: which subnets are evaluated, and when they are enough."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np

from ofa_nas.accuracy import AccuracySample, own_noise
from ofa_nas.arrays import Floats
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import ConfigError
from ofa_nas.files import check_writable
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.predicting.left_out import leave_out
from ofa_nas.pipeline.predicting.predictor_fit import KINDS
from ofa_nas.pipeline.predicting.sample_set import SampleSet, present_samples
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.randomness import rng_of
from ofa_nas.sample_store import SampleStore
from ofa_nas.scores import kendall_deviation, kendall_tau, rmse, tau_ceiling
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.collect import collect, fill_up, stratified_sample

MOST_SUBNETS = 100_000
LEAST_TO_JUDGE = 30  # samples; fewer give no estimate worth stopping for
CHECK_EVERY = 10  # samples
# Standard errors. One look would be sure at 1.645; a run looks up to 48 times for 500 samples, and the first
# look that passes ends it: at 1.645 a quarter of them would end wrongly, and here one of twenty does.
Z_SURE = 2.75


@dataclass(frozen=True, slots=True)
class Aim:
    """How good a predictor must be before collecting stops.

    Attributes:
        quantity: `tau` or `rmse`.
        value: Kendall's tau, or an RMSE as a fraction.
    """

    quantity: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `tau=0.95` or, in points, `rmse=0.8`.

        Raises:
            ConfigError: It is neither.
        """
        quantity, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if (quantity == "tau" and 0.0 < value < 1.0) or (quantity == "rmse" and 0.0 < value < 100.0):
            return cls(quantity, value if quantity == "tau" else value / 100.0)
        raise ConfigError(f"--until {text[:60]}: expected tau=0.95 or, in points, rmse=0.8")


@dataclass(frozen=True, slots=True)
class Standing:
    """How good a predictor of the samples so far would be, by leaving out fifths.

    Attributes:
        samples: That there are.
        value: Of the aim's quantity.
        sure: Its worse end, with 95 % confidence over all the times that a run stops to look.
        best: What the true accuracies would show against such noisy measurements; None where nobody knows.
        is_reached: Whether the worse end passes the aim.
        is_beyond_truth: Whether the true accuracies would not: only a predictor that has also learnt the luck
            of these images can.
    """

    samples: int
    value: float
    sure: float
    best: float | None
    is_reached: bool
    is_beyond_truth: bool


@dataclass(frozen=True, slots=True)
class Collection:
    """Subnets to evaluate, and what with.

    Attributes:
        bench: The supernet.
        split: Images to evaluate on.
        blank: A sample of theirs, all but its architecture and what was right.
        archs: That the store does not hold yet.
    """

    bench: Bench
    split: PackedImages
    blank: AccuracySample
    archs: tuple[Architecture, ...]

    @classmethod
    def plan(
        cls,
        bench: Bench,
        *,
        count: int,
        data: str,
        images: int,
        seed: int,
        near_front: bool = False,
    ) -> Self:
        """Choose what makes the subnets that were evaluated so far `count`, or a part of the front.

        They are spread over MACs, or as many are taken from the front that the present predictor finds,
        whatever was evaluated elsewhere: it is too optimistic exactly there, where it chose, until it has
        seen such subnets. The images are drawn from the half of the validation images that verification
        never sees.

        Raises:
            FileError: The samples cannot be written beside it.
            DataError: The data set has other classes.
            ConfigError: `count` is none, or more than anybody evaluates.
        """
        if not 1 <= count <= MOST_SUBNETS:
            raise ConfigError(f"--count {count}: expected 1 to {MOST_SUBNETS}")
        check_writable(bench.files.samples)
        split = bench.predictor_images(data, images=images, seed=seed)
        blank = bench.blank_sample(split, seed=seed)
        known = set(map(bench.card.space.parse, SampleStore(bench.files.samples).evaluated(blank)))
        if near_front:
            archs = [arch for arch in _front(bench.files, count, seed) if arch not in known]
        else:
            encoding = Encoding.of(bench.card.space)
            drawn = stratified_sample(encoding, count, rng_of(seed, 3))
            archs = fill_up(encoding, drawn, known)
        return cls(bench, split, blank, tuple(archs))

    def samples(self) -> Iterator[AccuracySample]:
        """Evaluate them and append each to the supernet's samples.

        Several processes may do so for one supernet at once: what one evaluates is left out by the others.
        """
        store = SampleStore(self.bench.files.samples)
        yield from collect(self.archs, store, evaluate=self._count_halves, blank=self.blank)

    def _count_halves(self, arch: Architecture) -> tuple[int, int]:
        return self.bench.count_halves(arch, self.split)


def collect_until(
    aim: Aim, samples: Iterator[AccuracySample], supernet: str, *, seed: int
) -> Iterator[AccuracySample | Standing]:
    """Take samples until a predictor fitted to all that the supernet has would be good enough.

    Args:
        aim: What is good enough.
        samples: As they are evaluated; they end it too, so that it always ends.
        supernet: Whose samples they become.
        seed: Of the folds.

    Yields:
        Samples, and where one stands: at first, and after every ten.
    """
    for taken, sample in enumerate(chain([None], samples)):
        if sample is not None:
            yield sample
        if taken % CHECK_EVERY == 0:
            standing = stand(aim, supernet, seed=seed)
            if standing:
                yield standing
            if standing and standing.is_reached:
                return


def stand(aim: Aim, supernet: str, *, seed: int) -> Standing | None:
    """Judge the samples that a supernet has now; None while they are too few to tell."""
    files = SupernetFiles.find(supernet)
    card = SupernetCard.load(files.card)
    if len(present_samples(files, card)) < LEAST_TO_JUDGE:
        return None
    return judge(aim, SampleSet.load(supernet), seed=seed)


def judge(aim: Aim, measured: SampleSet, *, seed: int) -> Standing:
    """Hold samples against an aim, by the simplest kind of predictor."""
    left_out = leave_out(KINDS[0], measured.encoding, measured.observations, seed=seed, repeats=1)
    return judge_predictions(aim, left_out.predicted[0], left_out.measured, noise=own_noise(measured.samples))


def judge_predictions(aim: Aim, predicted: Floats, accuracies: Floats, *, noise: float | None) -> Standing:
    """Hold predictions of samples that were not fitted against an aim.

    The error of tau is Hoeffding's, that of the RMSE follows from the spread of the squared errors over their
    mean, were the RMSE as large as the aim: where it comes out small by chance, so does that spread.

    Args:
        aim: What is good enough.
        predicted: `(n,)` fractions.
        accuracies: `(n,)` measured fractions.
        noise: Standard deviation of measuring that each subnet has of its own; None where nobody knows.
    """
    if aim.quantity == "tau":
        value = kendall_tau(predicted, accuracies)
        sure = value - Z_SURE * kendall_deviation(predicted, accuracies)
        best = None if noise is None else tau_ceiling(predicted, noise)
        is_reached, is_beyond = sure >= aim.value, best is not None and best <= aim.value
    else:
        squares = (predicted - accuracies) ** 2
        value, best = rmse(predicted, accuracies), noise
        spread = squares.std(ddof=1) / squares.mean() if value else 0.0
        left = 1.0 - Z_SURE * spread / np.sqrt(len(squares))
        sure = min(1.0, value / float(np.sqrt(max(left, np.finfo(float).tiny))))
        is_reached, is_beyond = sure <= aim.value, best is not None and best >= aim.value
    return Standing(len(accuracies), value, sure, best, is_reached, is_beyond)


def _front(files: SupernetFiles, count: int, seed: int) -> list[Architecture]:
    """Architectures on the predicted front of accuracy and MACs, evenly spread along it."""
    *_, result = search_supernet(Estimators.load(files.weights), [], seed=seed)
    assert isinstance(result, SearchResult)
    places = np.unique(np.linspace(0, len(result.front) - 1, count).round().astype(int))
    return [result.front[place].architecture for place in places]
