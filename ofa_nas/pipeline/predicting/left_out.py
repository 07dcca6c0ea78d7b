"""What a kind of predictor says of samples that it was not fitted to, and how far off it is."""

import time
from dataclasses import dataclass

import numpy as np

from ofa_nas.accuracy import (
    Z_90,
    Halves,
)
from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.pipeline.predicting.sample_set import SampleSet
from ofa_nas.predictors import (
    FEW,
    WIDEST,
    Observations,
    answers,
    conformal_half_width,
    load_module,
)
from ofa_nas.randomness import rng_of
from ofa_nas.scores import kendall_tau, rmse
from ofa_nas.space.encoding import Encoding

FOLDS, REPEATS = 5, 2


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
