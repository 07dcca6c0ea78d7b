"""One figure of a file beside what it should be, and how people read it, on a screen or on a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ofa_nas.figures import format_amount, format_count, format_points

_TITLES = {
    "numerics": "numerics",
    "agreement": "agreement with torch",
    "accuracy_drop": "top-1 lost",
    "accuracy": "top-1",
    "latency": "latency",
    "latency_p90": "latency, p90",
    "answers": "answers",
    "peak_memory": "peak memory",
    "resident_memory": "resident memory",
    "file_size": "file size",
    "macs": "MACs",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a file, as measured, beside what it should be.

    Attributes:
        quantity: `numerics`, `agreement`, `accuracy_drop`, `accuracy`, `latency`, `latency_p90`,
            `answers`, `peak_memory`, `resident_memory`, `file_size` or `macs`.
        measured: On the file itself.
        predicted: What the search promised; None where nothing was.
        unit: `fraction`, `ms`, `bytes` or `MACs`.
        is_met: False when the figure breaks a promise: numerics or answers off, a budget exceeded, an
            accuracy missed.
        exceeds_budget: Whether the measured figure is above a budget, or an accuracy below what was asked,
            though the promise may be kept: a budget of memory or size holds for what was predicted, latency
            and accuracy are allowed their noise.
        note: How it was measured, or why it deviates.
        device: Of a latency and of answers: the name of the table that predicted it, or else where it was
            measured.
    """

    quantity: str
    measured: float
    predicted: float | None
    unit: str
    is_met: bool
    note: str
    device: str = ""
    exceeds_budget: bool = False

    @property
    def title(self) -> str:
        """What was checked, without the device; the bare name of a quantity that only later versions know."""
        return _TITLES.get(self.quantity, self.quantity)

    def text(self, value: float, *, share: Callable[[float], str]) -> str:
        """A value of this quantity below its title; `share` writes fractions."""
        if self.quantity == "numerics":
            return f"{value:.1e}"
        if self.quantity == "accuracy_drop":
            return format_points(value, digits=2)
        if self.unit == "fraction":
            return share(value)
        return format_count(value) if self.quantity == "macs" else format_amount(value, self.unit)

    @property
    def deviation(self) -> str:
        """By how much the measured figure is above the predicted one: `-1.2%`, of fractions `-1.2 points`."""
        if not self.predicted:
            return ""
        if self.unit == "fraction":
            return format_points(self.measured - self.predicted)
        return f"{self.measured / self.predicted - 1:+.1%}"


def describe_excess(checks: Sequence[Check]) -> str:
    """Which measured figures miss what was asked: `latency is above its budget`; empty where none does."""
    beyond = dict.fromkeys(
        (check.quantity == "accuracy", check.title) for check in checks if check.exceeds_budget
    )
    above = [title for is_accuracy, title in beyond if not is_accuracy]
    told = [f"{title} is below what was asked" for is_accuracy, title in beyond if is_accuracy]
    if above:
        verb = "is above its budget" if len(above) == 1 else "are above their budgets"
        told.append(f"{' and '.join(above)} {verb}")
    return ", and ".join(told)
