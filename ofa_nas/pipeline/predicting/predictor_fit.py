"""The accuracy predictor of a supernet: which kind its samples speak for, fitted, judged and written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ofa_nas.accuracy import (
    Draw,
    own_noise,
)
from ofa_nas.files import check_writable
from ofa_nas.pipeline.predicting.left_out import LeftOut, leave_out, own_squares
from ofa_nas.pipeline.predicting.sample_set import SampleSet, tell_left_aside
from ofa_nas.predictor_file import save_predictor
from ofa_nas.predictors import (
    PopulationPredictor,
    load_module,
)
from ofa_nas.provenance import record_provenance
from ofa_nas.randomness import rng_of
from ofa_nas.supernet_card import SupernetFiles

AUTO = "auto"
BASELINE = "macs"  # what every other kind must beat
KINDS = ("additive", "additive_gp", "mlp")  # by rising price: the first is a sum, which is searched exactly
MLP_SAMPLES = 500  # below, perceptrons lose to the sum and take longer than all the rest
# What a kind that cannot be searched exactly must gain in RMSE: evolution comes within a
# hundredth of a point of the best, so it is the proof that is given up, hardly accuracy.
LEAST_GAIN = 0.05


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


@dataclass(frozen=True, slots=True)
class FittedPredictor:
    """The end of a fit: what it came to, and the file that the predictor is kept in."""

    report: FitReport
    path: Path


def fit_predictor(supernet: str, *, kind: str, seed: int) -> FittedPredictor:
    """Fit a predictor as `try_predictors` does, and wait for it."""
    *_, fitted = try_predictors(supernet, kind=kind, seed=seed)
    assert isinstance(fitted, FittedPredictor)
    return fitted


def try_predictors(supernet: str, *, kind: str, seed: int) -> Iterator[Tried | FittedPredictor]:
    """Fit a predictor to a supernet's samples, judge it on left-out ones, and write it beside the weights.

    Args:
        supernet: Shipped name or weights file.
        kind: Plug-in, or `auto` for the one that the samples speak for.
        seed: Of everything random.

    Yields:
        Every kind that was tried; at last the predictor.

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


def _fit_and_write(measured: SampleSet, tried: Sequence[LeftOut], *, kind: str, seed: int) -> FittedPredictor:
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
    return FittedPredictor(report, measured.files.predictor)


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
