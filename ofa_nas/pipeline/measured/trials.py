"""Trials of a measured search, as Optuna's study holds them and its dashboard shows them.

Parameters are the genes in words, objectives the measured figures, user attributes everything else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofa_nas.accuracy import AccuracySample, Top1
from ofa_nas.errors import ArchitectureError, StudyError
from ofa_nas.figures import format_share
from ofa_nas.latency.measure import Measurement
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.search.study import WORKER, Objective, Trial
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding

TOP_1, PREDICTED, HALF_WIDTH = "top-1", "predicted top-1", "predicted top-1 ± at 90 %"
ROUND, PLANNER, CORRECT, IMAGES = "round", "proposed by", "images right", "images"
MACS, PEAK, WEIGHTS = "MACs", "peak memory [bytes]", "weights [bytes]"
_LARGEST = 1e15  # number of a trial's notes
_ABSENT = "none"  # value of a parameter whose block is not there


@dataclass(frozen=True, slots=True)
class MeasuredTrial:
    """An architecture and what was measured of it.

    Attributes:
        number: Of the trial.
        candidate: As it was predicted before it was measured.
        top_1: As counted.
        latencies_ms: Those that were measured, at the speeds of the tables, by their names.
        round: In which it was proposed, counted from 1.
        worker: That measured it.
    """

    number: int
    candidate: Candidate
    top_1: Top1
    latencies_ms: Mapping[str, float]
    round: int
    worker: str

    @property
    def first_cost(self) -> float:
        """The latency on the first device, measured if it was, else predicted; MACs without a device."""
        known = {**self.candidate.latencies_ms, **self.latencies_ms}
        return next(iter(known.values()), float(self.candidate.macs))

    def cost(self, budget: Budget) -> float:
        """What it costs in the unit of a budget: as measured, else as predicted."""
        if budget.name == "latency" and budget.device in self.latencies_ms:
            return self.latencies_ms[budget.device]
        return self.candidate.cost(budget.key)

    def keeps(self, budget: Budget) -> bool:
        """Whether a measured latency keeps the limit, or what is only predicted the limit and its margin."""
        if budget.name == "latency" and budget.device in self.latencies_ms:
            return self.latencies_ms[budget.device] <= budget.limit
        return self.candidate.keeps(budget)


def objectives(estimators: Estimators) -> tuple[Objective, ...]:
    """Accuracy, then latencies, or MACs without a device."""
    costs = [_latency(device) for device in estimators.tables] or [MACS]
    return (Objective(TOP_1, is_maximised=True), *map(Objective, costs))


def objective_values(trial: MeasuredTrial) -> tuple[float, ...]:
    """The values of `objectives`; latencies that were not measured are the tables'."""
    costs = {**trial.candidate.latencies_ms, **trial.latencies_ms}.values() or [trial.candidate.macs]
    return (trial.top_1.accuracy, *map(float, costs))


def choices(encoding: Encoding) -> dict[str, tuple[Any, ...]]:
    """Values of every parameter: the resolution, and each block as kernel x expand ratio."""
    found: dict[str, tuple[Any, ...]] = {"resolution": encoding.space.resolutions}
    for position in encoding.positions:
        stage = encoding.space.stages[position.stage]
        absent = () if position.index < stage.depths[0] else (_ABSENT,)
        found[_block(position.stage, position.index)] = (*absent, *map(str, stage.choices))
    return found


def params(encoding: Encoding, arch: Architecture) -> dict[str, Any]:
    """An architecture as parameters."""
    found: dict[str, Any] = {"resolution": arch.resolution}
    for position in encoding.positions:
        blocks = arch.stages[position.stage]
        block = str(blocks[position.index]) if position.index < len(blocks) else _ABSENT
        found[_block(position.stage, position.index)] = block
    return found


def about(
    estimators: Estimators, budgets: Sequence[Budget], blank: AccuracySample, *, seed: int
) -> dict[str, str]:
    """What a study is made for, in words: two workers may share one if they agree in all of it.

    Args:
        estimators: Of the supernet.
        budgets: With their margins.
        blank: The trials' samples without what was measured.
        seed: Of everything random.
    """
    tables = [f"{device} {_table_digest(estimators, device)}" for device in estimators.tables]
    limits = [f"{one} with a margin of {format_share(one.margin)}" for one in budgets]
    return {
        "the supernet weights": blank.supernet[:12],
        "the search space": f"{estimators.card.space.name} {estimators.card.space.digest}",
        "the images": f"{blank.images} of {blank.split}, calibrated on {blank.calibration} ({blank.digest})",
        "the latency tables": ", ".join(tables) or "none",
        "the budgets": "; ".join(limits) or "none",
        "the seed": str(seed),
    }


