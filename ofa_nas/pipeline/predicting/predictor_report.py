"""How far an accuracy predictor can be trusted: on subnets that it was not fitted to, by many measures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_nas.accuracy import Halves, own_noise
from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.errors import CheckpointError
from ofa_nas.pipeline.predicting.left_out import leave_out, root, squares_by_halves
from ofa_nas.pipeline.predicting.predictor_fit import BASELINE, KINDS
from ofa_nas.pipeline.predicting.sample_set import SampleSet, tell_left_aside
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors import load_module
from ofa_nas.randomness import rng_of
from ofa_nas.scores import bias, kendall_tau, regret_floor, rmse, spearman_rho, tau_ceiling, top_k_regret
from ofa_nas.space.costs import layer_macs, tabulate

SPLITS = 5
SIZES = (25, 50, 100, 150, 200, 300, 500, 1000, 2000)
HELD_OUT = 1 / 3
BUDGETS = (0.25, 0.5, 0.75, 1.0)  # quantiles of the MACs of what is held out
RANDOM, LATE = "random", "late"


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of a kind on held-out subnets, means over the splits.

    Attributes:
        kind: Plug-in.
        samples: That it was fitted to.
        held_out: `random` third, or the `late` third of the samples with all fitted ones before it.
        tau: Kendall's.
        tau_spread: Standard deviation of tau over the splits; 0 for one.
        spearman: Rank correlation.
        rmse: Against noisy measurements on the images of the fit, a fraction.
        true_rmse: Against what infinitely many images would show, up to a shift that all subnets share; by
            fits to one half of the images, judged on the other. None where nobody counted halves.
        top_bias: Predicted minus measured accuracy of the tenth that is predicted to be best, a fraction.
        coverage: Share of measurements inside their 90 % intervals.
        top_1_regret: What is lost by taking the subnet that is predicted to be best under a budget of MACs,
            instead of the one that is; a mean over four budgets, a fraction.
        top_10_regret: The same after measuring the ten that are predicted to be best.
    """

    kind: str
    samples: int
    held_out: str
    tau: float
    tau_spread: float
    spearman: float
    rmse: float
    true_rmse: float | None
    top_bias: float
    coverage: float
    top_1_regret: float
    top_10_regret: float


