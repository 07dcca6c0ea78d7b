"""LatencyTable: what every layer of a space takes on a device, and how far off that was on unseen networks.

A measured table holds a row for each layer, and so does one that somebody else published; an estimated one
prices any layer by a model of its operators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa_nas.devices import MeasuringProtocol
from ofa_nas.errors import TableError
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.operator_model import OperatorModel
from ofa_nas.latency.published import Published
from ofa_nas.latency.roofline import RooflineModel
from ofa_nas.scores import spearman_rho
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import axes_of
from ofa_nas.space.costs import CostTable, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import size_unit
from ofa_nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ofa_nas.latency.verification import Verification

SCHEMA = 1
RUNTIME_NOT_STATED = "runtime not stated"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TableDevice:
    """The device and how it was used; `cores` and `threads` are None where the source does not say."""

    name: str
    cpu: str
    cores: int | None
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


def noise_of(uncertainties: Sequence[float]) -> float | None:
    """Mean size of normal deviations with standard errors `(n,)`; None where one of them is 0, unknown."""
    return float(np.mean(uncertainties) * np.sqrt(2 / np.pi)) if all(uncertainties) else None


@dataclass(frozen=True, slots=True)
class Holdout:
    """A network that had no part in the fit.

    Attributes:
        architecture: Text of it.
        measured_ms: Measured [ms].
        predicted_ms: By this table [ms].
        macs_ms: By a line through the MACs of the same anchors [ms]; None of a table without anchors.
        uncertainty: Standard error of the measurement over it; 0 after one visit, which tells nothing of it.
    """

    architecture: str
    measured_ms: float
    predicted_ms: float
    macs_ms: float | None
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
        rows: One a layer, or one for each resolution that has it.
        holdouts: Networks that judge.
        seed: Of designs, weights and the order of visits.
        noisy: Networks whose interval stayed wider than the protocol asks.
        throttled: Networks during which the device was throttled.
        networks: Networks measured in all.
        protocol: How it was measured.
        environment: What the device told of itself.
        references: Latency of each reference network by name [ms]; they tell the machine's speed later.
        fitted: Texts of the designs and anchors; none in tables of before these were kept.
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
    protocol: MeasuringProtocol
    environment: Mapping[str, Any]
    references: Mapping[str, float]
    fitted: tuple[str, ...] = ()

    @cached_property
    def prices(self) -> dict[tuple[int, Layer], float]:
        """Latency of each layer at each resolution, 0 being any [ms]."""
        return {(row.resolution, row.layer): row.ms for row in self.rows}

    def errors(self, *, resolution: int | None = None, by_macs: bool = False) -> ErrorFigures:
        """Errors on the hold-outs, of all or one resolution; those of MACs fitted linearly with `by_macs`."""
        chosen = [holdout for holdout in self.holdouts if _is_of(holdout, resolution)]
        predicted = np.array([holdout.macs_ms if by_macs else holdout.predicted_ms for holdout in chosen])
        return judge(predicted, np.array([holdout.measured_ms for holdout in chosen]))

    def noise_floor(self, *, resolution: int | None = None) -> float | None:
        """Mean absolute error that exact predictions would show, for the hold-outs' times are uncertain.

        None where nobody knows: a network that was visited once shows no uncertainty.
        """
        chosen = [one.uncertainty for one in self.holdouts if _is_of(one, resolution)]
        return noise_of(chosen)


@dataclass(frozen=True)
class LatencyTable:
    """Latencies on one device.

    Attributes:
        name: Of the table: `rpi4`, `host`.
        device: The device and how it was used.
        held: What latencies are summed from: rows and hold-outs of a measured table, somebody else's rows of
            an imported one, prices of operators of an estimated one.
        error: What it showed on networks that had no part in it; None where nobody knows.
        notes: What a user must know.
        sources: Where foreign data came from.
        made_by: Provenance of the file.
        judged_on: What `error` was worked out on: `networks`, or `blocks` timed alone.
        history: Its verifications, the latest last.
        fastest_ms: Of the networks that an estimated one was fitted to [ms]; below it extrapolates. None
            where nobody knows.
    """

    name: str
    device: TableDevice
    held: Measured | Published | OperatorModel | RooflineModel
    error: ErrorFigures | None
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    made_by: Mapping[str, Any]
    judged_on: str = "networks"
    history: "tuple[Verification, ...]" = ()
    fastest_ms: float | None = None

    @property
    def provenance(self) -> str:
        """`measured`, `estimated` or `imported`."""
        return "measured" if self.measured else "imported" if self.published else "estimated"

    @property
    def measured(self) -> Measured | None:
        """Rows and hold-outs of a measured table."""
        return self.held if isinstance(self.held, Measured) else None

    @property
    def published(self) -> Published | None:
        """Somebody else's rows, of an imported table."""
        return self.held if isinstance(self.held, Published) else None

    @property
    def model(self) -> OperatorModel | RooflineModel | None:
        """Prices of operators, of an estimated table."""
        return None if isinstance(self.held, Measured | Published) else self.held

    @property
    def rows_of(self) -> Measured | Published | None:
        """What holds the rows; None of an estimated table, which prices any layer."""
        return self.held if isinstance(self.held, Measured | Published) else None

    def layer_ms(self, layer: Layer, *, resolution: int = 0) -> float:
        """What a layer takes inside a network [ms].

        Args:
            layer: Its geometry.
            resolution: Of the network [px]; a table may tell layers apart by it.

        Raises:
            TableError: The layer was not measured; the message says which layers were.
        """
        held = self.held
        if not isinstance(held, Measured | Published):
            return held.layer_ms(layer)
        price = held.prices.get((resolution, layer), held.prices.get((0, layer)))
        if price is None:
            raise TableError(
                f"latency table {self.name}: layer {layer.name} ({_tell(layer)}) is not in it; "
                f"{self._tell(held)}"
            )
        return price

    def constant_ms(self, resolution: int) -> float:
        """What a network takes beside its layers [ms].

        Raises:
            TableError: The resolution was not measured.
        """
        held = self.held
        if not isinstance(held, Measured | Published):
            return held.constant_ms
        if resolution not in held.resolutions:
            raise TableError(
                f"latency table {self.name}: resolution {resolution} is not in it; {self._tell(held)}"
            )
        return held.intercepts_ms[held.resolutions.index(resolution)] if isinstance(held, Measured) else 0.0

    def latency_ms(self, space: SearchSpace, arch: Architecture) -> float:
        """Predict the latency of an architecture [ms].

        Raises:
            TableError: The table does not hold one of its layers.
        """
        size = arch.resolution
        return self.constant_ms(size) + sum(
            self.layer_ms(layer, resolution=size) for layer in space.layers(arch)
        )

    def narrow(self, space: SearchSpace) -> SearchSpace:
        """The space with those of its resolutions that the table holds.

        Raises:
            TableError: It holds none of them.
        """
        held = self.rows_of
        if held is None:
            return space
        shared = tuple(size for size in space.resolutions if size in held.resolutions)
        if not shared:
            raise TableError(
                f"latency table {self.name}: no resolution of {space.name} is in it; {self._tell(held)}"
            )
        return space if shared == space.resolutions else replace(space, resolutions=shared)

    def cost_table(self, encoding: Encoding) -> CostTable:
        """Tabulate for genes; `total(genes)` is the latency with its constant, `(n,)` [ms].

        Raises:
            TableError: The table does not hold every layer of the encoded space; see `narrow`.
        """
        space = encoding.space
        constants = np.array([self.constant_ms(size) for size in space.resolutions])
        costs = [
            tabulate(
                Encoding.of(replace(space, resolutions=(size,))), partial(self.layer_ms, resolution=size)
            )
            for size in space.resolutions
        ]
        fixed = np.concatenate([cost.fixed for cost in costs])
        choices = np.concatenate([cost.choices for cost in costs])
        return CostTable(encoding, np.column_stack([fixed, constants]), choices)

    def _tell(self, held: Measured | Published) -> str:
        layers, sizes = len({row.layer for row in held.rows}), ", ".join(map(str, held.resolutions))
        return (
            f"it holds {layers} layers of {held.space} with {held.classes} classes at {sizes} px, "
            f"{self.device.precision}; measure what is missing with ofa-nas profile"
        )

    def save(self, path: Path) -> None:
        """Write the table, rows one a line and sorted; the old file stays until the new one is whole.

        Raises:
            TableError: The file could not be read again; nothing was written. The message names the key.
            FileError: It cannot be written.
        """
        from ofa_nas.latency.table_writer import table_document, write_document  # of what is defined here

        write_document(table_document(self), path)

    @staticmethod
    def load(path: Path) -> "LatencyTable":
        """Read a table and check all of it.

        Raises:
            TableError: The file is missing or wrong; the message names file and key.
        """
        from ofa_nas.latency.table_reader import read_table  # it builds what this module defines

        return read_table(path)


def _tell(layer: Layer) -> str:
    return (
        f"{layer.kind} {layer.in_channels}-{layer.mid_channels}-{layer.out_channels}, "
        f"kernel {layer.kernel_size}, stride {layer.stride}, {layer.in_size} {size_unit(axes_of(layer.kind))}"
    )
