"""The accuracy predictor of a supernet: which kind its samples speak for, fitted, judged and written."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from ofa_nas.accuracy import (
    Z_90,
    AccuracySample,
    Draw,
    Halves,
    SampleStore,
    of_one_data_set,
    one_of_each,
    own_noise,
)
from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.errors import CheckpointError
from ofa_nas.files import check_writable
from ofa_nas.predictor_file import save_predictor
from ofa_nas.predictors import (
    FEW,
    WIDEST,
    Observations,
    PopulationPredictor,
    answers,
    conformal_half_width,
    load_module,
)
from ofa_nas.provenance import record_provenance
from ofa_nas.randomness import rng_of
from ofa_nas.scores import kendall_tau, rmse
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

AUTO = "auto"
BASELINE = "macs"  # what every other kind must beat
KINDS = ("additive", "additive_gp", "mlp")  # by rising price: the first is a sum, which is searched exactly
MLP_SAMPLES = 500  # below, perceptrons lose to the sum and take longer than all the rest
FOLDS, REPEATS = 5, 2
# What a kind that cannot be searched exactly must gain in RMSE: evolution comes within a
# hundredth of a point of the best, so it is the proof that is given up, hardly accuracy.
LEAST_GAIN = 0.05


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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a kind predicts of every sample when it is fitted to the other folds.

    Attributes:
        kind: Plug-in.
        predicted: `(repeats, n)` fractions.
        half_widths: `(repeats, n)` of 90 % intervals.
        measured: `(n,)` fractions.
        fit_seconds: Of one fit, on average [s].
        own_squares: `(n,)` squared errors without the noise of measuring; None where nobody counted halves.
    """

    kind: str
    predicted: Floats
    half_widths: Floats
    measured: Floats
    fit_seconds: float
    own_squares: Floats | None = None

    @property
    def tau(self) -> float:
        """Kendall's, of predicted and measured accuracy."""
        return float(np.mean([kendall_tau(row, self.measured) for row in self.predicted]))

    @property
    def rmse(self) -> float:
        """A fraction."""
        return rmse(self.predicted, self.measured)

    @property
    def true_rmse(self) -> float | None:
        """Against what infinitely many images would show, a fraction; None where nobody counted halves."""
        return None if self.own_squares is None else root(float(self.own_squares.mean()))

    @property
    def error(self) -> float:
        """What kinds are compared by: without noise where it is known, for learnt luck looks like skill."""
        return self.rmse if self.true_rmse is None else self.true_rmse

    @property
    def coverage(self) -> float:
        """Share of measurements inside their 90 % intervals."""
        return float(np.mean(np.abs(self.predicted - self.measured) <= self.half_widths))

    def is_better_than(self, other: "LeftOut", *, gain: float = 0.0) -> bool:
        """Whether its squared errors are smaller, by more than chance and by a share `gain` of their root."""
        own, others = (one.squares for one in (self, other))
        differences = others - own
        error = float(np.std(differences, ddof=1)) / np.sqrt(len(differences))
        return self.error <= (1.0 - gain) * other.error and float(differences.mean()) > Z_90 * error

    @property
    def squares(self) -> Floats:
        """Squared errors of the samples `(n,)` that `error` is made of."""
        if self.own_squares is not None:
            return self.own_squares
        return np.asarray(np.mean((self.predicted - self.measured) ** 2, axis=0))


def leave_out(
    kind: str, encoding: Encoding, observations: Observations, *, seed: int, repeats: int = REPEATS
) -> LeftOut:
    """Fit a kind without each of five folds, dealt anew for each repeat; every kind gets the same folds.

    Raises:
        ConfigError: There is no such kind, or what it says is no accuracy.
    """
    module, count = load_module(kind), len(observations)
    is_widened_here = module.has_unwidened and count - count // FOLDS < FEW
    fit = module.fit_unwidened if is_widened_here else module.fit
    predicted, half_widths = np.empty((repeats, count)), np.empty((repeats, count))
    start = time.perf_counter()
    for repeat in range(repeats):
        folds = rng_of(seed, repeat).permutation(count) % FOLDS
        for fold in range(FOLDS):
            out = folds == fold
            predictor = fit(encoding, observations.take(~out), rng=rng_of(seed, repeat, fold))
            predicted[repeat, out], half_widths[repeat, out] = answers(
                predictor, observations.genes[out], kind=kind
            )
        if is_widened_here:
            residuals = observations.accuracies - predicted[repeat]
            half_widths[repeat] = _widened(half_widths[repeat], residuals, folds)
    seconds = (time.perf_counter() - start) / (repeats * FOLDS)
    return LeftOut(kind, predicted, half_widths, observations.accuracies, seconds)


