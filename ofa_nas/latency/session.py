"""The table made of what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from statistics import median

import numpy as np

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, Profile, Visit
from ofa_nas.errors import DeviceError
from ofa_nas.latency.attribution import Attribution, LayerLatency, Network, attribute
from ofa_nas.latency.design import Design
from ofa_nas.latency.measure import Measurement, summarise
from ofa_nas.latency.references import REFERENCE
from ofa_nas.latency.table import Holdout, LatencyTable, Measured, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

LEAST_MS = 1e-6  # of a layer: a table holds six digits behind the point


@dataclass(frozen=True, slots=True)
class Session:
    """What was measured of a space on a device.

    Attributes:
        designs: Networks, one design a resolution.
        profiles: Of the Latin designs.
        measurements: Of all networks and the references, by name.
    """

    designs: tuple[Design, ...]
    profiles: tuple[Profile, ...]
    measurements: Mapping[str, Measurement]

    @classmethod
    def of(
        cls, designs: Sequence[Design], found: Sequence[Profile | Visit], protocol: MeasuringProtocol
    ) -> "Session":
        """Summarise the visits, which stand in the order of time."""
        visits = [one for one in found if isinstance(one, Visit)]
        profiles = tuple(one for one in found if isinstance(one, Profile))
        measurements = {one.model: one for one in summarise(visits, protocol=protocol)}
        return cls(tuple(designs), profiles, measurements)


def make_table(
    space: SearchSpace,
    session: Session,
    *,
    info: DeviceInfo,
    protocol: MeasuringProtocol,
    precision: str,
) -> LatencyTable:
    """Attribute, fit on designs and anchors, judge on hold-outs.

    Raises:
        DeviceError: The profiles show no time of a layer.
    """
    fits = [_attribute(space, session, design) for design in session.designs]
    rows = _pool([fit.rows for fit in fits])
    _check_times(rows, session.designs, fits)
    prices = {row.layer: row.ms for row in rows}
    intercepts = []
    for design, fit in zip(session.designs, fits, strict=True):
        own = {row.layer: row.ms for row in fit.rows}
        layers = list(space.layers(design.latin[0]))
        moved = sum(
            own[layer] - prices[layer] for layer in layers
        )  # only layers that all resolutions share differ
        intercepts.append(fit.intercept_ms + moved)
    holdouts = [
        holdout
        for design, constant in zip(session.designs, intercepts, strict=True)
        for holdout in _judge(space, session, design, prices, constant)
    ]
    measurements = session.measurements
    measured = Measured(
        space=space.name,
        digest=space.digest,
        classes=space.classes,
        resolutions=tuple(design.resolution for design in session.designs),
        intercepts_ms=tuple(intercepts),
        rows=rows,
        holdouts=tuple(holdouts),
        seed=protocol.seed,
        noisy=sum(one.noisy for one in measurements.values()),
        throttled=sum(one.throttled for one in measurements.values()),
        networks=len(measurements),
        protocol=protocol,
        environment=info.environment,
        references={name: one.latency_ms for name, one in measurements.items() if name.startswith(REFERENCE)},
        fitted=tuple(str(arch) for design in session.designs for arch in design.latin + design.anchors),
    )
    runtime = f"onnxruntime {info.onnxruntime}"
    return LatencyTable(
        name=info.name,
        device=TableDevice(info.name, info.cpu, info.cores, runtime, protocol.threads, precision),
        held=measured,
        error=measured.errors(),
        notes=_notes(measured),
        sources=(),
        made_by=record_provenance(seed=protocol.seed).to_json(),
    )


def _notes(measured: Measured) -> tuple[str, ...]:
    warnings = measured.environment.get("warnings", [])
    notes = [f"Before it was measured, the device warned: {text}." for text in warnings]
    if measured.noisy:
        notes.append(
            f"Noisy: {measured.noisy} of {measured.networks} networks did not settle within the rounds."
        )
    if measured.protocol.threads > 1 and not measured.protocol.spinning:
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


def _attribute(space: SearchSpace, session: Session, design: Design) -> Attribution:
    profiled = [
        (_network(space, session, arch), [one for one in session.profiles if one.model == str(arch)])
        for arch in design.latin
    ]
    return attribute(profiled, [_network(space, session, arch) for arch in design.anchors])


def _check_times(
    rows: Sequence[LayerLatency], designs: Sequence[Design], fits: Sequence[Attribution]
) -> None:
    """Refuse rows without a time; `fits` are those of the designs."""
    for row in rows:
        if row.ms < LEAST_MS:
            own = [row.layer in {one.layer for one in fit.rows} for fit in fits]
            sizes = ", ".join(str(design.resolution) for design in compress(designs, own))
            raise DeviceError(
                f"layer {row.layer.name} ({row.layer.kind}) has no time at {sizes} px: the profiles of ONNX "
                "Runtime show no node of it, or one below a microsecond; measure other resolutions "
                "(--resolution), or with another onnxruntime"
            )


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
    space: SearchSpace, session: Session, design: Design, prices: dict[Layer, float], constant: float
) -> Iterator[Holdout]:
    fitted = [_network(space, session, arch) for arch in design.latin + design.anchors]
    latency = np.array([network.latency_ms for network in fitted])
    columns = np.array([[_macs(network.layers), 1.0] for network in fitted])
    slope, start = np.linalg.lstsq(columns / latency[:, None], np.ones(len(fitted)), rcond=None)[0]
    for arch in design.holdouts:
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
