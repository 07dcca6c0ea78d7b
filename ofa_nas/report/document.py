"""What a report tells, read from the JSON document of a search; docs/formats.md says the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from ofa_nas.export.check import Check
from ofa_nas.search.budgets import Budget, Cost

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Figures:
    """What is predicted of an architecture.

    Attributes:
        accuracy: Top-1, a fraction.
        half_width: Of its 90 % interval; None where the predictor gives none.
        latency_ms: By device.
        peak_bytes: Of activations.
        weight_bytes: Of the file.
        macs: For one image.
    """

    accuracy: float
    half_width: float | None
    latency_ms: Mapping[str, float]
    peak_bytes: float
    weight_bytes: float
    macs: float

    def cost(self, key: Cost) -> float:
        """The cost that budgets of that key limit."""
        costs = {"peak_memory": self.peak_bytes, "model_size": self.weight_bytes, "macs": self.macs}
        return self.latency_ms[key.device] if key.name == "latency" else costs[key.name]


@dataclass(frozen=True, slots=True)
class Point:
    """An architecture, what is predicted of it, and what was measured.

    Attributes:
        architecture: Text of it.
        predicted: Figures.
        accuracy: Measured, a fraction; None where it was not.
        accuracy_half_width: Of the 90 % interval of that; None where nobody tells.
        latency_ms: Measured, by device.
        together: Accuracy by prediction and measurement together; None where these were not weighed.
        is_within: Whether it keeps its budgets as measured; None where nobody asked.
    """

    architecture: str
    predicted: Figures
    accuracy: float | None = None
    accuracy_half_width: float | None = None
    latency_ms: Mapping[str, float] | None = None
    together: float | None = None
    is_within: bool | None = None


@dataclass(frozen=True, slots=True)
class OperatorFigures:
    """One operator: its name, and the bytes of every tensor that is alive while it runs."""

    name: str
    tensors: Mapping[str, float]

    @property
    def live_bytes(self) -> float:
        """Of all tensors together."""
        return sum(self.tensors.values())


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """One layer of the chosen network, as `Layer` has it, with its place and its costs.

    Attributes:
        stage: Index; None outside the stages.
        expand_ratio: None outside the stages.
        axes: 2 where it works on images, 1 where it works on signals.
    """

    name: str
    kind: str
    stage: int | None
    expand_ratio: int | None
    kernel_size: int
    stride: int
    in_channels: int
    mid_channels: int
    out_channels: int
    in_size: int
    out_size: int
    activation: str
    se_channels: int
    residual: bool
    macs: float
    weight_bytes: float
    latency_ms: Mapping[str, float]
    operators: tuple[OperatorFigures, ...]
    axes: int = 2


@dataclass(frozen=True, slots=True)
class StageFigures:
    """How many blocks a stage has, of how many that it may have."""

    blocks: int
    most_blocks: int
    width: int


@dataclass(frozen=True, slots=True)
class Network:
    """The chosen network, layer by layer.

    Attributes:
        resolution: Of its input [px].
        constant_ms: What it takes beside its layers, by device; below 0 where it takes less than their sum.
    """

    resolution: int
    stages: tuple[StageFigures, ...]
    layers: tuple[LayerFigures, ...]
    constant_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget, and whether a looser one would have allowed a better network."""

    budget: Budget
    binds: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one set of budgets.

    Attributes:
        chosen: The network; None where nothing meets the budgets.
        limits: The budgets.
        goal: Accuracy that was to be reached, where the least of a cost was sought, and that cost; else
            None.
        bound: Accuracy that nothing within the budgets is predicted to exceed; None where nobody can tell.
        is_exact: Whether the network that was searched out has that accuracy.
        by_seed: What the answer from each seed is worth: predicted accuracy, or the cost of the goal.
        network: Layer by layer; None in documents of before they told that.
        unmet: Why there is no network; empty where there is one.
    """

    chosen: Point | None
    limits: tuple[Limit, ...]
    goal: tuple[float, Cost] | None = None
    bound: float | None = None
    is_exact: bool = False
    by_seed: tuple[float, ...] = ()
    network: Network | None = None
    unmet: str = ""

    @property
    def is_searched_out(self) -> bool:
        """Whether it is predicted as good as what was searched out: measuring may choose another."""
        assert self.chosen
        predicted = self.chosen.predicted
        if self.goal is not None:
            return predicted.cost(self.goal[1]) <= min(self.by_seed, default=inf) * (1.0 + _ROUNDING)
        best = max(self.by_seed, default=self.bound)
        return best is None or predicted.accuracy >= best - _ROUNDING


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Accuracy of the chosen network on images that took no part in the choice, fractions."""

    accuracy: float
    half_width: float
    images: int


@dataclass(frozen=True, slots=True)
class MeasuredNetworks:
    """Networks that were measured before one was chosen, and a line on how.

    Attributes:
        held_out: None where there were no such images.
    """

    told: str
    networks: tuple[Point, ...]
    held_out: HeldOut | None = None


@dataclass(frozen=True, slots=True)
class TableFigures:
    """A latency table behind the times.

    Attributes:
        error: Shares by name, such as `mape` and `p95`; empty where nobody knows.
        holdouts: Architecture, measured and predicted [ms].
        doubts: What its last verification found against it; empty where that found nothing.
        verified_on: Day of that; empty where there was none.
        about: Further lines of its provenance: what, and the text.
    """

    name: str
    provenance: str
    device: str
    cpu: str
    runtime: str
    error: Mapping[str, float]
    judged_on: str
    holdouts: tuple[tuple[str, float, float], ...]
    doubts: tuple[str, ...]
    verified_on: str
    about: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SearchDocument:
    """Everything that a report is made of.

    Attributes:
        answers: One for each value of a list of budgets; else one.
        checks: Of the exported file; empty where none was.
        finalists, contest, study: Networks that were timed or evaluated, by how.
        facts: Further lines for the end: what, and the text.
        command: That made it; empty where the document does not tell.
    """

    supernet: str
    space: str
    predictor: str
    devices: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...]
    front: tuple[Point, ...]
    checks: tuple[Check, ...]
    finalists: MeasuredNetworks | None
    contest: MeasuredNetworks | None
    study: MeasuredNetworks | None
    tables: tuple[TableFigures, ...]
    facts: tuple[tuple[str, str], ...]
    command: str

    @property
    def found(self) -> tuple[Answer, ...]:
        """Answers that hold a network."""
        return tuple(answer for answer in self.answers if answer.chosen is not None)

    @property
    def main(self) -> Answer:
        """The answer that the page tells most of: the one of the loosest budgets."""
        return self.found[-1]

    def check_of(self, key: Cost) -> Check | None:
        """The check of a cost of the chosen network's file."""
        quantity = "file_size" if key.name == "model_size" else key.name
        return next(
            (one for one in self.checks if (one.quantity, one.device) == (quantity, key.device)), None
        )

    def measured_ms(self, device: str) -> float | None:
        """Latency of the chosen network: that of its file, else as it was timed before the choice."""
        check, chosen = self.check_of(Cost("latency", device)), self.main.chosen
        if check is not None:
            return check.measured
        for timed in (self.finalists, self.study):
            for one in timed.networks if timed else ():
                if chosen and one.architecture == chosen.architecture and device in (one.latency_ms or {}):
                    return (one.latency_ms or {})[device]
        return None
