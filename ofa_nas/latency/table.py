"""LatencyTable: what every layer of a space takes on a device, and how far off that was on unseen networks.

A measured table holds a row for each layer; an estimated one prices any layer by a model of its operators.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.accuracy import spearman_rho
from ofa_nas.errors import TableError
from ofa_nas.files import write_bytes
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.operator_model import OperatorModel
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import CostTable, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

SCHEMA = 1
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TableDevice:
    """The device and how it was used; `threads` is None where the source does not say."""

    name: str
    cpu: str
    cores: int
    runtime: str
    threads: int | None
    precision: str = "fp32"
    batch: int = 1


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """Relative errors of predictions, as fractions; the last three only where they were worked out.

    Attributes:
        mape: Mean of the absolute errors.
        p50: Their median.
        p95: Their 95th percentile: the margin that a search keeps.
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


@dataclass(frozen=True, slots=True)
class Holdout:
    """A network that had no part in the fit.

    Attributes:
        architecture: Text of it.
        measured_ms: Measured [ms].
        predicted_ms: By this table [ms].
        macs_ms: By a line through the MACs of the same anchors [ms].
        uncertainty: Standard error of the measurement over it.
    """

    architecture: str
    measured_ms: float
    predicted_ms: float
    macs_ms: float
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
        rows: One a layer.
        holdouts: Networks that judge.
        seed: Of designs, weights and the order of visits.
        noisy: Networks whose interval stayed wider than the protocol asks.
        throttled: Networks during which the device was throttled.
        networks: Networks measured in all.
        protocol: As `ofa_nas.devices.agent.Protocol`.
        environment: What the device told of itself.
        references: Latency of each reference network by name [ms]; they tell the machine's speed later.
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
    protocol: Mapping[str, Any]
    environment: Mapping[str, Any]
    references: Mapping[str, float]

    @cached_property
    def prices(self) -> dict[Layer, float]:
        """Latency of each layer [ms]."""
        return {row.layer: row.ms for row in self.rows}

    def errors(self, *, resolution: int | None = None, by_macs: bool = False) -> ErrorFigures:
        """Errors on the hold-outs, of all or one resolution; those of MACs fitted linearly with `by_macs`."""
        chosen = [holdout for holdout in self.holdouts if _is_of(holdout, resolution)]
        predicted = np.array([holdout.macs_ms if by_macs else holdout.predicted_ms for holdout in chosen])
        return judge(predicted, np.array([holdout.measured_ms for holdout in chosen]))

    def noise_floor(self, *, resolution: int | None = None) -> float:
        """Mean absolute error that exact predictions would show, for the hold-outs' times are uncertain."""
        chosen = [one.uncertainty for one in self.holdouts if _is_of(one, resolution)]
        return float(np.mean(chosen) * np.sqrt(2 / np.pi))  # the mean size of a normal deviation


