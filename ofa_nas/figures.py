"""Figures in people's units, three digits each, and so many of a list as people care to read."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

_PREFIXES = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9))
_NEXT = 999.5  # is 1000 when it is rounded, and so 1 of the next prefix
Item = TypeVar("Item")


def format_count(value: float) -> str:
    """A count in thousands, millions or billions: `41.5 M`."""
    number, prefix = _scaled(value)
    return f"{number} {prefix}".rstrip()


def format_bytes(value: float) -> str:
    """Bytes in decimal units, as the budgets are given: `1.25 MB`."""
    number, prefix = _scaled(value)
    return f"{number} {prefix}B"


def format_ms(value_ms: float) -> str:
    """A time [ms], in seconds from one on: `28.4 ms`."""
    return f"{_digits(value_ms)} ms" if value_ms < 1000.0 else f"{_digits(value_ms / 1000.0)} s"


def format_amount(value: float, unit: str, *, up: bool = False) -> str:
    """A cost in its unit: `28.4 ms`, `7.95 MB`, `201 M MACs`; `up` never rounds down."""
    if math.isinf(value):
        return "no limit"
    if up:
        step = 10.0 ** (math.floor(math.log10(value)) - 2)
        value = math.ceil(value / step - 1e-9) * step
    if unit == "ms":
        return format_ms(value)
    return format_bytes(value) if unit == "bytes" else f"{format_count(value)} MACs"


def format_share(share: float) -> str:
    """A share: `10.4 %`."""
    return f"{100.0 * share:.3g} %"


def format_points(difference: float, *, digits: int = 1) -> str:
    """A difference of two accuracies, fractions, with its sign: `+0.4 points`."""
    return f"{100.0 * difference:+.{digits}f} points"


def thin(items: Sequence[Item], most: int, *, is_kept: Callable[[Item], bool]) -> list[Item]:
    """So many of some items, evenly, with their ends, and those that are kept in any case."""
    step = max(1.0, (len(items) - 1) / (most - 1))
    places = {round(index * step) for index in range(most)}
    return [item for index, item in enumerate(items) if index in places or is_kept(item)]


def _scaled(value: float) -> tuple[str, str]:
    """Digits of a value, and the prefix of its unit."""
    prefix, size = next((one for one in _PREFIXES if value < _NEXT * one[1]), _PREFIXES[-1])
    return _digits(value / size) if prefix else f"{value:.0f}", prefix


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"
