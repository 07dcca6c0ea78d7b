"""The main job: supernet, device and budgets in, the best subnet and the Pareto front out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.errors import BudgetError, CheckpointError
from ofa_nas.latency.table import LatencyTable
from ofa_nas.predictors import AdditiveForm, Predictor, load_predictor
from ofa_nas.search.budgets import Budget, format_share
from ofa_nas.search.feasibility import BudgetedCost, Feasibility, binding_budgets, check_budgets
from ofa_nas.search.methods import Generation, load_method, strongest_method
from ofa_nas.search.problem import Problem, Tables, Worth, stage_swaps
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import CostTable, layer_macs, layer_peak_bytes, layer_weight_bytes, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

_LAYER_COSTS = {"peak_memory": layer_peak_bytes, "model_size": layer_weight_bytes, "macs": layer_macs}
_NO_LIMIT = {"latency": "ms", "peak_memory": "bytes", "model_size": "bytes", "macs": "MACs"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture with everything that is predicted of it.

    Attributes:
        accuracy: Top-1, a fraction.
        latency_ms: On the device of the search; None without one.
        peak_activation_bytes: Exact liveness, fp32.
        weight_bytes: Of the exported file, fp32.
        macs: For one image.
    """

    architecture: Architecture
    accuracy: float
    latency_ms: float | None
    peak_activation_bytes: int
    weight_bytes: int
    macs: int

    def predicted(self) -> dict[str, float]:
        """Figures by name, as the JSON output has them."""
        figures: dict[str, float | None] = {
            "accuracy": self.accuracy,
            "latency_ms": self.latency_ms,
            "peak_activation_bytes": self.peak_activation_bytes,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
        }
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True)
class Estimators:
    """What predicts accuracy and costs of one supernet's architectures, all of it without torch.

    Attributes:
        files: The supernet's.
        card: What is known of it.
        encoding: Genes of its space, with those resolutions that the table holds.
        predictor: Of its accuracy.
        table: Latencies of the device; None when no latency is asked for.
        costs: One a cost name, latency first where there is a table; unlimited.
    """

    files: SupernetFiles
    card: SupernetCard
    encoding: Encoding
    predictor: Predictor
    table: LatencyTable | None
    costs: dict[str, BudgetedCost]

    @classmethod
    def load(cls, supernet: str, table: LatencyTable | None) -> "Estimators":
        """Read a supernet's card and predictor, and tabulate every cost.

        Raises:
            CheckpointError: The supernet has no predictor yet, or a file is wrong.
            TableError: The table holds no resolution of the space, or lacks one of its layers.
        """
        files = SupernetFiles.find(supernet)
        card = SupernetCard.load(files.card)
        encoding = Encoding.of(card.space if table is None else table.narrow(card.space))
        if not files.predictor.is_file():
            raise CheckpointError(
                f"{files.predictor}: the supernet has no accuracy predictor; make one with ofa-nas predictor "
                f"collect --supernet {supernet} --data DATA, then ofa-nas predictor fit --supernet {supernet}"
            )
        whole = Encoding.of(card.space)
        predictor = load_predictor(files.predictor, whole, weights=card.sha256).predictor
        if encoding.space != card.space:
            sizes = [card.space.resolutions.index(size) for size in encoding.space.resolutions]
            predictor = _Part(predictor, whole, np.array(sizes, dtype=np.int16))
        tables = {} if table is None else {"latency": table.cost_table(encoding)}
        tables |= {name: tabulate(encoding, cost) for name, cost in _LAYER_COSTS.items()}
        device = table.name if table else ""
        costs = {
            name: BudgetedCost(
                Budget(name, np.inf, _NO_LIMIT[name], device if name == "latency" else ""), cost
            )
            for name, cost in tables.items()
        }
        return cls(files, card, encoding, predictor, table, costs)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Resolutions of the space that the table does not hold [px]."""
        return tuple(
            size for size in self.card.space.resolutions if size not in self.encoding.space.resolutions
        )

    @property
    def margin(self) -> float:
        """The share of a latency budget that is kept free unless another is asked for.

        It is the 95th percentile of the table's errors, as its hold-outs or its cross-validation showed them,
        whichever way they point; 0 where nobody knows them.
        """
        error = self.table.error if self.table else None
        return error.p95 if error else 0.0

    def candidates(self, genes: Genes) -> list[Candidate]:
        """Everything predicted of architectures `(n, d)`."""
        accuracies = self.predictor.predict(genes)
        values = {name: cost.values(genes) for name, cost in self.costs.items()}
        return [
            Candidate(
                architecture=arch,
                accuracy=float(accuracies[row]),
                latency_ms=float(values["latency"][row]) if "latency" in values else None,
                peak_activation_bytes=int(values["peak_memory"][row]),
                weight_bytes=int(values["model_size"][row]),
                macs=int(values["macs"][row]),
            )
            for row, arch in enumerate(self.encoding.decode(genes))
        ]


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

    @property
    def half_width(self) -> float:
        """As of the whole space."""
        return self.predictor.half_width

    def predict(self, genes: Genes) -> npt.NDArray[np.float64]:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return self.predictor.predict(np.column_stack([self.sizes[genes[:, 0]], genes[:, 1:]]))

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


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        chosen: The most accurate candidate within every budget.
        front: Accuracy against the first cost, by rising cost, within every other budget.
        budgets: As asked for, the latency's with its margin.
        binding: One flag a budget: whether a looser one would have allowed a better candidate.
        evaluations: Architectures scored.
        cpu_seconds: Processor time of the search [s].
        half_width: Of the predictor's 90 % interval, a fraction.
        method: That searched.
        bound: Accuracy that the predictor gives no architecture within the budgets; None where the method
            cannot tell.
    """

    chosen: Candidate
    front: tuple[Candidate, ...]
    budgets: tuple[Budget, ...]
    binding: tuple[bool, ...]
    evaluations: int
    cpu_seconds: float
    half_width: float
    method: str
    bound: float | None

    @property
    def is_exact(self) -> bool:
        """Whether nothing within the budgets is predicted to be more accurate, of all that there is."""
        return self.bound is not None and self.bound <= self.chosen.accuracy


