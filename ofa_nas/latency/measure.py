"""Latencies of whole networks from interleaved visits.

A machine's speed drifts while it measures. Since all networks are visited in turns, what neighbouring visits
have in common is drift, and is divided out before the median over a network's visits is taken. Visits during
which the device was throttled are left out of it as long as there are others, for networks do not all slow
down alike then; so are those during which the machine was otherwise not itself, where too few networks tell
the drift.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Flags, Floats
from ofa_nas.devices import AnyModel, Device, MeasuringProtocol, Visit
from ofa_nas.devices.agent import bootstrap_interval

DRIFT_VISITS = 3  # neighbours on either side that tell the machine's speed during a visit
POLISH_TURNS = 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """Latency of one model.

    Attributes:
        model: Its name.
        latency_ms: Median over its visits of their medians, drift divided out [ms].
        low_ms: Lower end of the 95 % bootstrap interval, of all visits where half or more are left out [ms].
        high_ms: Upper end [ms].
        p90_ms: 90th percentile over the runs of these visits, as the user would see them [ms].
        runs: Timed runs of these visits.
        noisy: Whether the interval stayed wider than the protocol asks, or half of the visits were spoilt.
        throttled: Whether the device was throttled during half of the visits or more.
    """

    model: str
    latency_ms: float
    low_ms: float
    high_ms: float
    p90_ms: float
    runs: int
    noisy: bool
    throttled: bool

    def at_speed(self, factor: float) -> "Measurement":
        """The same measurement on a machine that takes `1 / factor` of the time."""
        times = ("latency_ms", "low_ms", "high_ms", "p90_ms")
        return replace(self, **{name: getattr(self, name) / factor for name in times})

    @property
    def uncertainty(self) -> float:
        """Standard error of the latency over the latency, from its interval."""
        return (self.high_ms - self.low_ms) / (2 * 1.96 * self.latency_ms)


def measure(
    device: Device, models: Sequence[AnyModel], *, protocol: MeasuringProtocol
) -> Iterator[Visit | Measurement]:
    """Measure models on a device.

    Args:
        device: Where.
        models: The first is the sentinel.
        protocol: How.

    Yields:
        Visits as they happen, then one measurement a model in the order of `models`.

    Raises:
        DeviceError: The device refuses a model.
    """
    visits = []
    for visit in device.time(models, protocol):
        visits.append(visit)
        yield visit
    found = {one.model: one for one in summarise(visits, protocol=protocol)}
    yield from (found[model.name] for model in models)


def summarise(visits: Sequence[Visit], *, protocol: MeasuringProtocol) -> list[Measurement]:
    """Measurements of models from their visits, which stand in the order of time."""
    names = sorted({visit.model for visit in visits})
    index = {name: number for number, name in enumerate(names)}
    which = np.array([index[visit.model] for visit in visits])
    medians = np.array([np.median(_runs(visit, protocol.clock)) for visit in visits])
    steady = divide_out_drift(medians, which)
    knows_drift = tells_drift(which)
    counts = np.array([not (visit.throttled or (visit.spoilt and not knows_drift)) for visit in visits])
    order = {visit.model: None for visit in visits}
    by_model = {name: np.flatnonzero(which == index[name]) for name in order}
    return [_summarise(name, visits, steady, by_model[name], counts, protocol) for name in order]


def _runs(visit: Visit, clock: str) -> tuple[float, ...]:
    return visit.cpu_ms if clock == "cpu" else visit.wall_ms


def _summarise(
    name: str,
    visits: Sequence[Visit],
    steady: Floats,
    where: npt.NDArray[np.intp],
    counts: Flags,
    protocol: MeasuringProtocol,
) -> Measurement:
    own = [visits[place] for place in where]
    kept = where[counts[where]]
    counted = kept if len(kept) else where
    values = steady[counted]
    runs = np.concatenate([_runs(visits[place], protocol.clock) for place in counted])
    latency = float(np.median(values))
    are_few = 2 * len(kept) <= len(own)
    spread = steady[where] if are_few else values  # the few that are left would look too sure
    is_spoilt = 2 * sum(visit.spoilt for visit in own) >= len(own)
    low, high = bootstrap_interval(spread.tolist())
    return Measurement(
        model=name,
        latency_ms=latency,
        low_ms=min(low, latency),
        high_ms=max(high, latency),
        p90_ms=float(np.percentile(runs, 90)),
        runs=len(runs),
        noisy=high - low > protocol.interval * latency or is_spoilt,
        throttled=2 * sum(visit.throttled for visit in own) >= len(own),
    )


def tells_drift(which: npt.NDArray[np.intp]) -> bool:
    """Whether visits `(n,)`, models by index, are of enough models to tell drift from a model's own noise."""
    return len(which) > 2 * DRIFT_VISITS and int(which.max()) >= 2 * DRIFT_VISITS


def divide_out_drift(values: Floats, which: npt.NDArray[np.intp]) -> Floats:
    """Divide out what visits near in time have in common.

    Alternates between each model's median and the median of the neighbours' deviations: a median polish in
    logarithms, in which a visit has no say about its own drift.

    Args:
        values: `(n,)` latencies in the order of time [ms].
        which: `(n,)` index of the model.

    Returns:
        `(n,)` float64 [ms]; the median drift is 1, so the level stays that of the machine's usual speed.
    """
    if not tells_drift(which):
        return values
    logs = np.log(values)
    count = len(logs)
    near = np.arange(count)[:, None] + np.array(
        [step for step in range(-DRIFT_VISITS, DRIFT_VISITS + 1) if step]
    )
    inside = (near >= 0) & (near < count)
    near = np.where(inside, near, 0)
    drift = np.zeros(count)
    for _ in range(POLISH_TURNS):
        steady = logs - drift
        levels = np.array([np.median(steady[which == model]) for model in range(int(which.max()) + 1)])
        deviations = np.where(inside, (logs - levels[which])[near], np.nan)
        drift = np.nanmedian(deviations, axis=1)
        drift -= np.median(drift)
    return np.asarray(np.exp(logs - drift))
