"""Profile a device: draw networks, and measure them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.activity import Activity
from ofa_nas.devices import Device, DeviceInfo, MeasuringProtocol, Model, Profile, Visit, agent
from ofa_nas.devices.job import PackedModel, pack_model
from ofa_nas.errors import ConfigError
from ofa_nas.figures import format_bytes
from ofa_nas.latency.design import Design, draw_design
from ofa_nas.latency.references import reference_architectures, reference_models, write_network
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.precisions import FP32, INT8, TABLE_PRECISIONS
from ofa_nas.randomness import rng_of
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace

# Bytes of a compressed model for a byte of its weights in fp32, and for a layer: fitted to the networks of
# mobilenet_v3 and efficientnet_lite, whose sums they tell to a tenth.
PACKED = {FP32: (0.0073, 2780), INT8: (0.0010, 4650)}


def profile_device(
    device: Device,
    space: SearchSpace,
    *,
    protocol: MeasuringProtocol,
    resolutions: Sequence[int] = (),
    name: str = "",
    precision: str = FP32,
    written: list[PackedModel] | None = None,
) -> Iterator[Activity | LatencyTable]:
    """Measure a device; the last record is the table.

    Args:
        device: Where.
        space: Whose layers to measure.
        protocol: How; the execution provider is the device's.
        resolutions: Some of the space's; all without.
        name: Of the table; the device's own without.
        precision: Of the networks, `fp32` or `int8`: quantised ones, as `ofa_nas.quantization` makes them.
        written: The networks of a call before that differs in nothing but threads, rounds and clock: they
            are not written again. An empty list is filled.

    Raises:
        ConfigError: A resolution is not the space's, processor time is asked of several threads, or more
            threads than the device has cores, or its CPU quota leaves.
        DeviceError: The device cannot measure.
    """
    info = device.info()
    protocol = replace(protocol, provider=info.provider)
    sizes = check_request(space, protocol, resolutions, precision=precision)
    info = replace(examined_for(protocol.threads, info), name=name or info.name)
    networks = Networks.draw(space, sizes, protocol.seed, provider=info.provider)
    profiled = networks.profiled
    models = list(written or ())
    count = len(networks.names) + len(reference_architectures(space))
    steps = {
        "writing networks": 0 if models else count,
        "profiling": len(profiled) * protocol.profile_sittings,
        "timing": count * protocol.rounds,
    }
    yield Activity(networks.extent(precision), 0, sum(steps.values()))
    for model in networks.write_all(precision=precision) if not models else ():
        models.append(pack_model(model))
        yield _progress(steps, "writing networks", len(models))
    if written is not None:
        written[:] = models
    found: list[Profile | Visit] = []
    for profile in device.profile([model for model in models if model.name in profiled], protocol):
        found.append(profile)
        yield _progress(steps, "profiling", len(found))
    for done, visit in enumerate(device.time(models, protocol), start=1):
        found.append(visit)
        yield _progress(steps, "timing", done)
    session = Session.of(networks.designs, found, protocol)
    yield make_table(space, session, info=info, protocol=protocol, precision=precision)


def _progress(steps: Mapping[str, int], part: str, done: int) -> Activity:
    before = list(steps.values())[: list(steps).index(part)]
    told = part if done <= steps[part] else "timing again what has not settled"
    return Activity(told, sum(before) + min(done, steps[part]), sum(steps.values()))


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
    def draw(
        cls, space: SearchSpace, resolutions: Sequence[int], seed: int, *, provider: str = ""
    ) -> "Networks":
        """Draw the designs of some resolutions [px], for an execution provider."""
        rng = rng_of(seed)
        designs = tuple(draw_design(space, size, rng, provider=provider) for size in resolutions)
        return cls(space, designs, rng)

    @property
    def names(self) -> list[str]:
        """Of all models, one resolution after the other."""
        return [str(arch) for design in self.designs for arch in design.networks]

    @property
    def profiled(self) -> list[str]:
        """Names of the models that are profiled."""
        return [str(arch) for design in self.designs for arch in design.latin]

    def extent(self, precision: str) -> str:
        """How many they are, and how many bytes they take, nearly, when they are compressed."""
        archs = [arch for design in self.designs for arch in design.networks]
        layers = [layer for arch in archs for layer in self.space.layers(arch)]
        for_weights, for_layer = PACKED[precision]
        size = for_weights * sum(map(weight_bytes, layers)) + for_layer * len(layers)
        return f"{len(archs)} networks, about {format_bytes(size)}"

    def write_all(self, *, precision: str) -> Iterator[Model]:
        """Write references and networks, as they are timed; once, for weights are drawn."""
        yield from reference_models(self.space, precision=precision)
        for design in self.designs:
            for arch in design.networks:
                yield write_network(self.space, arch, self.rng, name=str(arch), precision=precision)


def check_request(
    space: SearchSpace, protocol: MeasuringProtocol, resolutions: Sequence[int], *, precision: str = FP32
) -> tuple[int, ...]:
    """The resolutions to measure, rising [px].

    Raises:
        ConfigError: One of them is not the space's, processor time is asked of several threads or of an
            execution provider, or there is no such precision or provider.
    """
    if protocol.provider and not agent.PROVIDER.fullmatch(protocol.provider):
        raise ConfigError(
            f"execution provider {protocol.provider[:80]!r}: expected a name such as cuda, and options "
            "behind commas: openvino,device_type=GPU"
        )
    if precision not in TABLE_PRECISIONS:
        raise ConfigError(f"precision {precision}: expected {' or '.join(TABLE_PRECISIONS)}")
    sizes = tuple(sorted(set(resolutions))) or space.resolutions
    for size in sizes:
        if size not in space.resolutions:
            known = ", ".join(map(str, space.resolutions))
            raise ConfigError(f"resolution {size} is not in {space.name}; it has {known}")
    if protocol.clock == "cpu" and protocol.threads > 1:
        raise ConfigError("processor time adds up over threads; measure several threads by the wall clock")
    if protocol.clock == "cpu" and protocol.provider:
        raise ConfigError(f"{protocol.provider} may compute elsewhere: measure it by the wall clock")
    return sizes


def examined_for(threads: int, info: DeviceInfo) -> DeviceInfo:
    """What a device says of itself where so many threads are to be measured: it was asked for one.

    Raises:
        ConfigError: It has fewer cores, or its CPU quota leaves fewer.
    """
    if threads > info.cores:
        raise ConfigError(f"{threads} threads, but {info.name} has {info.cores} cores: ask for fewer")
    quota = info.environment.get("cpu_quota", 0.0)
    for fault in agent.find_quota_faults(threads, quota):
        raise ConfigError(f"{info.name}: {fault}")
    doubts = agent.find_quota_doubts(threads, quota) if threads > 1 else []
    if not doubts:
        return info
    warnings = [*info.environment.get("warnings", []), *doubts]
    return replace(info, environment={**info.environment, "warnings": warnings})
