"""Fit a roofline to what was timed on the board, and judge the fit on what it had not seen.

The published figures are where the fit starts and what it leans on: two networks alone cannot tell
arithmetic, memory, depthwise convolutions and overhead apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.errors import TableError
from ofa_nas.latency.measured import ErrorFigures, judge
from ofa_nas.latency.roofline import Roofline, RooflineModel, Work
from ofa_nas.latency.table import RUNTIME_NOT_STATED, LatencyTable, TableDevice
from ofa_nas.latency.timings import Timing, Timings
from ofa_nas.provenance import record_provenance

LEAST = {"networks": 2, "blocks": 30}
FOLDS = 10
MOST_ERROR = 1e4  # of a timing that was left out, relative
# How many times as long as is expected timings may take, at the median. Those of known boards take 1 to 10
# times as long; in another unit they are a factor of 1,000 off.
LEAST_TIMES, MOST_TIMES = 0.03, 100.0
LEAST_RANK = 0.8  # of timings that were left out; those of GPUs at batch 1 have 0.1, of processors 0.97
NOISE = 0.1  # relative: what no roofline explains
# Fewer timings have no 95th percentile: their errors count beside so many of the size that is expected.
LEAST_RANKED, EXPECTED_ERROR, EXPECTED_COUNT = 19, 0.15, 4
# For each unknown, what is expected before anything was timed, and by how much (in logarithms) it may differ.
# Set by hand from the boards of benchmarks/bench_roofline.py, so its errors are a little too good.
REACHED_COMPUTE, COMPUTE_SD = 0.37, 1.0  # of the published peak
REACHED_MEMORY, MEMORY_SD = 0.6, 0.5  # of the published bandwidth
DEPTHWISE_SLOWDOWN, DEPTHWISE_SD = 3.3, 1.0
OVERHEAD_MS, OVERHEAD_SD = 0.01, 1.5
_SPREADS = np.array([COMPUTE_SD, MEMORY_SD, DEPTHWISE_SD, OVERHEAD_SD])
_EXTREME = 20.0  # logarithm: timings that nothing could take lead no further
_STEPS, _TRIES, _SETTLED = 100, 12, 1e-9


@dataclass(frozen=True)
class Calibration:
    """A fitted roofline as a table, and how each timing was predicted by a fit that had not seen it.

    Attributes:
        table: `estimated`; its error is that of `left_out_ms`.
        timings: That it was fitted to.
        left_out_ms: `(n,)` float64 [ms].
    """

    table: LatencyTable
    timings: tuple[Timing, ...]
    left_out_ms: Floats


def calibrate(
    board: Roofline, timings: Timings, *, runtime: str = "", threads: int | None = None
) -> Calibration:
    """Fit a board's roofline and cross-validate it.

    Args:
        board: With its published figures.
        timings: At least 2 networks or 30 blocks, all different.
        runtime: That they were timed with; empty where nobody says.
        threads: That they were timed with.

    Raises:
        TableError: There is too little, or no board takes such times; the message says how much there is and
            how much it takes.
    """
    names = {timing.name for timing in timings.timings}
    if len(names) < LEAST[timings.kind]:
        raise TableError(
            f"{timings.source}: holds {len(names)} different {timings.kind}; a calibration of {board.name} "
            f"needs at least {LEAST['networks']} whole networks or {LEAST['blocks']} blocks"
        )
    works = [timing.work for timing in timings.timings]
    measured = np.array([timing.ms for timing in timings.timings])
    _check_unit(board, timings, measured / predict(_expected(board.model), works))
    left_out = predict_left_out(board.model, works, measured, [timing.name for timing in timings.timings])
    error = _judge(left_out, measured)
    if not error.worst <= MOST_ERROR:
        raise TableError(
            f"{timings.source}: one of its {timings.kind} takes {error.worst:.0e} times as long as a fit to "
            "the others says: no board takes such times; check them and their unit, milliseconds"
        )
    table = LatencyTable(
        name=board.name,
        device=TableDevice(
            name=board.description,
            cpu=board.cpu,
            cores=board.cores,
            runtime=runtime or RUNTIME_NOT_STATED,
            threads=threads,
            precision=board.precision,
        ),
        held=fit_roofline(board.model, works, measured),
        error=error,
        notes=_notes(board, timings, error.spearman),
        sources=(timings.source, board.peak_source, board.bandwidth_source),
        made_by=record_provenance(seed=0).to_json(),
        judged_on=timings.kind,
        fastest_ms=float(measured.min()) if timings.kind == "networks" else None,
    )
    return Calibration(table, timings.timings, left_out)


def _judge(left_out: Floats, measured: Floats) -> ErrorFigures:
    """Errors of predictions; with few of them the size that 95 % of other networks are expected to keep.

    The largest of two errors is exceeded by a third of other networks. On a Raspberry Pi 4, fitted to 2 of 49
    networks at random, 17 % of the others took longer than a margin of it lets, in one draw of twelve 77 %.
    With this one 0.4 and 4 % do.
    """
    error = judge(left_out, measured)
    if len(measured) >= LEAST_RANKED:
        return error
    squares = EXPECTED_COUNT * EXPECTED_ERROR**2 + float(np.sum((left_out / measured - 1.0) ** 2))
    count = EXPECTED_COUNT + len(measured)
    return replace(error, p95=student_975(count) * math.sqrt(squares / count))


def student_975(freedom: int) -> float:
    """The 97.5th percentile of Student's t with 6 or more degrees of freedom, to 0.002.

    Source: Abramowitz and Stegun 1964, 26.7.5.
    """
    z = 1.959964
    terms: tuple[float, ...] = (
        (z**3 + z) / 4.0,
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0,
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _check_unit(board: Roofline, timings: Timings, times: Floats) -> None:
    """Refuse timings in another unit; `times` `(n,)` tell how many times as long they are as is expected."""
    typical = float(np.exp(np.median(np.log(times))))
    if not LEAST_TIMES <= typical <= MOST_TIMES:
        raise TableError(
            f"{timings.source}: its {timings.kind} take {typical:.1g} times as long as a board with the "
            f"figures of {board.name} lets expect: check the unit of its times, milliseconds, and those "
            "of the roofline, GMAC/s and GB/s"
        )


def _expected(published: RooflineModel) -> RooflineModel:
    """What a board of such figures does as long as nothing was timed."""
    return replace(
        published,
        gmac_per_s=REACHED_COMPUTE * published.gmac_per_s,
        gb_per_s=REACHED_MEMORY * published.gb_per_s,
        depthwise_slowdown=DEPTHWISE_SLOWDOWN,
        overhead_ms=OVERHEAD_MS,
    )


def _notes(board: Roofline, timings: Timings, rank: float | None) -> tuple[str, ...]:
    count = len(timings.timings)
    notes = [f"A roofline of published figures, fitted to {count} {timings.kind} timed on the board."]
    if count < LEAST_RANKED:
        notes.append(
            f"Fewer than {LEAST_RANKED} timings have no 95th percentile of errors: it leans on what other "
            "boards' errors are. Time more networks for a smaller margin."
        )
    if timings.kind == "blocks":
        notes.append("The error is that of single blocks timed alone; errors of their sums are smaller.")
    if rank is not None and rank < LEAST_RANK:
        notes.append(
            f"Hardly ranks the {timings.kind} that were left out (correlation {rank:.2f}): a roofline does "
            "not describe this board with this runtime, as it does no GPU at batch 1."
        )
    notes += board.model.doubts
    return tuple(notes)


def predict_left_out(
    published: RooflineModel, works: Sequence[Work], measured_ms: Floats, names: Sequence[str]
) -> Floats:
    """Predict each timing by a fit that has not seen it, nor another of the same name: `(n,)` float64 [ms].

    Args:
        published: Figures that every fit leans on.
        works: Of the `n` timings.
        measured_ms: `(n,)` float64 [ms].
        names: Of the `n` timings; ten folds of them at most are left out together.
    """
    groups = {name: number % FOLDS for number, name in enumerate(dict.fromkeys(names))}
    folds = np.array([groups[name] for name in names])
    predicted = np.empty(len(works))
    for fold in set(groups.values()):
        is_unseen = folds == fold
        seen = [work for work, is_out in zip(works, is_unseen, strict=True) if not is_out]
        unseen = [work for work, is_out in zip(works, is_unseen, strict=True) if is_out]
        model = fit_roofline(published, seen, measured_ms[~is_unseen])
        predicted[is_unseen] = predict(model, unseen)
    return predicted


def predict(model: RooflineModel, works: Sequence[Work]) -> Floats:
    """What networks or blocks take: `(n,)` float64 [ms]."""
    return np.array([model.work_ms(work).sum() for work in works])


def fit_roofline(published: RooflineModel, works: Sequence[Work], measured_ms: Floats) -> RooflineModel:
    """Fit peak, bandwidth, depthwise slowdown and overhead to timings.

    The most likely logarithms of the four under normal priors around the published figures and relative
    errors of `NOISE`, by damped Gauss-Newton steps.

    Args:
        published: Figures of the data sheet.
        works: Of the `n` timings.
        measured_ms: `(n,)` float64 [ms], positive.

    Source: Nocedal and Wright 2006, Numerical Optimization, section 10.3 (Levenberg-Marquardt).
    """
    problem = _Problem.of(published, works, measured_ms)
    point, damping = problem.start, 1e-2
    residuals, jacobian = problem.evaluate(point)
    for _ in range(_STEPS):
        cost, gradient, curvature = residuals @ residuals, jacobian.T @ residuals, jacobian.T @ jacobian
        for _ in range(_TRIES):
            trial = point - np.linalg.solve(curvature + damping * np.eye(len(point)), gradient)
            residuals, jacobian = problem.evaluate(trial)
            gain = cost - residuals @ residuals
            if gain > 0:
                break
            damping *= 4
        if gain <= 0:
            break
        point, damping = trial, max(damping / 5, 1e-9)
        if gain < _SETTLED:
            break
    return problem.model(point)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Residuals of a fit, all timings' operators in one row.

    Attributes:
        published: For what is not fitted.
        start: `(4,)` prior means of the logarithms.
        work: Of all operators.
        owner: `(operators,)` timing of each.
        log_ms: `(n,)` logarithms of the measured times.
    """

    published: RooflineModel
    start: Floats
    work: Work
    owner: npt.NDArray[np.int64]
    log_ms: Floats

    @classmethod
    def of(cls, published: RooflineModel, works: Sequence[Work], measured_ms: Floats) -> "_Problem":
        expected = _expected(published)
        start = np.log(
            [expected.gmac_per_s, expected.gb_per_s, expected.depthwise_slowdown, expected.overhead_ms]
        )
        whole = Work(
            np.concatenate([work.macs for work in works]),
            np.concatenate([work.bytes for work in works]),
            np.concatenate([work.is_depthwise for work in works]),
        )
        owner = np.repeat(np.arange(len(works)), [len(work.macs) for work in works])
        return cls(published, start, whole, owner, np.log(measured_ms))

    def model(self, point: Floats) -> RooflineModel:
        compute, memory, slowdown, overhead = (
            math.exp(value) for value in np.clip(point, -_EXTREME, _EXTREME)
        )
        return replace(
            self.published,
            gmac_per_s=compute,
            gb_per_s=memory,
            depthwise_slowdown=slowdown,
            overhead_ms=overhead,
        )

    def evaluate(self, point: Floats) -> tuple[Floats, Floats]:
        """Residuals `(n + 4,)` of timings and priors, and their derivatives `(n + 4, 4)`."""
        model = self.model(point)
        compute, memory = model.terms(self.work)
        binds = compute >= memory
        parts = (
            np.where(binds, -compute, 0.0),
            np.where(binds, 0.0, -memory),
            np.where(binds & self.work.is_depthwise, compute, 0.0),
            np.full(len(compute), model.overhead_ms),
        )
        slopes = np.stack([self._sum(part) for part in parts], axis=1)
        predicted = self._sum(model.work_ms(self.work))
        residuals = np.concatenate(
            [(np.log(predicted) - self.log_ms) / NOISE, (point - self.start) / _SPREADS]
        )
        return residuals, np.concatenate([slopes / predicted[:, None] / NOISE, np.diag(1 / _SPREADS)])

    def _sum(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.owner, values, minlength=len(self.log_ms)), dtype=np.float64)
