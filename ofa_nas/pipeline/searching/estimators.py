"""What is predicted of a supernet's architectures: accuracy, latencies on devices, memory, size, MACs."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.errors import CheckpointError, ConfigError, TableError
from ofa_nas.latency.table import LatencyTable
from ofa_nas.precisions import FP32, TABLE_PRECISIONS
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors import AdditiveForm, Predictor, promised, too_few
from ofa_nas.search.budgets import KINDS, Budget, Cost
from ofa_nas.search.feasibility import BudgetedCost
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.layer import Layer
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

# Costs that depend on the precision of the file, of a layer, by the names of their budgets.
BYTES: Mapping[str, Callable[..., int]] = {"peak_memory": peak_bytes, "model_size": weight_bytes}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture with everything that is predicted of it.

    Attributes:
        accuracy: Top-1, a fraction.
        half_width: Of the accuracy's 90 % interval; 0 where the predictor gives none.
        latencies_ms: By the name of the device's table, in the order of the search's devices.
        peak_activation_bytes: Exact liveness, in the precision of the search.
        weight_bytes: Of the exported file, in that precision.
        macs: For one image.
    """

    architecture: Architecture
    accuracy: float
    half_width: float
    latencies_ms: Mapping[str, float]
    peak_activation_bytes: int
    weight_bytes: int
    macs: int

    def cost(self, key: Cost) -> float:
        """The predicted cost that budgets of that key limit."""
        costs = {
            "peak_memory": self.peak_activation_bytes,
            "model_size": self.weight_bytes,
            "macs": self.macs,
        }
        return self.latencies_ms[key.device] if key.name == "latency" else costs[key.name]

    def keeps(self, budget: Budget) -> bool:
        """Whether it is predicted within a budget and its margin."""
        return self.cost(budget.key) <= budget.searched_limit

    def figures(self) -> dict[str, float]:
        """What is predicted anywhere, by name: all but the latencies."""
        return {
            "accuracy": self.accuracy,
            "peak_activation_bytes": self.peak_activation_bytes,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
        }


