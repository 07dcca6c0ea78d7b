"""What an exported file is chosen for: figures that were predicted of it, and budgets that it must keep."""

from collections.abc import Mapping
from dataclasses import dataclass

from ofa_nas.devices.provided import with_provider
from ofa_nas.export.card import PredictedLatency
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.precisions import FP32
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors import promised
from ofa_nas.search.budgets import Budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.supernet_card import SupernetCard, SupernetFiles


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is timed, and how.

    Attributes:
        address: `host`, `ssh://…`.
        threads: Of ONNX Runtime.
    """

    address: str
    threads: int = 1


Places = Mapping[str, Place]  # by the names of the devices' tables


@dataclass(frozen=True, slots=True)
class LatencyPromise:
    """What a file was promised to take on a device, and how to find out.

    Attributes:
        predicted: By the device's table; None where nobody predicted anything.
        limit_ms: Budget; None without one.
        table: That predicted; None where nobody did.
        address: Where the file is timed: `host`, `ssh://…`; empty to time it nowhere.
        threads: Of ONNX Runtime there.
    """

    predicted: PredictedLatency | None = None
    limit_ms: float | None = None
    table: LatencyTable | None = None
    address: str = ""
    threads: int = 1

    @classmethod
    def of(
        cls,
        table: LatencyTable,
        latency_ms: float,
        *,
        limit_ms: float | None = None,
        place: Place | None = None,
    ) -> "LatencyPromise":
        """What a table predicts, and where that is looked at."""
        provider = table.provider if table.measured else None
        predicted = PredictedLatency(table.name, table.provenance, latency_ms, provider)
        place = place or Place("")
        return cls(predicted, limit_ms, table, place.address, place.threads)

    @property
    def timed_on(self) -> str:
        """The address, with the execution provider of the table."""
        return with_provider(self.address, self.table.provider if self.table else "")

    @property
    def references(self) -> Mapping[str, float]:
        """What the reference networks took for the table, by name [ms]; empty where nobody knows."""
        return self.table.references if self.table else {}


@dataclass(frozen=True, slots=True)
class Promise:
    """What a file was chosen for.

    Attributes:
        figures: That are predicted, by name, as `Candidate.figures` gives them.
        half_width: Of the accuracy's 90 % interval; 0 where nobody knows.
        latencies: One a device.
        budgets: That it must keep, latencies aside.
        least_accuracy: Top-1 that was asked, a fraction; None where none was.
    """

    figures: Mapping[str, float]
    half_width: float = 0.0
    latencies: tuple[LatencyPromise, ...] = ()
    budgets: tuple[Budget, ...] = ()
    least_accuracy: float | None = None

    @property
    def threads(self) -> int:
        """Of ONNX Runtime on the first device on which the file is timed; 1 where it is timed nowhere."""
        return next((one.threads for one in self.latencies if one.address), 1)

    def limit(self, name: str) -> float | None:
        """The budget of a cost, latencies aside; None without one."""
        return next((budget.limit for budget in self.budgets if budget.name == name), None)


def promise_of(
    files: SupernetFiles,
    arch: Architecture,
    *,
    table: LatencyTable | None,
    place: Place | None = None,
    precision: str = FP32,
) -> Promise:
    """What is predicted of an architecture that nobody searched; no accuracy where no predictor was fitted.

    The accuracy is that of fp32, whatever the precision.

    Args:
        files: Of the supernet.
        arch: Of its space.
        table: That predicts the latency; None where there is none.
        place: Where the file will be timed; None for nowhere.
        precision: Of the file.

    Raises:
        CheckpointError: The card or the predictor is wrong.
        TableError: The table does not hold one of its layers.
    """
    card = SupernetCard.load(files.card)
    encoding = Encoding.of(card.space)
    layers = list(encoding.space.layers(arch))
    figures: dict[str, float] = {}
    latencies: tuple[LatencyPromise, ...] = ()
    half_width = 0.0
    if files.predictor.is_file():
        predictor = load_predictor(files.predictor, encoding, weights=card.sha256).predictor
        genes = encoding.encode([arch])
        figures["accuracy"] = float(promised(predictor, genes)[0])
        half_width = float(predictor.half_widths(genes)[0])
    if table is not None:
        latencies = (LatencyPromise.of(table, table.latency_ms(encoding.space, arch), place=place),)
    elif place is not None:
        latencies = (LatencyPromise(address=place.address, threads=place.threads),)
    figures |= {
        "peak_activation_bytes": max(peak_bytes(layer, precision) for layer in layers),
        "weight_bytes": sum(weight_bytes(layer, precision) for layer in layers),
        "macs": network_macs(encoding.space, arch),
    }
    return Promise(figures=figures, half_width=half_width, latencies=latencies)


def promise_of_result(result: SearchResult, estimators: Estimators, *, places: Places) -> Promise:
    """What a search promises of its chosen candidate.

    Args:
        result: Of the search.
        estimators: Of the search.
        places: Where the file will be timed, by the names of the devices' tables.
    """
    limits = {budget.device: budget.limit for budget in result.budgets if budget.name == "latency"}
    return Promise(
        figures=result.chosen.figures(),
        half_width=result.chosen.half_width,
        latencies=tuple(
            LatencyPromise.of(
                table,
                result.chosen.latencies_ms[name],
                limit_ms=limits.get(name),
                place=places.get(name),
            )
            for name, table in estimators.tables.items()
        ),
        budgets=tuple(budget for budget in result.budgets if budget.name != "latency"),
        least_accuracy=None if result.goal is None else result.goal.accuracy,
    )
