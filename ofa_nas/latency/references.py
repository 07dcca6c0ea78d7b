"""Reference networks: they tell how fast a machine is now, beside how fast it was.

A shared machine's speed changes from day to day, and not by the same factor for every network. A few
are timed among those of a table, and again beside a file that is checked against it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_nas.devices import AnyModel, Device, MeasuringProtocol, Model, Visit
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.latency.verification import why_stale
from ofa_nas.precisions import FP32, INT8
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import input_shape
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace

REFERENCE = "reference "  # how names of their models begin
RANDOM_SIZES = 5  # resolutions of which a random architecture is a reference, at most


@dataclass(frozen=True, slots=True)
class Timed:
    """Latencies of models that were timed among the references.

    Attributes:
        now: By name, references among them, as they were measured.
        ratios: How many times as long each reference takes now as for the table, by name.
        slowdown: The same for all of them; 1 where there are none.
        changes: What of the environment is not as it was for the table.
    """

    now: Mapping[str, Measurement]
    ratios: Mapping[str, float]
    slowdown: float
    changes: tuple[str, ...] = ()

    @property
    def at_table_speed(self) -> dict[str, Measurement]:
        """By name, at the speed that the device had for its table."""
        return {name: one.at_speed(self.slowdown) for name, one in self.now.items()}

    @property
    def stale(self) -> tuple[str, ...]:
        """Why the table's milliseconds are not those of the device any more; nothing if they are."""
        return why_stale(self.changes, self.slowdown if self.ratios else None)

    @property
    def judged(self) -> Mapping[str, Measurement]:
        """What a budget is held against: at the table's speed, or as measured where the table is stale."""
        return self.now if self.stale else self.at_table_speed


def reference_architectures(space: SearchSpace) -> tuple[Architecture, ...]:
    """The smallest, random ones of resolutions spread over the space, a middle and the largest architecture.

    What is random follows from the resolution alone: fewer resolutions of the same space share references.
    """
    encoding, sizes = Encoding.of(space), len(space.resolutions)
    indices = np.unique(np.linspace(0, sizes - 1, num=min(sizes, RANDOM_SIZES)).round().astype(int))
    genes = np.concatenate(
        [encoding.sample(1, np.random.default_rng(space.resolutions[index])) for index in indices]
    )
    genes[:, 0] = indices
    return tuple(dict.fromkeys((space.smallest, *encoding.decode(genes), space.middle, space.largest)))


def write_network(
    space: SearchSpace,
    arch: Architecture,
    rng: np.random.Generator,
    *,
    name: str,
    precision: str = FP32,
) -> Model:
    """An architecture as a model with random weights; in int8 calibrated on one random image."""
    from ofa_nas.onnx_writer import random_weights, write_model

    layers = list(space.layers(arch))
    model = write_model(layers, random_weights(layers, rng))
    if precision == INT8:
        from ofa_nas.quantization import quantize

        shape = (1, *input_shape(layers[0]))
        model = quantize(model, rng.standard_normal(shape).astype(np.float32))
    return Model(name, model.SerializeToString())


def reference_name(arch: Architecture, *, precision: str = FP32) -> str:
    """Name of a reference's model, which no other network has; those of another precision do not compare."""
    return f"{REFERENCE}{arch}" if precision == FP32 else f"{REFERENCE}{arch} {precision}"


def reference_models(space: SearchSpace, *, precision: str = FP32) -> Iterator[Model]:
    """The references as models, always the same; the largest comes first, for it is the sentinel."""
    for arch in reversed(reference_architectures(space)):
        name = reference_name(arch, precision=precision)
        yield write_network(space, arch, np.random.default_rng(0), name=name, precision=precision)


def slowdown(now_ms: Mapping[str, float], then_ms: Mapping[str, float]) -> float:
    """How many times as long the references take now; the geometric mean over those that both know."""
    shared = now_ms.keys() & then_ms.keys()
    return (
        float(np.exp(np.mean([np.log(now_ms[name] / then_ms[name]) for name in shared]))) if shared else 1.0
    )


def time_among_references(
    models: Sequence[AnyModel],
    device: Device,
    *,
    space: SearchSpace,
    then_ms: Mapping[str, float],
    precision: str,
    protocol: MeasuringProtocol,
    changes: tuple[str, ...] = (),
) -> Iterator[Visit | Timed]:
    """Time models in one interleaved session with the references, of which the largest is the sentinel.

    Args:
        models: To time.
        device: Where; it drops what it keeps to go on after an interruption.
        space: Of the references.
        then_ms: What they took for the table, by name [ms]; where nobody knows, there are none.
        precision: Of the references.
        protocol: How.
        changes: What of the environment is not as it was for the table.

    Yields:
        Visits, then what they found.

    Raises:
        DeviceError: The device cannot be reached, or refuses a network.
    """
    references = reference_models(space, precision=precision) if then_ms else ()
    found: dict[str, Measurement] = {}
    for record in measure(device, [*references, *models], protocol=protocol):
        if isinstance(record, Measurement):
            found[record.model] = record
        else:
            yield record
    device.forget()
    now_ms = {name: one.latency_ms for name, one in found.items()}
    factor = slowdown(now_ms, then_ms)
    ratios = {name: now_ms[name] / then for name, then in then_ms.items() if name in now_ms}
    yield Timed(found, ratios, factor, changes)
