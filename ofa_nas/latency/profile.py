"""Profile a device: draw networks, measure them, and find the table again later."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ofa_nas.assets import cache_folder
from ofa_nas.devices import (
    FP32,
    HOST,
    PRECISIONS,
    Device,
    DeviceInfo,
    MeasuringProtocol,
    Model,
    Profile,
    Visit,
    open_device,
)
from ofa_nas.devices.job import pack_model
from ofa_nas.errors import ConfigError
from ofa_nas.latency.design import Design, draw_design
from ofa_nas.latency.references import reference_architectures, reference_models, write_network
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Progress:
    """How far profiling has come.

    Attributes:
        part: Being measured, for people.
        done: Steps done, over all resolutions.
        total: Steps that there are at least.
    """

    part: str
    done: int
    total: int


def profile_host(
    space: SearchSpace,
    *,
    threads: int = 1,
    seed: int = 0,
    resolutions: Sequence[int] = (),
    clock: str = "wall",
    precision: str = FP32,
) -> Iterator[Progress | LatencyTable]:
    """Measure this machine; the last record is the table.

    Args:
        space: Whose layers to measure, with the number of classes that will be used.
        threads: Of ONNX Runtime.
        seed: Of designs, weights and order.
        resolutions: Some of the space's; all without.
        clock: `wall` or `cpu`.
        precision: Of the networks, `fp32` or `int8`.
    """
    protocol = MeasuringProtocol(threads=threads, seed=seed, clock=clock)
    device = open_device(HOST)
    yield from profile_device(device, space, protocol=protocol, resolutions=resolutions, precision=precision)


def profile_device(
    device: Device,
    space: SearchSpace,
    *,
    protocol: MeasuringProtocol,
    resolutions: Sequence[int] = (),
    name: str = "",
    precision: str = FP32,
) -> Iterator[Progress | LatencyTable]:
    """Measure a device; the last record is the table.

    Args:
        device: Where.
        space: Whose layers to measure.
        protocol: How.
        resolutions: Some of the space's; all without.
        name: Of the table; the device's own without.
        precision: Of the networks, `fp32` or `int8`: quantised ones, as `ofa_nas.quantization` makes them.

    Raises:
        ConfigError: A resolution is not the space's, processor time is asked of several threads, or more
            threads than the device has cores.
        DeviceError: The device cannot measure.
    """
    sizes = check_request(space, protocol, resolutions, precision=precision)
    info = device.info()
    check_threads(protocol.threads, info)
    info = replace(info, name=name or info.name)
    networks = Networks.draw(space, sizes, protocol.seed)
    profiled = networks.profiled
    steps = {
        "writing networks": len(networks.names),
        "profiling": len(profiled) * protocol.profile_sittings,
        "timing": (len(networks.names) + len(reference_architectures(space))) * protocol.rounds,
    }
    models = []
    for model in networks.write(precision=precision):
        models.append(pack_model(model))
        yield _progress(steps, "writing networks", len(models))
    found: list[Profile | Visit] = []
    for profile in device.profile([model for model in models if model.name in profiled], protocol):
        found.append(profile)
        yield _progress(steps, "profiling", len(found))
    references = reference_models(space, precision=precision)[::-1]  # the largest is the sentinel
    for done, visit in enumerate(device.time([*references, *models], protocol), start=1):
        found.append(visit)
        yield _progress(steps, "timing", done)
    session = Session.of(networks.designs, found, protocol)
    yield make_table(space, session, info=info, protocol=protocol, precision=precision)


def _progress(steps: Mapping[str, int], part: str, done: int) -> Progress:
    before = list(steps.values())[: list(steps).index(part)]
    return Progress(part, sum(before) + min(done, steps[part]), sum(steps.values()))


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a table.

    Attributes:
        space: Theirs.
        designs: One a resolution.
        rng: That drew them, and draws their weights.
    """

    space: SearchSpace
    designs: tuple[Design, ...]
    rng: np.random.Generator

    @classmethod
    def draw(cls, space: SearchSpace, resolutions: Sequence[int], seed: int) -> "Networks":
        """Draw the designs of some resolutions [px]."""
        rng = np.random.default_rng(seed)
        return cls(space, tuple(draw_design(space, size, rng) for size in resolutions), rng)

    @property
    def names(self) -> list[str]:
        """Of all models, one resolution after the other."""
        return [str(arch) for design in self.designs for arch in design.networks]

    @property
    def profiled(self) -> list[str]:
        """Names of the models that are profiled."""
        return [str(arch) for design in self.designs for arch in design.latin]

    def write(self, *, precision: str) -> Iterator[Model]:
        """Write the models, in the order of `names`; once, for weights are drawn."""
        for design in self.designs:
            for arch in design.networks:
                yield write_network(self.space, arch, self.rng, name=str(arch), precision=precision)


def check_request(
    space: SearchSpace, protocol: MeasuringProtocol, resolutions: Sequence[int], *, precision: str = FP32
) -> tuple[int, ...]:
    """The resolutions to measure, rising [px].

    Raises:
        ConfigError: One of them is not the space's, processor time is asked of several threads, or there is
            no such precision.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision}: expected {' or '.join(PRECISIONS)}")
    sizes = tuple(sorted(set(resolutions))) or space.resolutions
    for size in sizes:
        if size not in space.resolutions:
            known = ", ".join(map(str, space.resolutions))
            raise ConfigError(f"resolution {size} is not in {space.name}; it has {known}")
    if protocol.clock == "cpu" and protocol.threads > 1:
        raise ConfigError("processor time adds up over threads; measure several threads by the wall clock")
    return sizes


def check_threads(threads: int, info: DeviceInfo) -> None:
    """Refuse more threads than a device has cores.

    Raises:
        ConfigError: Says how many there are.
    """
    if threads > info.cores:
        raise ConfigError(f"{threads} threads, but {info.name} has {info.cores} cores: ask for fewer")


def cached_table_path(
    space: SearchSpace, info: DeviceInfo, *, threads: int = 1, precision: str = FP32
) -> Path:
    """Where a device's table of a space lies in the user's cache folder."""
    return named_table_path(space, info.name, threads=threads, precision=precision)


def named_table_path(space: SearchSpace, name: str, *, threads: int = 1, precision: str = FP32) -> Path:
    """Where a table of that name would lie there; one for each number of threads and each precision."""
    use = f"{threads}t" if precision == FP32 else f"{threads}t-{precision}"
    return (
        cache_folder() / "latency_tables" / f"{_plain(name)}-{_plain(space.name)}-{space.digest}-{use}.json"
    )


def _plain(name: str) -> str:
    """What of a name may be part of a file's: a space of somebody else's may be called `../../x`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:80].lstrip(".")


def is_fresh(
    table: LatencyTable,
    space: SearchSpace,
    info: DeviceInfo,
    *,
    threads: int = 1,
    resolutions: Sequence[int] = (),
    precision: str = FP32,
) -> bool:
    """Whether a table was measured on this machine, runtime and space, and holds the resolutions."""
    held = table.measured
    return (
        held is not None
        and held.digest == space.digest
        and set(resolutions or space.resolutions) <= set(held.resolutions)
        and (table.device.threads, table.device.precision) == (threads, precision)
        and table.device.runtime == f"onnxruntime {info.onnxruntime}"
        and _machine(held.environment) == _machine(info.environment)
    )


def _machine(environment: object) -> tuple[object, ...]:
    told = environment if isinstance(environment, dict) else {}
    return tuple(told.get(key) for key in ("host_name", "cpu", "cores", "architecture"))
