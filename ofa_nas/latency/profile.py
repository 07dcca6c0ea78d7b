"""Profile a device: draw networks, measure them, and make a table of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from ofa_nas.assets import cache_folder
from ofa_nas.devices import HOST, Device, DeviceInfo, MeasuringProtocol, Profile, Visit, open_device
from ofa_nas.errors import ConfigError
from ofa_nas.latency.attribution import Attribution, LayerLatency, Network, attribute
from ofa_nas.latency.design import Design, draw_design
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.latency.references import common_level, reference_models, slowdown, write_network
from ofa_nas.latency.table import Holdout, LatencyTable, Measured, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Progress:
    """How far profiling has come.

    Attributes:
        resolution: Being measured [px].
        done: Steps done, over all resolutions.
        total: Steps that there are at least.
    """

    resolution: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Session:
    """What was measured at one resolution.

    Attributes:
        design: Its networks.
        profiles: Of the Latin designs.
        measurements: Of all networks and the references, by name.
    """

    design: Design
    profiles: tuple[Profile, ...]
    measurements: dict[str, Measurement]

    @property
    def references(self) -> dict[str, float]:
        """What the reference networks took [ms]."""
        return {
            name: one.latency_ms for name, one in self.measurements.items() if name.startswith("reference ")
        }

    def at_level(self, level: Mapping[str, float]) -> "Session":
        """The same session at the speed at which references take `level` [ms]."""
        factor = slowdown(self.references, level)
        return replace(
            self, measurements={name: one.at_speed(factor) for name, one in self.measurements.items()}
        )


def profile_host(
    space: SearchSpace,
    *,
    threads: int = 1,
    seed: int = 0,
    resolutions: Sequence[int] = (),
    clock: str = "wall",
) -> Iterator[Progress | LatencyTable]:
    """Measure this machine; the last record is the table.

    Args:
        space: Whose layers to measure, with the number of classes that will be used.
        threads: Of ONNX Runtime.
        seed: Of designs, weights and order.
        resolutions: Some of the space's; all without.
        clock: `wall` or `cpu`.
    """
    protocol = MeasuringProtocol(threads=threads, seed=seed, clock=clock)
    yield from profile_device(open_device(HOST), space, protocol=protocol, resolutions=resolutions)


def profile_device(
    device: Device,
    space: SearchSpace,
    *,
    protocol: MeasuringProtocol,
    resolutions: Sequence[int] = (),
    name: str = "",
) -> Iterator[Progress | LatencyTable]:
    """Measure a device resolution by resolution; the last record is the table.

    Args:
        device: Where.
        space: Whose layers to measure.
        protocol: How.
        resolutions: Some of the space's; all without.
        name: Of the table; the device's own without.

    Raises:
        ConfigError: A resolution is not the space's, or processor time is asked of several threads.
        DeviceError: The device cannot measure.
    """
    sizes = check_request(space, protocol, resolutions)
    info = device.info()
    info = replace(info, name=name or info.name)
    rng = np.random.default_rng(protocol.seed)
    sessions = []
    for number, size in enumerate(sizes):
        design = draw_design(space, size, rng)
        steps = (len(design.networks) + 3) * protocol.rounds + len(design.latin) * protocol.profile_sittings
        for done, record in enumerate(_run(device, space, design, protocol=protocol, rng=rng)):
            if isinstance(record, Session):
                sessions.append(record)
            else:
                yield Progress(size, number * steps + min(done, steps), len(sizes) * steps)
    yield make_table(space, sessions, info=info, protocol=protocol)


def check_request(
    space: SearchSpace, protocol: MeasuringProtocol, resolutions: Sequence[int]
) -> tuple[int, ...]:
    """The resolutions to measure, rising [px].

    Raises:
        ConfigError: One of them is not the space's, or processor time is asked of several threads.
    """
    sizes = tuple(sorted(set(resolutions))) or space.resolutions
    for size in sizes:
        if size not in space.resolutions:
            known = ", ".join(map(str, space.resolutions))
            raise ConfigError(f"resolution {size} is not in {space.name}; it has {known}")
    if protocol.clock == "cpu" and protocol.threads > 1:
        raise ConfigError("processor time adds up over threads; measure several threads by the wall clock")
    return sizes


def _run(
    device: Device,
    space: SearchSpace,
    design: Design,
    *,
    protocol: MeasuringProtocol,
    rng: np.random.Generator,
) -> Iterator[Profile | Visit | Session]:
    models = [write_network(space, arch, rng, name=str(arch)) for arch in design.networks]
    profiles = []
    for profile in device.profile(models[: len(design.latin)], protocol):
        profiles.append(profile)
        yield profile
    measurements = {}
    for record in measure(device, models + reference_models(space), protocol=protocol):
        if isinstance(record, Measurement):
            measurements[record.model] = record
        else:
            yield record
    yield Session(design, tuple(profiles), measurements)


def make_table(
    space: SearchSpace, sessions: Sequence[Session], *, info: DeviceInfo, protocol: MeasuringProtocol
) -> LatencyTable:
    """Attribute, fit on designs and anchors, judge on hold-outs."""
    level = common_level([session.references for session in sessions])
    sessions = [session.at_level(level) for session in sessions]
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
        references=level,
    )
    runtime = f"onnxruntime {info.onnxruntime}"
    return LatencyTable(
        name=info.name,
        device=TableDevice(info.name, info.cpu, info.cores, runtime, protocol.threads),
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
    if measured.throttled:
        notes.append(
            f"Throttled: the device slowed down during {measured.throttled} of {measured.networks} networks."
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


def cached_table_path(space: SearchSpace, info: DeviceInfo, *, threads: int = 1) -> Path:
    """Where a device's table of a space lies in the user's cache folder."""
    return named_table_path(space, info.name, threads=threads)


def named_table_path(space: SearchSpace, name: str, *, threads: int = 1) -> Path:
    """Where a table of that name would lie there."""
    return cache_folder() / "latency_tables" / f"{name}-{space.name}-{space.digest}-{threads}t.json"


def is_fresh(
    table: LatencyTable,
    space: SearchSpace,
    info: DeviceInfo,
    *,
    threads: int = 1,
    resolutions: Sequence[int] = (),
) -> bool:
    """Whether a table was measured on this machine, runtime and space, and holds the resolutions."""
    held = table.measured
    return (
        held is not None
        and held.digest == space.digest
        and set(resolutions or space.resolutions) <= set(held.resolutions)
        and table.device.threads == threads
        and table.device.runtime == f"onnxruntime {info.onnxruntime}"
        and _machine(held.environment) == _machine(info.environment)
    )


def _machine(environment: object) -> tuple[object, ...]:
    told = environment if isinstance(environment, dict) else {}
    return tuple(told.get(key) for key in ("host_name", "cpu", "cores", "architecture"))