def by_accuracy(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates, each once, by falling predicted accuracy."""
    different = {one.architecture: one for one in candidates}
    return sorted(different.values(), key=lambda one: one.accuracy, reverse=True)


@dataclass(frozen=True)
class Estimators:
    """What predicts accuracy and costs of one supernet's architectures, all of it without torch.

    Attributes:
        files: The supernet's.
        card: What is known of it.
        encoding: Genes of its space, with those resolutions that every table holds.
        predictor: Of its accuracy.
        description: What accuracy that is, as the predictor's file tells; of fp32 in any case.
        tables: Latencies of devices, by the names of the tables.
        costs: By the keys of their budgets, latencies first; unlimited.
        precision: Of the files: of latencies, memory and size.
    """

    files: SupernetFiles
    card: SupernetCard
    encoding: Encoding
    predictor: Predictor
    tables: Mapping[str, LatencyTable]
    costs: Mapping[Cost, BudgetedCost]
    description: str
    precision: str = FP32

    @classmethod
    def load(cls, supernet: str | Path, *tables: LatencyTable, precision: str = FP32) -> "Estimators":
        """Read a supernet's card and predictor, and tabulate every cost for files of a precision.

        Args:
            supernet: Shipped name, or the path of a weights file.
            tables: Latencies of devices; `ofa_nas.latency.shelf.find_table` finds one by its name.
            precision: `fp32` or `int8`, that of the tables.

        Raises:
            CheckpointError: The supernet has no predictor yet, or a file is wrong.
            ConfigError: There is no such precision.
            TableError: The tables hold no resolution of the space together, one lacks a layer or is of
                another precision, or two have one name.
        """
        if precision not in TABLE_PRECISIONS:
            raise ConfigError(f"precision {precision!r:.40}: expected {' or '.join(TABLE_PRECISIONS)}")
        files = SupernetFiles.find(supernet)
        card = SupernetCard.load(files.card)
        by_name = {table.name: table for table in tables}
        if len(by_name) < len(tables):
            names = ", ".join(table.name for table in tables)
            raise TableError(f"latency tables {names}: each must have a name of its own; give a device once")
        for table in tables:
            if table.device.precision != precision:
                raise TableError(
                    f"latency table {table.name} is of {table.device.precision} networks; expected one of "
                    f"{precision}"
                )
        encoding = Encoding.of(shared_space(card.space, tables))
        if not files.predictor.is_file():
            quoted = shlex.quote(str(supernet))
            make = (
                f"make one with ofa-nas predictor collect --supernet {quoted} --data DATA, then ofa-nas "
                f"predictor fit --supernet {quoted}"
            )
            raise CheckpointError(
                f"{files.predictor}: the supernet has no accuracy predictor; {too_few(card.space) or make}"
            )
        whole = Encoding.of(card.space)
        found = load_predictor(files.predictor, whole, weights=card.sha256)
        costs = unlimited_costs(encoding, tables, precision=precision)
        predictor = _narrowed(found.predictor, whole, encoding)
        return cls(files, card, encoding, predictor, by_name, costs, found.description, precision)

    def with_predictor(self, predictor: Predictor) -> "Estimators":
        """The same with another predictor of the supernet's whole space."""
        return replace(self, predictor=_narrowed(predictor, Encoding.of(self.card.space), self.encoding))

    @property
    def left_out(self) -> tuple[int, ...]:
        """Resolutions of the space that not every table holds [px]."""
        return tuple(
            size for size in self.card.space.resolutions if size not in self.encoding.space.resolutions
        )

    @property
    def first_cost(self) -> Cost:
        """The latency on the first device; MACs without one."""
        return next(iter(self.costs)) if self.tables else Cost("macs")

    def candidates(self, genes: Genes) -> list[Candidate]:
        """Everything predicted of architectures `(n, d)`.

        Raises:
            ArchitectureError: They are no genes of `encoding`.
        """
        self.encoding.check(genes)
        accuracies, half_widths = promised(self.predictor, genes), self.predictor.half_widths(genes)
        values = {key: cost.values(genes) for key, cost in self.costs.items()}
        return [
            Candidate(
                architecture=arch,
                accuracy=float(accuracies[row]),
                half_width=float(half_widths[row]),
                latencies_ms={device: float(values[Cost("latency", device)][row]) for device in self.tables},
                peak_activation_bytes=int(values[Cost("peak_memory")][row]),
                weight_bytes=int(values[Cost("model_size")][row]),
                macs=int(values[Cost("macs")][row]),
            )
            for row, arch in enumerate(self.encoding.decode(genes))
        ]


def default_margin(table: LatencyTable) -> float:
    """The share of a latency budget that is kept free unless another is asked for.

    It is the 95th percentile of the errors of the device's table, as its hold-outs or its cross-validation
    showed them, whichever way they point; 0 where nobody knows them.
    """
    return table.error.p95 if table.error else 0.0


def unlimited_costs(
    encoding: Encoding, tables: Sequence[LatencyTable], *, precision: str
) -> dict[Cost, BudgetedCost]:
    """Every cost of files of a precision, tabulated, by its key: latencies first."""
    costs = {Cost("latency", table.name): table.cost_table(encoding) for table in tables}
    layer_costs: dict[str, Callable[[Layer], float]] = {
        **{name: partial(cost, precision=precision) for name, cost in BYTES.items()},
        "macs": layer_macs,
    }
    costs |= {
        Cost(name): tabulate(encoding, cost, is_peak=KINDS[name].is_peak)
        for name, cost in layer_costs.items()
    }
    return {
        key: BudgetedCost(Budget(key.name, np.inf, key.unit, key.device), cost) for key, cost in costs.items()
    }


def shared_space(space: SearchSpace, tables: Sequence[LatencyTable]) -> SearchSpace:
    """The space with those of its resolutions that every table holds."""
    held = {table.name: table.narrow(space).resolutions for table in tables}
    shared = tuple(size for size in space.resolutions if all(size in sizes for sizes in held.values()))
    if not shared:
        told = "; ".join(f"{name} {', '.join(map(str, sizes))} px" for name, sizes in held.items())
        raise TableError(f"the latency tables share no resolution of {space.name}: {told}")
    return space if shared == space.resolutions else replace(space, resolutions=shared)


def _narrowed(predictor: Predictor, whole: Encoding, part: Encoding) -> Predictor:
    """A predictor of a whole space for genes of a part of its resolutions."""
    if part.space == whole.space:
        return predictor
    sizes = [whole.space.resolutions.index(size) for size in part.space.resolutions]
    return _Part(predictor, whole, np.array(sizes, dtype=np.int16))


@dataclass(frozen=True, slots=True)
class _Part:
    """A predictor of a whole space for genes of a part of its resolutions.

    Attributes:
        predictor: Of the whole space.
        encoding: Of the whole space.
        sizes: `(r,)` index there of each of the part's resolutions.
    """

    predictor: Predictor
    encoding: Encoding
    sizes: npt.NDArray[np.int16]

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return self.predictor.predict(self._whole(genes))

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions."""
        return self.predictor.half_widths(self._whole(genes))

    def additive(self, encoding: Encoding) -> AdditiveForm | None:
        """The sum of the whole space, without the other resolutions."""
        form = self.predictor.additive(self.encoding)
        if form is None:
            return None
        worth = CostTable(encoding, form.worth.fixed[self.sizes], form.worth.choices[self.sizes])
        return replace(form, worth=worth)

    def to_json(self) -> dict[str, Any]:
        """As of the whole space."""
        return self.predictor.to_json()

    def _whole(self, genes: Genes) -> Genes:
        return np.column_stack([self.sizes[genes[:, 0]], genes[:, 1:]])
