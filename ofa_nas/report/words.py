"""Figures of a report in people's words."""

from ofa_nas.figures import format_amount, format_bytes, format_ms
from ofa_nas.report.document import Figures, Network, Point, SearchDocument
from ofa_nas.search.budgets import Cost
from ofa_nas.space.operators import extent, size_unit

WRAPPED = 34  # letters of an architecture's text in a line beside its point


def percent(fraction: float) -> str:
    """A fraction: `69.2 %`."""
    return f"{100 * fraction:.1f} %"


def card_text(key: Cost, value: float) -> str:
    """An amount of a cost below its title, which says already what is counted: `277 M`."""
    return key.text(value).removesuffix(" MACs")


def cost_keys(document: SearchDocument) -> list[Cost]:
    """Every cost that is predicted: latencies, MACs, memory, size."""
    latencies = [Cost("latency", name) for name, _ in document.devices]
    return [*latencies, Cost("macs"), Cost("peak_memory"), Cost("model_size")]


def first_cost(document: SearchDocument) -> Cost:
    """The cost that the front is drawn against: by it the front rises, others need not."""
    keys = cost_keys(document)
    if len(document.answers) > 1:  # a list: the cost whose budgets differ
        first, last = document.answers[0].limits, document.answers[-1].limits
        for one, other in zip(first, last, strict=False):
            if one.budget != other.budget and one.budget.key in keys:
                return one.budget.key
    return keys[0]


def point_text(point: Point) -> str:
    """An architecture and its figures, one a line, for those who point at it."""
    return "\n".join([*wrapped(point.architecture), *figure_lines(point.predicted), *measured_lines(point)])


def figure_lines(figures: Figures) -> list[str]:
    """What is predicted, one figure a line."""
    interval = f" ± {100 * figures.half_width:.1f}" if figures.half_width else ""
    return [
        f"top-1 {percent(figures.accuracy)}{interval}",
        *(f"{format_ms(ms)} on {name}" for name, ms in figures.latency_ms.items()),
        format_amount(figures.macs, "MACs"),
        f"peak memory {format_bytes(figures.peak_bytes)}",
        f"weights {format_bytes(figures.weight_bytes)}",
    ]


def measured_lines(point: Point) -> list[str]:
    """What was measured, one figure a line."""
    lines = [] if point.accuracy is None else [f"measured top-1 {percent(point.accuracy)}"]
    return lines + [f"measured {format_ms(ms)} on {name}" for name, ms in (point.latency_ms or {}).items()]


def wrapped(architecture: str) -> list[str]:
    """The text of an architecture in short lines that end where a stage or a block does."""
    lines = [""]
    for letter_run in architecture.replace("/", "/\0").replace(".", ".\0").split("\0"):
        if len(lines[-1]) + len(letter_run) > WRAPPED:
            lines.append("")
        lines[-1] += letter_run
    return lines


def kernel_text(kernel_size: int, axes: int) -> str:
    """The kernel of a layer: `5x5` of images, `1x5` of signals."""
    height, width = extent(kernel_size, axes)
    return f"{height}x{width}"


def size_text(network: Network) -> str:
    """The size of a network's input: `96 x 96 px`, or `96 samples` of a signal."""
    axes = network.layers[0].axes
    return f"{' x '.join([str(network.resolution)] * axes)} {size_unit(axes)}"
