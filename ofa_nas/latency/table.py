"""LatencyTable: what every layer of a space takes on a device, and how far off that was on unseen networks.

A measured table holds a row for each layer, and so does one that somebody else published; an estimated one
prices any layer by a model of its operators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_nas.errors import TableError
from ofa_nas.latency.measured import ErrorFigures, Measured
from ofa_nas.latency.operator_model import OperatorModel
from ofa_nas.latency.published import Published
from ofa_nas.latency.roofline import RooflineModel
from ofa_nas.locks import changing
from ofa_nas.precisions import FP32
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import layer_text
from ofa_nas.space.costs import CostTable, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ofa_nas.latency.verification import Verification

SCHEMA = 1
RUNTIME_NOT_STATED = "runtime not stated"
LEAST_MS, LARGEST_MS = 1e-6, 1e7  # of a latency in a table, which holds six digits behind the point


@dataclass(frozen=True, slots=True)
class TableDevice:
    """The device and how it was used; `cores` and `threads` are None where the source does not say."""

    name: str
    cpu: str
    cores: int | None
    runtime: str
    threads: int | None
    precision: str = FP32
    batch: int = 1


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
    def provider(self) -> str:
        """Execution provider that a measured table is of; empty for ONNX Runtime's own on the CPU."""
        return self.measured.protocol.provider if self.measured else ""

    @property
    def address(self) -> str:
        """Where its device was reached when it was measured; empty where the file does not tell."""
        return str(self.made_by.get("address", ""))

    @property
    def references(self) -> Mapping[str, float]:
        """What the reference networks took for a measured table, by name [ms]; of any other nobody knows."""
        return self.measured.references if self.measured else {}

    @property
    def rows_of(self) -> Measured | Published | None:
        """What holds the rows; None of an estimated table, which prices any layer."""
        return self.held if isinstance(self.held, Measured | Published) else None

    def measured_at(self, address: str) -> "LatencyTable":
        """The same table, whose file tells where its device was reached."""
        return replace(self, made_by={**self.made_by, "address": address})

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
                f"latency table {self.name}: layer {layer.name} ({layer_text(layer)}) is not in it; "
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

    def save(self, path: str | Path) -> None:
        """Write the table, rows one a line and sorted; the old file stays until the new one is whole.

        Raises:
            TableError: The file could not be read again; nothing was written. The message names the key.
            FileError: It cannot be written.
        """
        from ofa_nas.latency.table_writer import table_document, write_document  # of what is defined here

        with changing(Path(path)):
            write_document(table_document(self), Path(path))

    @staticmethod
    def load(path: str | Path) -> "LatencyTable":
        """Read a table and check all of it.

        Raises:
            TableError: The file is missing or wrong; the message names file and key.
        """
        from ofa_nas.latency.table_reader import read_table  # it builds what this module defines

        return read_table(Path(path))