def search(
    estimators: Estimators,
    budgets: Sequence[Budget],
    *,
    method: str | None = None,
    seed: int = 0,
    margin: float | None = None,
) -> Iterator[Generation | SearchResult]:
    """Search a supernet's space under budgets.

    Args:
        estimators: Of the supernet.
        budgets: At most one of each name; none means the most accurate architecture there is.
        method: Plug-in of `ofa_nas.search.methods`; without, the one that promises most.
        seed: Of everything random.
        margin: Share of a latency budget that is kept free; without, that of the estimators.

    Yields:
        Generations, then the result.

    Raises:
        BudgetError: Nothing meets the budgets.
    """
    rng = np.random.default_rng(seed)
    budgets = [_with_margin(budget, estimators, margin) for budget in budgets]
    limited = _apply(estimators, budgets)
    feasibility: Feasibility | None = None
    if budgets:
        feasibility = check_budgets([limited[budget.name] for budget in budgets], rng=rng)
    problem = _problem(estimators, list(limited.values()), feasibility)
    method = method or strongest_method(problem)
    last: Generation | None = None
    for last in load_method(method).search(problem, rng=rng):
        yield last
    assert last is not None
    if last.best is None:
        raise BudgetError(f"{method} found nothing within the budgets in {last.evaluations} architectures")
    bound = last.bounds[-1] if last.bounds else None
    flags = dict(zip(limited, binding_budgets(problem, last.best), strict=True))
    yield SearchResult(
        chosen=estimators.candidates(last.best.genes)[0],
        front=tuple(estimators.candidates(last.front.genes)),
        budgets=tuple(budgets),
        binding=tuple(flags[budget.name] for budget in budgets),
        evaluations=last.evaluations,
        cpu_seconds=last.cpu_seconds,
        half_width=estimators.predictor.half_width,
        method=method,
        bound=None if bound is None else 1.0 - bound,
    )


def _with_margin(budget: Budget, estimators: Estimators, margin: float | None) -> Budget:
    if budget.name != "latency":
        return budget
    share = estimators.margin if margin is None else margin
    if not 0.0 <= share < 1.0:
        raise BudgetError(
            f"a margin of {format_share(share)} leaves nothing of a latency budget: search with a table that "
            "is less far off, or give --margin 0"
        )
    return replace(budget, margin=share)


def _apply(estimators: Estimators, budgets: Sequence[Budget]) -> dict[str, BudgetedCost]:
    """The cost that the front is drawn against, then every other one that has a limit."""
    limits = {budget.name: budget for budget in budgets}
    missing = limits.keys() - estimators.costs.keys()
    if missing:
        raise BudgetError(
            "a latency budget needs a device: add --device host, a shipped table or a table file"
        )
    first = "latency" if "latency" in estimators.costs else "macs"
    names = [first, *(name for name in limits if name != first)]
    return {
        name: BudgetedCost(limits.get(name, estimators.costs[name].budget), estimators.costs[name].table)
        for name in names
    }


def _problem(
    estimators: Estimators, costs: Sequence[BudgetedCost], feasibility: Feasibility | None
) -> Problem:
    predictor = estimators.predictor

    def error_rate(genes: Genes) -> npt.NDArray[np.float64]:
        return 1.0 - predictor.predict(genes)

    def cost_values(genes: Genes) -> npt.NDArray[np.float64]:
        return np.stack([cost.values(genes) for cost in costs], axis=1)

    return Problem(
        space=estimators.encoding,
        predict=error_rate,
        costs=cost_values,
        limits=np.array([cost.budget.searched_limit for cost in costs]),
        names=tuple(cost.budget.name for cost in costs),
        seeds=feasibility.witness if feasibility else None,
        swaps=stage_swaps(estimators.encoding),
        tables=_tables(estimators, costs),
    )


def _tables(estimators: Estimators, costs: Sequence[BudgetedCost]) -> Tables:
    form = estimators.predictor.additive(estimators.encoding)
    worth: Worth | None = None
    if form is not None:
        link = form.link
        worth = Worth(form.worth, lambda sums: 1.0 - link(sums))
    return Tables(tuple(cost.table for cost in costs), tuple(cost.is_peak for cost in costs), worth)
