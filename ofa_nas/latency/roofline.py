"""Roofline: a board that nobody measured, as two published numbers; it ranks networks and tells what binds.

An operator takes as long as its arithmetic at peak speed or its bytes at full bandwidth, whichever is longer.
No real network reaches published peaks, so milliseconds come only after a calibration.

Source: Williams, Waterman and Patterson 2009, Communications of the ACM 52(4) (roofline model).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.assets import asset_names, find_asset
from ofa_nas.errors import TableError
from ofa_nas.latency.operator_model import FEATURES
from ofa_nas.precisions import FP32, INT8
from ofa_nas.section import Section, read_toml
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution, Operator

FOLDER, SUFFIX = "latency_tables/rooflines", ".toml"
ELEMENT_BYTES = {FP32: 4, INT8: 1}
_LEAST, _MOST = 1e-9, 1e9  # of any number of a model
LEAST_RIDGE, MOST_RIDGE = 0.1, 1e3  # of processors and GPUs [MAC/B]
_UNIT = 1e6  # GMAC/s and GB/s are millions of MACs and bytes a millisecond


@dataclass(frozen=True, slots=True)
class Work:
    """What operators ask of a board.

    Attributes:
        macs: `(n,)` float64.
        bytes: `(n,)` float64, read and written: input, output and weights.
        is_depthwise: `(n,)` bool.
    """

    macs: Floats
    bytes: Floats
    is_depthwise: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, operators: Iterable[Operator], *, element_bytes: int = 4) -> Self:
        """Work of operators; those without any, such as activations, are left out."""
        moved = FEATURES["elements_moved"]
        found = [
            (float(operator.macs), float(element_bytes * elements), _is_depthwise(operator))
            for operator in operators
            if (elements := moved(operator) + operator.weights)
        ]
        macs, sizes, depthwise = zip(*found, strict=True) if found else ((), (), ())
        return cls(np.array(macs), np.array(sizes), np.array(depthwise, dtype=bool))


def _is_depthwise(operator: Operator) -> bool:
    return isinstance(operator, Convolution) and 1 < operator.groups == operator.in_channels


@dataclass(frozen=True, slots=True)
class RooflineModel:
    """What an operator takes: the longer of arithmetic and memory, and an overhead.

    Attributes:
        gmac_per_s: Arithmetic [1e9 MAC/s].
        gb_per_s: Memory [1e9 B/s].
        depthwise_slowdown: How many times as long a MAC of a depthwise convolution takes.
        overhead_ms: What an operator takes beside its work.
        element_bytes: Of weights and activations.
    """

    gmac_per_s: float
    gb_per_s: float
    depthwise_slowdown: float = 1.0
    overhead_ms: float = 0.0
    element_bytes: int = 4

    @property
    def ridge(self) -> float:
        """Arithmetic intensity below which memory binds [MAC/B]."""
        return self.gmac_per_s / self.gb_per_s

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of published figures is hardly that of a board: one of them is most likely in another unit."""
        if LEAST_RIDGE <= self.ridge <= MOST_RIDGE:
            return ()
        told = (
            f"Doubtful: {self.gmac_per_s:g} GMAC/s beside {self.gb_per_s:g} GB/s, by which memory binds "
            f"below {self.ridge:.2g} MAC/B; for boards that is {LEAST_RIDGE:g} to {MOST_RIDGE:.0f}. A GMAC/s "
            "is half of a GFLOP/s, a GB/s 1e9 bytes a second."
        )
        return (told,)

    @property
    def constant_ms(self) -> float:
        """What a network takes beside its layers: nothing."""
        return 0.0

    def terms(self, work: Work) -> tuple[Floats, Floats]:
        """Arithmetic and memory of operators: `(n,)` and `(n,)` float64 [ms]."""
        slowdown = np.where(work.is_depthwise, self.depthwise_slowdown, 1.0)
        return work.macs * slowdown / (self.gmac_per_s * _UNIT), work.bytes / (self.gb_per_s * _UNIT)

    def work_ms(self, work: Work) -> Floats:
        """What operators take: `(n,)` float64 [ms]."""
        return np.asarray(np.maximum(*self.terms(work)) + self.overhead_ms)

    def layer_ms(self, layer: Layer) -> float:
        """What a layer takes inside a network [ms]; of published peaks it only ranks."""
        return float(self.work_ms(Work.of(lower(layer), element_bytes=self.element_bytes)).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return asdict(self)

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read what `to_json` wrote.

        Raises:
            TableError: It is no roofline; the message names the key and what may stand there.
        """
        model = cls(
            gmac_per_s=section.number("gmac_per_s", minimum=_LEAST, maximum=_MOST),
            gb_per_s=section.number("gb_per_s", minimum=_LEAST, maximum=_MOST),
            depthwise_slowdown=section.number("depthwise_slowdown", minimum=_LEAST, maximum=_MOST),
            overhead_ms=section.number("overhead_ms", minimum=0.0, maximum=_MOST),
            element_bytes=section.integer("element_bytes"),
        )
        section.close()
        if model.element_bytes not in ELEMENT_BYTES.values():
            raise section.refusal("element_bytes", f"expected 1 or 4, got {model.element_bytes}")
        return model


@dataclass(frozen=True, slots=True)
class Roofline:
    """A board by its published numbers; it ranks and promises no milliseconds.

    Attributes:
        name: Of the file.
        description: The board, for people.
        cpu: Processor, cores and clock.
        cores: That the peak counts.
        precision: `fp32` or `int8`.
        model: Published peak and bandwidth.
        peak_source: Where the peak comes from.
        bandwidth_source: Where the bandwidth comes from.
        path: The file.
    """

    name: str
    description: str
    cpu: str
    cores: int
    precision: str
    model: RooflineModel
    peak_source: str
    bandwidth_source: str
    path: Path

    @classmethod
    def load(cls, name_or_path: str) -> Self:
        """Read a shipped roofline by name, or any TOML file by path.

        Raises:
            TableError: There is none, or the file is wrong; the message names file and key.
        """
        path = find_asset(FOLDER, name_or_path, suffix=SUFFIX, error=TableError)
        root = read_toml(path, error=TableError)
        peak, bandwidth = root.section("peak"), root.section("bandwidth")
        precision = root.text("precision", choices=tuple(ELEMENT_BYTES))
        roofline = cls(
            name=path.stem,
            description=root.text("description"),
            cpu=root.text("cpu"),
            cores=root.integer("cores", maximum=1024),
            precision=precision,
            model=RooflineModel(
                gmac_per_s=peak.number("gmac_per_s", minimum=1e-3, maximum=1e7),
                gb_per_s=bandwidth.number("gb_per_s", minimum=1e-3, maximum=1e6),
                element_bytes=ELEMENT_BYTES[precision],
            ),
            peak_source=_read_source(peak),
            bandwidth_source=_read_source(bandwidth),
            path=path,
        )
        for section in (peak, bandwidth, root):
            section.close()
        return roofline


def _read_source(section: Section) -> str:
    """A number without a source is refused."""
    source = section.text("source")
    if not source.strip():
        raise section.refusal("source", "expected where the number comes from")
    return source


def roofline_names() -> list[str]:
    """Names of the rooflines that ship, sorted."""
    return asset_names(FOLDER, suffix=SUFFIX)


def refuse_roofline(name_or_path: str) -> None:
    """Refuse a roofline where a latency table is asked for.

    Raises:
        TableError: It is one, and no table has that name; the message says how milliseconds are got.
    """
    is_shipped = name_or_path in roofline_names() and not _has_table(name_or_path)
    if is_shipped or name_or_path.endswith(SUFFIX):
        board = Roofline.load(name_or_path)
        raise TableError(
            f"{name_or_path} is a roofline of {board.description}: it ranks and promises no milliseconds. "
            f"Time two networks or 30 blocks on the board and run ofa-nas devices calibrate {name_or_path} "
            f"measured.csv --output {board.name}.json, or run ofa-nas profile there; "
            "then give that table to --device"
        )


def _has_table(name: str) -> bool:
    return name in asset_names("latency_tables", suffix=".json")


@dataclass(frozen=True, slots=True)
class LayerBound:
    """What binds a layer.

    Attributes:
        layer: Name of it.
        macs: For one image.
        bytes: Read and written by its operators.
        intensity: MACs over bytes.
        bound: `memory` or `compute`: where more of its time goes.
        share: Of the network's time, a fraction.
        memory_share: Part of its own time in operators that memory binds, a fraction.
    """

    layer: str
    macs: int
    bytes: int
    intensity: float
    bound: str
    share: float
    memory_share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A network on a roofline.

    Attributes:
        layers: In execution order.
        total_ms: Sum of what they take; it only ranks unless the model was calibrated.
        memory_share: Part of it in operators that memory binds, a fraction.
    """

    layers: tuple[LayerBound, ...]
    total_ms: float
    memory_share: float

    @property
    def memory_bound(self) -> int:
        """How many layers memory binds."""
        return sum(layer.bound == "memory" for layer in self.layers)


def explain(model: RooflineModel, layers: Sequence[Layer]) -> Explanation:
    """Work out for each layer of a network what binds it, and for how much of the time."""
    works = [Work.of(lower(layer), element_bytes=model.element_bytes) for layer in layers]
    times = [model.work_ms(work) for work in works]
    in_memory = [_memory_ms(model, work) for work in works]
    total = float(sum(time.sum() for time in times))
    bounds = tuple(
        LayerBound(
            layer=layer.name,
            macs=int(work.macs.sum()),
            bytes=int(work.bytes.sum()),
            intensity=float(work.macs.sum() / work.bytes.sum()),
            bound="memory" if 2 * memory > time.sum() else "compute",
            share=float(time.sum() / total),
            memory_share=float(memory / time.sum()),
        )
        for layer, work, time, memory in zip(layers, works, times, in_memory, strict=True)
    )
    return Explanation(bounds, total, sum(in_memory) / total)


def _memory_ms(model: RooflineModel, work: Work) -> float:
    compute, memory = model.terms(work)
    return float(model.work_ms(work)[memory > compute].sum())