@dataclass(frozen=True)
class LatencyTable:
    """Latencies on one device; exactly one of `measured` and `model` is there.

    Attributes:
        name: Of the table: `rpi4`, `host`.
        device: The device and how it was used.
        measured: Rows and hold-outs, of a measured table.
        model: Prices of operators, of an estimated one.
        error: What it showed on networks that had no part in it.
        notes: What a user must know.
        sources: Where foreign data came from.
        made_by: Provenance of the file.
    """

    name: str
    device: TableDevice
    measured: Measured | None
    model: OperatorModel | None
    error: ErrorFigures
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    made_by: Mapping[str, Any]

    @property
    def provenance(self) -> str:
        """`measured` or `estimated`."""
        return "measured" if self.measured else "estimated"

    def layer_ms(self, layer: Layer) -> float:
        """What a layer takes inside a network [ms].

        Raises:
            TableError: The layer was not measured; the message says which layers were.
        """
        if self.model:
            return self.model.layer_ms(layer)
        assert self.measured
        price = self.measured.prices.get(layer)
        if price is None:
            raise TableError(
                f"latency table {self.name}: layer {layer.name} ({_tell(layer)}) is not in it; {self._tell()}"
            )
        return price

    def constant_ms(self, resolution: int) -> float:
        """What a network takes beside its layers [ms].

        Raises:
            TableError: The resolution was not measured.
        """
        if self.model:
            return self.model.constant_ms
        assert self.measured
        if resolution not in self.measured.resolutions:
            raise TableError(
                f"latency table {self.name}: resolution {resolution} is not in it; {self._tell()}"
            )
        return self.measured.intercepts_ms[self.measured.resolutions.index(resolution)]

    def latency_ms(self, space: SearchSpace, arch: Architecture) -> float:
        """Predict the latency of an architecture [ms].

        Raises:
            TableError: The table does not hold one of its layers.
        """
        return self.constant_ms(arch.resolution) + sum(self.layer_ms(layer) for layer in space.layers(arch))

    def narrow(self, space: SearchSpace) -> SearchSpace:
        """The space with those of its resolutions that the table holds.

        Raises:
            TableError: It holds none of them.
        """
        if not self.measured:
            return space
        shared = tuple(size for size in space.resolutions if size in self.measured.resolutions)
        if not shared:
            raise TableError(
                f"latency table {self.name}: no resolution of {space.name} is in it; {self._tell()}"
            )
        return space if shared == space.resolutions else replace(space, resolutions=shared)

    def cost_table(self, encoding: Encoding) -> CostTable:
        """Tabulate for genes; `total(genes)` is the latency with its constant, `(n,)` [ms].

        Raises:
            TableError: The table does not hold every layer of the encoded space; see `narrow`.
        """
        constants = np.array([self.constant_ms(size) for size in encoding.space.resolutions])
        costs = tabulate(encoding, self.layer_ms)
        return CostTable(encoding, np.column_stack([costs.fixed, constants]), costs.choices)

    def _tell(self) -> str:
        assert self.measured
        held = self.measured
        sizes = ", ".join(str(size) for size in held.resolutions)
        return (
            f"it holds {len(held.rows)} layers of {held.space} with {held.classes} classes at {sizes} px, "
            f"{self.device.precision}; measure what is missing with ofa-nas profile"
        )

    def save(self, path: Path) -> None:
        """Write a measured table, rows one a line and sorted; the old file stays until the new one is whole.

        Raises:
            FileError: It cannot be written.
        """
        assert self.measured, "estimated tables are written by what fits them"
        held = self.measured
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "provenance": self.provenance,
            "device": asdict(self.device),
            "notes": list(self.notes),
            "sources": list(self.sources),
            "space": {"name": held.space, "digest": held.digest, "classes": held.classes},
            "resolutions": list(held.resolutions),
            "intercepts_ms": [round(value, 6) for value in held.intercepts_ms],
            "seed": held.seed,
            "networks": {"measured": held.networks, "noisy": held.noisy, "throttled": held.throttled},
            "protocol": dict(held.protocol),
            "environment": dict(held.environment),
            "references": {name: round(value, 6) for name, value in held.references.items()},
            "validation": {
                "holdouts": asdict(held.errors()),
                "macs_linear": asdict(held.errors(by_macs=True)),
            },
            "made_by": dict(self.made_by),
            "holdouts": [asdict(holdout) for holdout in held.holdouts],
            "rows": sorted((_row(row) for row in held.rows), key=json.dumps),
        }
        write_bytes(path, _layout(document).encode())

    @staticmethod
    def load(path: Path) -> "LatencyTable":
        """Read a table and check all of it.

        Raises:
            TableError: The file is missing or wrong; the message names file and key.
        """
        from ofa_nas.latency.table_reader import read_table  # it builds what this module defines

        return read_table(path)


def _row(row: LayerLatency) -> dict[str, Any]:
    layer = asdict(row.layer)
    del layer["name"]
    return {**layer, "ms": round(row.ms, 6), "other_ms": round(row.other_ms, 6)}


def _layout(document: Mapping[str, Any]) -> str:
    """JSON with a line for every key, and for every item of a list of objects."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n    ".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value)
            text = f"[\n    {items}\n  ]"
        else:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _tell(layer: Layer) -> str:
    return (
        f"{layer.kind} {layer.in_channels}-{layer.mid_channels}-{layer.out_channels}, "
        f"kernel {layer.kernel_size}, stride {layer.stride}, {layer.in_size} px"
    )
