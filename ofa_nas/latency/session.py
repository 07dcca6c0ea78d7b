"""What was measured at the resolutions of a space, and the table made of it.

Each resolution has a session of its own, minutes apart, and a shared machine's speed changes meanwhile, for
small networks not as for large ones. So a last session times a few networks of every resolution in turns,
and brings each resolution to one speed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

import numpy as np

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, Profile
from ofa_nas.latency.attribution import Attribution, LayerLatency, Network, attribute
from ofa_nas.latency.design import Design
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import REFERENCE, slowdown
from ofa_nas.latency.table import Holdout, LatencyTable, Measured, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Session:
    """What was measured at one resolution.

    Attributes:
        design: Its networks.
        profiles: Of the Latin designs.
        measurements: Of all networks, by name.
    """

    design: Design
    profiles: tuple[Profile, ...]
    measurements: dict[str, Measurement]

    def at_speed_of(self, bridge: Mapping[str, Measurement]) -> "Session":
        """The same session at the speed of another, as the networks tell it that both timed."""
        own = {name: one.latency_ms for name, one in self.measurements.items()}
        factor = slowdown(own, {name: one.latency_ms for name, one in bridge.items()})
        return replace(
            self, measurements={name: one.at_speed(factor) for name, one in self.measurements.items()}
        )


def make_table(
    space: SearchSpace,
    sessions: Sequence[Session],
    bridge: Mapping[str, Measurement],
    *,
    info: DeviceInfo,
    protocol: MeasuringProtocol,
    precision: str,
) -> LatencyTable:
    """Bring sessions to one speed, attribute, fit on designs and anchors, judge on hold-outs.

    Args:
        space: That was measured.
        sessions: One a resolution.
        bridge: Measurements by name of the references and of every design's `bridges`, timed in turns.
        info: Of the device.
        protocol: How it was measured.
        precision: Of the networks.
    """
    sessions = [session.at_speed_of(bridge) for session in sessions]
    fits = [_attribute(space, session) for session in sessions]
    rows = _pool([fit.rows for fit in fits])
    prices = {row.layer: row.ms for row in rows}
    intercepts = []
    for session, fit in zip(sessions, fits, strict=True):
        own = {row.layer: row.ms for row in fit.rows}
        layers = list(space.layers(session.design.latin[0]))
        moved = sum(
            own[layer] - prices[layer] for layer in layers
        )  # only layers that all resolutions share differ
        intercepts.append(fit.intercept_ms + moved)
    holdouts = [
        holdout
        for session, constant in zip(sessions, intercepts, strict=True)
        for holdout in _judge(space, session, prices, constant)
    ]
    all_measured = [one for session in sessions for one in session.measurements.values()]
    all_measured += bridge.values()
    measured = Measured(
        space=space.name,
        digest=space.digest,
        classes=space.classes,
        resolutions=tuple(session.design.resolution for session in sessions),
        intercepts_ms=tuple(intercepts),
        rows=rows,
        holdouts=tuple(holdouts),
        seed=protocol.seed,
        noisy=sum(one.noisy for one in all_measured),
        throttled=sum(one.throttled for one in all_measured),
        networks=len(all_measured),
        protocol=asdict(protocol),
        environment=info.environment,
        references={name: one.latency_ms for name, one in bridge.items() if name.startswith(REFERENCE)},
        fitted=tuple(str(arch) for one in sessions for arch in one.design.latin + one.design.anchors),
    )
    runtime = f"onnxruntime {info.onnxruntime}"
    return LatencyTable(
        name=info.name,
        device=TableDevice(info.name, info.cpu, info.cores, runtime, protocol.threads, precision),
        measured=measured,
        model=None,
        error=measured.errors(),
        notes=_notes(measured),
        sources=(),
        made_by=record_provenance(seed=protocol.seed).to_json(),
    )


def _notes(measured: Measured) -> tuple[str, ...]:
    warnings = measured.environment.get("warnings", [])  # of boards, which the agent looks at first
    notes = [f"Before it was measured, the board warned: {text}." for text in warnings]
    if not notes and measured.environment.get("governor", "") not in ("", "performance"):
        notes.append(
            f"Measured under the frequency governor {measured.environment['governor']}, not performance."
        )
    if measured.noisy:
        notes.append(
            f"Noisy: {measured.noisy} of {measured.networks} networks did not settle within the rounds."
        )
    if measured.protocol.get("threads", 1) > 1 and not measured.protocol.get("spinning", False):
        notes.append("Threads wait for work asleep, not spinning (session.intra_op.allow_spinning=0).")
    if measured.throttled:
        notes.append(
            f"Throttled: the device slowed down during {measured.throttled} of {measured.networks} networks."
        )
    error, by_macs = measured.errors().mape, measured.errors(by_macs=True).mape
    if error > by_macs:
        notes.append(
            f"Worse than MACs alone: off by {error:.1%} on average, a line through MACs by {by_macs:.1%}; "
            "measure it again with more rounds, on a quiet device."
        )
    return tuple(notes)


def _network(space: SearchSpace, session: Session, arch: Architecture) -> Network:
    one = session.measurements[str(arch)]
    return Network(tuple(space.layers(arch)), one.latency_ms, one.uncertainty)


def _attribute(space: SearchSpace, session: Session) -> Attribution:
    profiled = [
        (_network(space, session, arch), [one for one in session.profiles if one.model == str(arch)])
        for arch in session.design.latin
    ]
    return attribute(profiled, [_network(space, session, arch) for arch in session.design.anchors])


def _pool(fits: Sequence[Sequence[LayerLatency]]) -> tuple[LayerLatency, ...]:
    """One row a layer; behind the pooling, layers are the same at every resolution."""
    found: dict[Layer, list[LayerLatency]] = {}
    for rows in fits:
        for row in rows:
            found.setdefault(row.layer, []).append(row)
    return tuple(
        LayerLatency(layer, median(row.ms for row in rows), median(row.other_ms for row in rows))
        for layer, rows in found.items()
    )


def _judge(
    space: SearchSpace, session: Session, prices: dict[Layer, float], constant: float
) -> Iterator[Holdout]:
    fitted = [_network(space, session, arch) for arch in session.design.latin + session.design.anchors]
    latency = np.array([network.latency_ms for network in fitted])
    columns = np.array([[_macs(network.layers), 1.0] for network in fitted])
    slope, start = np.linalg.lstsq(columns / latency[:, None], np.ones(len(fitted)), rcond=None)[0]
    for arch in session.design.holdouts:
        network = _network(space, session, arch)
        yield Holdout(
            architecture=str(arch),
            measured_ms=round(network.latency_ms, 6),
            predicted_ms=round(constant + sum(prices[layer] for layer in network.layers), 6),
            macs_ms=round(float(slope * _macs(network.layers) + start), 6),
            uncertainty=round(network.uncertainty, 6),
        )


def _macs(layers: Sequence[Layer]) -> float:
    return sum(map(layer_macs, layers)) / 1e6