def proposal_notes(candidate: Candidate, *, number: int, planner: str) -> dict[str, Any]:
    """User attributes of a trial that waits, of a round's number, proposed by a worker."""
    latencies = {f"predicted {_latency(name)}": ms for name, ms in candidate.latencies_ms.items()}
    costs = {MACS: candidate.macs, PEAK: candidate.peak_activation_bytes, WEIGHTS: candidate.weight_bytes}
    return {
        ROUND: number,
        PLANNER: planner,
        PREDICTED: candidate.accuracy,
        HALF_WIDTH: candidate.half_width,
        **latencies,
        **costs,
    }


def measured_notes(top_1: Top1, timed: Mapping[str, Measurement]) -> dict[str, Any]:
    """User attributes that a trial has once it is measured; latencies by the names of their tables."""
    medians = {_latency(device): one.latency_ms for device, one in timed.items()}
    tails = {f"p90 of {_latency(device)}": one.p90_ms for device, one in timed.items()}
    return {CORRECT: top_1.correct, IMAGES: top_1.images, **medians, **tails}


def read_candidate(trial: Trial, estimators: Estimators) -> Candidate:
    """The candidate of a trial, as it was predicted when it was proposed.

    Raises:
        StudyError: Somebody else wrote the trial.
    """
    try:
        arch = estimators.encoding.space.parse(trial.key)
        (now,) = estimators.candidates(estimators.encoding.encode([arch]))
        accuracy, half_width = _number(trial, PREDICTED, least=-_LARGEST), _number(trial, HALF_WIDTH)
    except (ArchitectureError, KeyError, ValueError, TypeError) as error:
        raise _foreign(trial, error) from error
    return replace(now, accuracy=accuracy, half_width=half_width)


def read_trial(trial: Trial, estimators: Estimators) -> MeasuredTrial:
    """What was measured in a trial that is complete.

    Raises:
        StudyError: Somebody else wrote the trial.
    """
    candidate = read_candidate(trial, estimators)
    try:
        images = int(_number(trial, IMAGES, least=1.0))
        return MeasuredTrial(
            number=trial.number,
            candidate=candidate,
            top_1=Top1(int(_number(trial, CORRECT, most=images)), images),
            latencies_ms={
                device: _number(trial, _latency(device))
                for device in estimators.tables
                if _latency(device) in trial.notes
            },
            round=int(_number(trial, ROUND)),
            worker=str(trial.notes.get(WORKER, "")),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _foreign(trial, error) from error


def round_of(trial: Trial) -> int:
    """The round in which a trial was proposed; 0 where it does not tell.

    Raises:
        StudyError: Somebody else wrote the trial.
    """
    try:
        return int(_number(trial, ROUND)) if ROUND in trial.notes else 0
    except ValueError as error:
        raise _foreign(trial, error) from error


def _number(trial: Trial, name: str, *, least: float = 0.0, most: float = _LARGEST) -> float:
    """A number of a trial's notes, which any program that shares the storage can write."""
    value = trial.notes[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name}: {value!r:.80}")
    return float(value)


def _foreign(trial: Trial, error: Exception) -> StudyError:
    return StudyError(
        f"trial {trial.number} of the study was not made by this version of ofa-nas search ({error}): give "
        "another --study"
    )


def _latency(device: str) -> str:
    return f"latency on {device} [ms]"


def _block(stage: int, index: int) -> str:
    return f"stage {stage + 1} block {index + 1}"


def _table_digest(estimators: Estimators, device: str) -> str:
    """Of the latencies that a search looks at."""
    table = estimators.costs[Cost("latency", device)].table
    values = np.concatenate([table.fixed.ravel(), table.choices.ravel()])
    return hashlib.sha256(np.nan_to_num(values).round(6).tobytes()).hexdigest()[:8]
