"""The table made of what was measured."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, Profile, Visit
from ofa_nas.errors import DeviceError
from ofa_nas.latency.attribution import Attribution, LayerLatency, Network, attribute, attribute_by_work
from ofa_nas.latency.design import Design
from ofa_nas.latency.measure import Measurement, summarise
from ofa_nas.latency.measured import Holdout, Measured
from ofa_nas.latency.references import REFERENCE
from ofa_nas.latency.table import LEAST_MS, LatencyTable, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace


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
        DeviceError: The profiles show no time of a layer, or the device left a network out.
    """
    _check_whole(session, info.name, has_nodes=not protocol.provider)
    fits = [_attribute(space, session, design, protocol) for design in session.designs]
    _check_times(session.designs, fits)
    holdouts = [
        holdout
        for design, fit in zip(session.designs, fits, strict=True)
        for holdout in _judge(space, session, design, fit)
    ]
    measurements = session.measurements
    measured = Measured(
        space=space.name,
        digest=space.digest,
        classes=space.classes,
        resolutions=tuple(design.resolution for design in session.designs),
        intercepts_ms=tuple(fit.intercept_ms for fit in fits),
        rows=tuple(_tell_apart(session.designs, fits)),
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
    return LatencyTable(
        name=info.name,
        device=TableDevice(info.name, info.cpu, info.cores, info.runtime, protocol.threads, precision),
        held=measured,
        error=measured.errors(),
        notes=(*_notes(measured), *_notes_of_provider(protocol.provider, session.profiles)),
        sources=(),
        made_by=record_provenance(seed=protocol.seed).to_json(),
    )


def _notes_of_provider(provider: str, profiles: Sequence[Profile]) -> Iterator[str]:
    """What of the networks an execution provider has left to the CPU."""
    nodes = [node for profile in profiles for node in profile.nodes]
    left = {node.operator for node in nodes if not node.elsewhere}
    if provider and left:
        share = sum(node.ms for node in nodes if not node.elsewhere) / sum(node.ms for node in nodes)
        yield f"{provider} leaves {share:.0%} of the time to the CPU: {', '.join(sorted(left))}."


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


def _attribute(
    space: SearchSpace, session: Session, design: Design, protocol: MeasuringProtocol
) -> Attribution:
    if protocol.provider:
        return attribute_by_work([_network(space, session, arch) for arch in design.latin + design.anchors])
    profiled = [
        (_network(space, session, arch), [one for one in session.profiles if one.model == str(arch)])
        for arch in design.latin
    ]
    return attribute(profiled, [_network(space, session, arch) for arch in design.anchors])


def _check_whole(session: Session, name: str, *, has_nodes: bool) -> None:
    """Refuse networks that a device did not time, or did not profile where times of nodes are needed."""
    profiled = {one.model for one in session.profiles}
    for design in session.designs:
        for arch in map(str, design.networks):
            if arch not in session.measurements:
                raise DeviceError(
                    f"{name}: time gave no visit of {arch}; expected one or more for each model"
                )
        for arch in map(str, design.latin if has_nodes else ()):
            if arch not in profiled:
                raise DeviceError(
                    f"{name}: profile gave nothing for {arch}; expected a profile for each model, or, "
                    "without times of nodes, a provider in info"
                )


def _check_times(designs: Sequence[Design], fits: Sequence[Attribution]) -> None:
    """Refuse layers without a time; `fits` are those of the designs."""
    silent: dict[Layer, list[int]] = {}
    for design, fit in zip(designs, fits, strict=True):
        for row in fit.rows:
            if row.ms < LEAST_MS:
                silent.setdefault(row.layer, []).append(design.resolution)
    for layer, sizes in silent.items():
        raise DeviceError(
            f"layer {layer.name} ({layer.kind}) has no time at {', '.join(map(str, sizes))} px: the profiles "
            "of ONNX Runtime show no node of it, or one below a microsecond; measure other resolutions "
            "(--resolution), or with another onnxruntime; a backend of your own "
            "that knows no times of nodes names a provider in info"
        )


def _tell_apart(designs: Sequence[Design], fits: Sequence[Attribution]) -> Iterator[LayerLatency]:
    """Rows of all fits; those of a layer that resolutions share say whose they are.

    Layers and constant of a resolution were fitted to its networks together: one of them is not to be had
    without the others.
    """
    fitted = Counter(row.layer for fit in fits for row in fit.rows)
    for design, fit in zip(designs, fits, strict=True):
        for row in fit.rows:
            yield replace(row, resolution=design.resolution) if fitted[row.layer] > 1 else row


def _judge(space: SearchSpace, session: Session, design: Design, fit: Attribution) -> Iterator[Holdout]:
    prices = {row.layer: row.ms for row in fit.rows}
    fitted = design.latin + design.anchors
    latency = np.array([_network(space, session, arch).latency_ms for arch in fitted])
    columns = np.array([[network_macs(space, arch) / 1e6, 1.0] for arch in fitted])
    slope, start = np.linalg.lstsq(columns / latency[:, None], np.ones(len(fitted)), rcond=None)[0]
    for arch in design.holdouts:
        network = _network(space, session, arch)
        yield Holdout(
            architecture=str(arch),
            measured_ms=round(network.latency_ms, 6),
            predicted_ms=round(fit.intercept_ms + sum(prices[layer] for layer in network.layers), 6),
            macs_ms=round(float(slope * (network_macs(space, arch) / 1e6) + start), 6),
            uncertainty=round(network.uncertainty, 6),
        )