@dataclass(frozen=True, slots=True)
class Regret:
    """What is lost under one budget by trusting the predictor.

    Attributes:
        macs: The most that a subnet may have.
        subnets: Held-out ones within, a mean over the splits.
        top_1: By taking the one that is predicted to be best, a fraction.
        top_10: By measuring the ten that are, and taking the best of them.
        perfect_top_1: What the true accuracies would seem to lose, held against measurements that noisy; None
            where nobody knows the noise.
        perfect_top_10: The same of the ten.
    """

    macs: float
    subnets: float
    top_1: float
    top_10: float
    perfect_top_1: float | None
    perfect_top_10: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One sample, predicted by what was fitted without its fifth.

    Attributes:
        architecture: Its text.
        measured: Accuracy, a fraction.
        predicted: Accuracy, a fraction.
        half_width: Of the 90 % interval around `predicted`.
    """

    architecture: str
    measured: float
    predicted: float
    half_width: float


@dataclass(frozen=True, slots=True)
class PredictorReport:
    """Everything that is known of a predictor's trustworthiness.

    Attributes:
        supernet: Its name.
        kind: Of the predictor.
        samples: That there are.
        images: For each of them.
        noise: Standard deviation of measuring that each subnet has of its own, a fraction; where nobody
            counted halves, the binomial one, which is an upper end.
        is_noise_known: Whether it was measured on halves.
        tau_ceiling: What the true accuracies would show against such measurements; None where the noise is
            not known. A predictor may show more, for it has learnt some of the luck of these images.
        scores: By held-out part, number of samples, and kind.
        regrets: Of the kind, by rising budget, with as many samples as the splits leave.
        points: Of the kind, in the order in which the samples were stored.
    """

    supernet: str
    kind: str
    samples: int
    images: int
    noise: float
    is_noise_known: bool
    tau_ceiling: float | None
    scores: tuple[Score, ...]
    regrets: tuple[Regret, ...]
    points: tuple[Point, ...]


def report_predictor(
    supernet: str, *, kind: str | None = None, seed: int
) -> Iterator[Score | PredictorReport]:
    """Judge the predictor that a supernet has, beside the other kinds and MACs alone.

    Args:
        supernet: Shipped name or weights file.
        kind: To judge; without, that of the supernet's predictor.
        seed: Of the splits.

    Yields:
        Scores as they come, then the report.

    Raises:
        CheckpointError: There is no predictor and no `kind`, or no sample.
        DataError: There are too few samples.
    """
    measured = SampleSet.load(supernet)
    tell_left_aside(measured.files, measured.card)
    kind = kind or _present_kind(measured)
    noise = own_noise(measured.samples)
    kinds = list(dict.fromkeys([kind, *(one for one in KINDS if one != "mlp"), BASELINE]))
    trials = _Trials(measured, noise=noise, seed=seed)
    scores = []
    for held_out in (RANDOM, LATE):
        for size in trials.sizes:
            for one in kinds:
                scores.append(trials.score(one, size, held_out))
                yield scores[-1]
    left_out = leave_out(kind, measured.encoding, measured.observations, seed=seed, repeats=1)
    predicted = left_out.predicted[0]
    binomial = float(np.sqrt(measured.observations.variances.mean()))
    yield PredictorReport(
        supernet=measured.files.name,
        kind=kind,
        samples=len(measured.samples),
        images=measured.samples[0].images,
        noise=binomial if noise is None else noise,
        is_noise_known=noise is not None,
        tau_ceiling=None if noise is None else tau_ceiling(predicted, noise),
        scores=tuple(scores),
        regrets=trials.regrets(kind),
        points=tuple(
            Point(sample.arch, sample.accuracy, float(value), float(half_width))
            for sample, value, half_width in zip(
                measured.samples, predicted, left_out.half_widths[0], strict=True
            )
        ),
    )


def _present_kind(measured: SampleSet) -> str:
    if not measured.files.predictor.is_file():
        raise CheckpointError(
            f"{measured.files.predictor}: the supernet has no accuracy predictor; make one with ofa-nas "
            f"predictor fit --supernet {measured.files.weights}, or give --kind"
        )
    return load_predictor(measured.files.predictor, measured.encoding, weights=measured.card.sha256).kind


@dataclass(frozen=True, slots=True)
class _Trial:
    """Held-out subnets and what was predicted of them.

    Attributes:
        predicted: `(m,)` fractions.
        half_widths: `(m,)` of 90 % intervals.
        measured: `(m,)` fractions.
        macs: `(m,)`.
    """

    predicted: Floats
    half_widths: Floats
    measured: Floats
    macs: Floats

    def regret(self, quantile: float, k: int) -> float:
        """What is lost below this quantile of MACs by measuring the `k` predicted best only."""
        within = self._within(quantile)
        return top_k_regret(self.predicted[within], self.measured[within], k=k)

    def perfect_regret(self, quantile: float, k: int, noise: float) -> float:
        """What true accuracies like the predicted ones would lose, against measurements with such noise."""
        return regret_floor(self.predicted[self._within(quantile)], noise, k=k)

    def _within(self, quantile: float) -> Flags:
        return np.asarray(self.macs <= np.quantile(self.macs, quantile))

    def figures(self) -> list[float]:
        """Tau, rank correlation, RMSE, bias at the top, coverage, regrets of one and of ten."""
        top = np.argsort(-self.predicted, kind="stable")[: max(1, len(self.predicted) // 10)]
        return [
            kendall_tau(self.predicted, self.measured),
            spearman_rho(self.predicted, self.measured),
            rmse(self.predicted, self.measured),
            bias(self.predicted[top], self.measured[top]),
            float(np.mean(np.abs(self.predicted - self.measured) <= self.half_widths)),
            *(float(np.mean([self.regret(quantile, k) for quantile in BUDGETS])) for k in (1, 10)),
        ]


class _Trials:
    """Splits of the samples into fitted and held-out ones."""

    def __init__(self, measured: SampleSet, *, noise: float | None, seed: int) -> None:
        self.encoding, self.observations = measured.encoding, measured.observations
        self.macs = tabulate(self.encoding, layer_macs).total(self.observations.genes).astype(np.float64)
        self.noise, self.seed, self.halves = noise, seed, Halves.of(measured.samples)
        most = len(self.observations) - max(2, round(HELD_OUT * len(self.observations)))
        self.sizes = [*(size for size in SIZES if size < 0.85 * most), most]

    def score(self, kind: str, size: int, held_out: str) -> Score:
        """Means over the splits."""
        splits = [self._order(split) for split in range(SPLITS)] if held_out == RANDOM else [self._in_order()]
        rows = [self._try(kind, size, order).figures() for order in splits]
        tau, spearman, error, top_bias, coverage, top_1, top_10 = np.mean(rows, axis=0).tolist()
        return Score(
            kind=kind,
            samples=size,
            held_out=held_out,
            tau=tau,
            tau_spread=float(np.std([row[0] for row in rows], ddof=1)) if len(rows) > 1 else 0.0,
            spearman=spearman,
            rmse=error,
            true_rmse=self._true_rmse(kind, size, splits),
            top_bias=top_bias,
            coverage=coverage,
            top_1_regret=top_1,
            top_10_regret=top_10,
        )

    def _true_rmse(self, kind: str, size: int, splits: Sequence[Index]) -> float | None:
        halves = self.halves
        if halves is None:
            return None
        squares = [
            squares_by_halves(
                kind,
                self.encoding,
                self.observations,
                halves,
                fitted=order[:size],
                judged=order[self.sizes[-1] :],
                rng=(self.seed, size),
            )
            for order in splits
        ]
        return root(float(np.mean(squares)))

    def regrets(self, kind: str) -> tuple[Regret, ...]:
        """By budget, over the random splits, with as many samples as they leave."""
        trials = [self._try(kind, self.sizes[-1], self._order(split)) for split in range(SPLITS)]

        def perfect(quantile: float, k: int) -> float | None:
            if self.noise is None:
                return None
            return float(np.mean([trial.perfect_regret(quantile, k, self.noise) for trial in trials]))

        return tuple(
            Regret(
                macs=float(np.mean([np.quantile(trial.macs, quantile) for trial in trials])),
                subnets=float(quantile * np.mean([len(trial.macs) for trial in trials])),
                top_1=float(np.mean([trial.regret(quantile, 1) for trial in trials])),
                top_10=float(np.mean([trial.regret(quantile, 10) for trial in trials])),
                perfect_top_1=perfect(quantile, 1),
                perfect_top_10=perfect(quantile, 10),
            )
            for quantile in BUDGETS
        )

    def _in_order(self) -> Index:
        return np.arange(len(self.observations))

    def _order(self, split: int) -> Index:
        return rng_of(self.seed, 5, split).permutation(len(self.observations))

    def _try(self, kind: str, size: int, order: Index) -> _Trial:
        """Fit to the first of an order and predict its last third."""
        rng = rng_of(self.seed, size)
        predictor = load_module(kind).fit(self.encoding, self.observations.take(order[:size]), rng=rng)
        rest = order[self.sizes[-1] :]
        held_out = self.observations.take(rest)
        return _Trial(
            predictor.predict(held_out.genes),
            predictor.half_widths(held_out.genes),
            held_out.accuracies,
            self.macs[rest],
        )
