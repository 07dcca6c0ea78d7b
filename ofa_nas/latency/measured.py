"""What a measured table rests on, and errors of predictions on networks that had no part in its fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.devices import MeasuringProtocol
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.scores import spearman_rho
from ofa_nas.space.layer import Layer


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """Relative errors of predictions, as fractions; the last three only where they were worked out.

    Attributes:
        mape: Mean of the absolute errors.
        p50: Their median.
        p95: Their 95th percentile, an estimate where there are few of them: the margin that a search keeps.
        worst: The largest.
        bias: Mean of the signed errors; above 0 the prediction is too slow.
        spearman: Rank correlation.
        within_5: Share of networks off by less than 5 %.
        within_10: By less than 10 %.
    """

    mape: float
    p50: float
    p95: float
    worst: float
    bias: float
    spearman: float | None = None
    within_5: float | None = None
    within_10: float | None = None


def judge(predicted_ms: Floats, measured_ms: Floats) -> ErrorFigures:
    """Errors of predictions.

    Args:
        predicted_ms: `(n,)` float64 [ms].
        measured_ms: `(n,)` float64 [ms].
    """
    error = predicted_ms / measured_ms - 1.0
    size = np.abs(error)
    return ErrorFigures(
        mape=float(size.mean()),
        p50=float(np.median(size)),
        p95=float(np.percentile(size, 95)),
        worst=float(size.max()),
        bias=float(error.mean()),
        spearman=spearman_rho(predicted_ms, measured_ms),
        within_5=float((size < 0.05).mean()),
        within_10=float((size < 0.10).mean()),
    )


def noise_of(uncertainties: Sequence[float]) -> float | None:
    """Mean size of normal deviations with standard errors `(n,)`; None where one of them is 0, unknown."""
    return float(np.mean(uncertainties) * np.sqrt(2 / np.pi)) if all(uncertainties) else None


@dataclass(frozen=True, slots=True)
class Holdout:
    """A network that had no part in the fit.

    Attributes:
        architecture: Text of it.
        measured_ms: Measured [ms].
        predicted_ms: By this table [ms].
        macs_ms: By a line through the MACs of the same anchors [ms]; None of a table without anchors.
        uncertainty: Standard error of the measurement over it; 0 after one visit, which tells nothing of it.
    """

    architecture: str
    measured_ms: float
    predicted_ms: float
    macs_ms: float | None
    uncertainty: float


def _is_of(holdout: Holdout, resolution: int | None) -> bool:
    return resolution is None or holdout.architecture.startswith(f"{resolution}/")


@dataclass(frozen=True)
class Measured:
    """What a measured table rests on.

    Attributes:
        space: Name of the space.
        digest: Its digest.
        classes: Outputs of its classifier.
        resolutions: Measured ones, rising [px].
        intercepts_ms: What a network takes beside its layers, for each resolution [ms].
        rows: One a layer, or one for each resolution that has it.
        holdouts: Networks that judge.
        seed: Of designs, weights and the order of visits.
        noisy: Networks whose interval stayed wider than the protocol asks.
        throttled: Networks during which the device was throttled.
        networks: Networks measured in all.
        protocol: How it was measured.
        environment: What the device told of itself.
        references: Latency of each reference network by name [ms]; they tell the machine's speed later.
        fitted: Texts of the designs and anchors; none in tables of before these were kept.
    """

    space: str
    digest: str
    classes: int
    resolutions: tuple[int, ...]
    intercepts_ms: tuple[float, ...]
    rows: tuple[LayerLatency, ...]
    holdouts: tuple[Holdout, ...]
    seed: int
    noisy: int
    throttled: int
    networks: int
    protocol: MeasuringProtocol
    environment: Mapping[str, Any]
    references: Mapping[str, float]
    fitted: tuple[str, ...] = ()

    @cached_property
    def prices(self) -> dict[tuple[int, Layer], float]:
        """Latency of each layer at each resolution, 0 being any [ms]."""
        return {(row.resolution, row.layer): row.ms for row in self.rows}

    def errors(self, *, resolution: int | None = None, by_macs: bool = False) -> ErrorFigures:
        """Errors on the hold-outs, of all or one resolution; those of MACs fitted linearly with `by_macs`."""
        chosen = [holdout for holdout in self.holdouts if _is_of(holdout, resolution)]
        predicted = np.array([holdout.macs_ms if by_macs else holdout.predicted_ms for holdout in chosen])
        return judge(predicted, np.array([holdout.measured_ms for holdout in chosen]))

    def noise_floor(self, *, resolution: int | None = None) -> float | None:
        """Mean absolute error that exact predictions would show, for the hold-outs' times are uncertain.

        None where nobody knows: a network that was visited once shows no uncertainty.
        """
        chosen = [one.uncertainty for one in self.holdouts if _is_of(one, resolution)]
        return noise_of(chosen)