def _widened(half_widths: Floats, residuals: Floats, folds: Index) -> Floats:
    """Half-widths `(n,)` that are right in proportion, made to cover: those of a fold by all other folds.

    The widening within every fold, as `fit` makes it of few samples, would be five to ten times as many fits.
    """
    widened = np.empty(len(half_widths))
    for fold in range(FOLDS):
        out = folds == fold
        widening = conformal_half_width(residuals[~out] / half_widths[~out])
        widened[out] = np.minimum(widening * half_widths[out], WIDEST)
    return widened


def own_squares(kind: str, measured: SampleSet, *, seed: int) -> Floats | None:
    """Squared errors `(n,)` without noise, over the first folds of `leave_out`; None without halves.

    Raises:
        ConfigError: There is no such kind, or what it says is no accuracy.
    """
    halves = Halves.of(measured.samples)
    if halves is None:
        return None
    squares = np.empty(len(measured.samples))
    folds = rng_of(seed, 0).permutation(len(squares)) % FOLDS
    for fold in range(FOLDS):
        out = folds == fold
        squares[out] = squares_by_halves(
            kind,
            measured.encoding,
            measured.observations,
            halves,
            fitted=~out,
            judged=out,
            rng=(seed, 0, fold),
        )
    return squares


def squares_by_halves(
    kind: str,
    encoding: Encoding,
    observations: Observations,
    halves: Halves,
    *,
    fitted: Index | Flags,
    judged: Index | Flags,
    rng: tuple[int, ...],
) -> Floats:
    """`Halves.own_squares` of some subnets, by fits to the halves of others; `rng` names both draws."""
    genes, variances = observations.genes[fitted], 2.0 * observations.variances[fitted]
    module, predicted = load_module(kind), []
    for half in (halves.even, halves.odd):
        observed = Observations(genes, half[fitted], variances)
        predictor = module.fit_unwidened(encoding, observed, rng=rng_of(*rng))
        predicted.append(answers(predictor, observations.genes[judged], kind=kind)[0])
    return halves.take(judged).own_squares(*predicted)


def root(square: float) -> float:
    """Of a mean square that may be below zero by chance."""
    return float(np.sqrt(max(0.0, square)))


@dataclass(frozen=True, slots=True)
class KindScore:
    """How a kind did on samples that it was not fitted to.

    Attributes:
        tau: Kendall's, of predicted and measured accuracy.
        rmse: A fraction.
        true_rmse: Against what infinitely many images would show; None where nobody counted halves.
        coverage: Share of measurements inside their 90 % intervals.
        beats_macs: Whether its errors are smaller than those of MACs alone, by more than chance.
        fit_seconds: Of one fit, on average [s].
    """

    kind: str
    tau: float
    rmse: float
    true_rmse: float | None
    coverage: float
    beats_macs: bool
    fit_seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class FitReport:
    """How a predictor does on samples that were not fitted: fifths, left out in turn, twice.

    Attributes:
        kind: Plug-in.
        samples: That there are.
        tau: Kendall's, of predicted and measured accuracy.
        rmse: A fraction.
        true_rmse: Against what infinitely many images of the kind would show, up to a shift that all subnets
            share; by fits to one half of the images, judged on the other. None where nobody counted halves.
        half_width: Of its 90 % intervals on any images of the kind, on average over the samples.
        noise: Standard deviation of measuring that each subnet has of its own; None where nobody knows.
        reason: Why this kind.
        kinds: Every one that was tried.
    """

    kind: str
    samples: int
    tau: float
    rmse: float
    true_rmse: float | None
    half_width: float
    noise: float | None
    reason: str
    kinds: tuple[KindScore, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A kind that was judged on left-out samples: the `done`-th of `total`."""

    left_out: LeftOut
    done: int
    total: int


def fit_predictor(supernet: str, *, kind: str, seed: int) -> tuple[FitReport, Path]:
    """Fit a predictor as `try_predictors` does, and wait for it; the report, and the file."""
    *_, fitted = try_predictors(supernet, kind=kind, seed=seed)
    assert isinstance(fitted, tuple)
    return fitted


def try_predictors(supernet: str, *, kind: str, seed: int) -> Iterator[Tried | tuple[FitReport, Path]]:
    """Fit a predictor to a supernet's samples, judge it on left-out ones, and write it beside the weights.

    Args:
        supernet: Shipped name or weights file.
        kind: Plug-in, or `auto` for the one that the samples speak for.
        seed: Of everything random.

    Yields:
        Every kind that was tried; at last the report, and the file.

    Raises:
        FileError: It cannot be written there.
        DataError: There are too few samples.
        CheckpointError: Samples are of other weights.
        ConfigError: There is no such kind, or one of the user's own is wrong; the predictor there was stays.
    """
    check_writable(SupernetFiles.find(supernet).predictor)
    measured = SampleSet.load(supernet)
    tell_left_aside(measured.files, measured.card)
    kinds = _candidates(len(measured.samples)) if kind == AUTO else [kind]
    names, tried = list(dict.fromkeys([*kinds, BASELINE])), []
    for done, one in enumerate(names, start=1):
        left_out = leave_out(one, measured.encoding, measured.observations, seed=seed)
        tried.append(replace(left_out, own_squares=own_squares(one, measured, seed=seed)))
        yield Tried(tried[-1], done, len(names))
    yield _fit_and_write(measured, tried, kind=kind, seed=seed)


def _fit_and_write(
    measured: SampleSet, tried: Sequence[LeftOut], *, kind: str, seed: int
) -> tuple[FitReport, Path]:
    by_kind = {one.kind: one for one in tried}
    chosen, reason = choose_kind(tried) if kind == AUTO else (kind, "asked for")
    splits = dict.fromkeys(sample.split for sample in measured.samples)
    fitted = load_module(chosen).fit(measured.encoding, measured.observations, rng=rng_of(seed))
    predictor = PopulationPredictor(fitted, Draw.of(measured.samples))
    save_predictor(
        measured.files.predictor,
        predictor,
        kind=chosen,
        encoding=measured.encoding,
        weights=measured.card.sha256,
        description=f"top-1 on {' and '.join(splits)}; {len(measured.samples)} subnets",
        provenance=record_provenance(seed=seed),
    )
    report = FitReport(
        kind=chosen,
        samples=len(measured.samples),
        tau=by_kind[chosen].tau,
        rmse=by_kind[chosen].rmse,
        true_rmse=by_kind[chosen].true_rmse,
        half_width=float(predictor.half_widths(measured.observations.genes).mean()),
        noise=own_noise(measured.samples),
        reason=reason,
        kinds=tuple(_score(one, by_kind[BASELINE]) for one in tried),
    )
    return report, measured.files.predictor


def choose_kind(tried: Sequence[LeftOut]) -> tuple[str, str]:
    """The kind that samples speak for, and why: a sum, unless another is better by enough to give up proof.

    Args:
        tried: By rising price, the first being a sum; the baseline among them.
    """
    macs = next(one for one in tried if one.kind == BASELINE)
    first, *others = (one for one in tried if one is not macs)
    best = min([first, *others], key=lambda one: one.error)
    if macs.error < best.error:
        return BASELINE, "nothing else predicts these samples better than MACs do; collect more"
    winners = [one for one in others if one.is_better_than(first, gain=LEAST_GAIN)]
    if winners:
        winner = min(winners, key=lambda one: one.error)
        gain = 1.0 - winner.error / first.error
        return winner.kind, (
            f"its errors are {gain:.0%} smaller than those of {first.kind}, by more than chance: worth a "
            "search by evolution, without a proof"
        )
    if best is first:
        return first.kind, "nothing predicts these samples better, and it is searched exactly"
    gain = 1.0 - best.error / first.error
    return first.kind, (
        f"it is searched exactly; the errors of {best.kind} are {gain:.1%} smaller: too little to give that "
        f"up ({LEAST_GAIN:.0%}, by more than chance, would do)"
    )


def _candidates(samples: int) -> list[str]:
    return [kind for kind in KINDS if kind != "mlp" or samples >= MLP_SAMPLES]


def _score(one: LeftOut, macs: LeftOut) -> KindScore:
    beats = one is macs or one.is_better_than(macs)
    return KindScore(one.kind, one.tau, one.rmse, one.true_rmse, one.coverage, beats, one.fit_seconds)
