"""OperatorModel: a latency that is a sum over the operators of a network, fitted to whole networks.

It prices layers that nobody has timed, so a table made of it is `estimated`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.section import Section
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution, Elementwise, Linear, Operator, Pool, Resample, area

FUSED = ("relu", "relu6")  # computed while a convolution writes its output
_TOLERANCE = 1e-10
LARGEST_PRICE = 1e9  # of an operator, or of a network beside its operators [ms]


def _is_convolution(operator: Operator, kind: str) -> bool:
    """Whether it is a convolution of a kind; one of a single pixel only fetches weights and is of none."""
    if not isinstance(operator, Convolution) or operator.in_size == 1:
        return False
    if operator.groups == operator.in_channels:
        return kind == "depthwise"
    return kind == ("pointwise" if operator.kernel_size == 1 else "full")


def _pointwise_macs(operator: Operator) -> int:
    return operator.macs if _is_convolution(operator, "pointwise") else 0


def _depthwise_macs(operator: Operator) -> int:
    return operator.macs if _is_convolution(operator, "depthwise") else 0


def _full_macs(operator: Operator) -> int:
    return operator.macs if _is_convolution(operator, "full") else 0


def _convolution_pixels(operator: Operator) -> int:
    """Input pixels: what a convolution costs however few its channels are."""
    return (
        area(operator.in_size, operator.axes)
        if isinstance(operator, Convolution) and operator.in_size > 1
        else 0
    )


def _weights(operator: Operator) -> int:
    """Weights: they are fetched from memory, and laid out for the processor, at every run."""
    return operator.weights


def _hard_swish_elements(operator: Operator) -> int:
    is_swish = isinstance(operator, Elementwise) and operator.function == "hard_swish"
    return operator.elements if is_swish else 0


def _elements_moved(operator: Operator) -> int:
    """Elements read and written, but for activations."""
    if isinstance(operator, Linear):
        return operator.in_channels + operator.elements
    if isinstance(operator, Convolution | Pool | Resample):
        return operator.in_elements + operator.elements
    if operator.function in FUSED or operator.function == "hard_swish":
        return 0
    return (3 if operator.function == "add" else 2) * operator.elements


def _wide_depthwise_macs(operator: Operator) -> int:
    """Those of kernels above 3 pixels: for 3 x 3, int8 runtimes have a routine as fast as memory."""
    is_wide = isinstance(operator, Convolution) and operator.kernel_size > 3
    return _depthwise_macs(operator) if is_wide else 0


def _operators(operator: Operator) -> int:
    """One, unless it is computed by the way: what starting it costs."""
    return 0 if isinstance(operator, Elementwise) and operator.function in FUSED else 1


# The name in a table -> how much of it an operator has.
FEATURES: Mapping[str, Callable[[Operator], int]] = {
    "pointwise_macs": _pointwise_macs,
    "depthwise_macs": _depthwise_macs,
    "full_macs": _full_macs,
    "convolution_pixels": _convolution_pixels,
    "weights": _weights,
    "hard_swish_elements": _hard_swish_elements,
    "elements_moved": _elements_moved,
    "wide_depthwise_macs": _wide_depthwise_macs,
    "operators": _operators,
}


def sum_features(operators: Iterable[Operator], names: Sequence[str]) -> Floats:
    """Sum features over operators.

    Args:
        operators: Of a layer or a whole network.
        names: `k` keys of `FEATURES`.

    Returns:
        `(k,)` float64.
    """
    measures = [FEATURES[name] for name in names]
    sums = [[measure(operator) for measure in measures] for operator in operators]
    return np.asarray(np.array(sums, dtype=np.float64).reshape(-1, len(measures)).sum(axis=0))


@dataclass(frozen=True, slots=True)
class OperatorModel:
    """Latency of a network: a constant, and for each feature of its operators a price.

    Attributes:
        names: `k` keys of `FEATURES`.
        ms_per_unit: Price of each feature [ms per MAC, weight, element or pixel], none negative.
        constant_ms: What a network takes beside its layers.
    """

    names: tuple[str, ...]
    ms_per_unit: tuple[float, ...]
    constant_ms: float

    def features(self, layer: Layer) -> Floats:
        """Features of a layer's operators: `(k,)` float64."""
        return sum_features(lower(layer), self.names)

    def layer_ms(self, layer: Layer) -> float:
        """What a layer takes inside a network [ms]."""
        return float(self.features(layer) @ np.array(self.ms_per_unit))

    def network_ms(self, features: Floats) -> Floats:
        """What whole networks take.

        Args:
            features: `(n, k)` sums over the operators of each.

        Returns:
            `(n,)` float64 [ms].
        """
        return np.asarray(features @ np.array(self.ms_per_unit) + self.constant_ms)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        prices = dict(zip(self.names, self.ms_per_unit, strict=True))
        return {"constant_ms": self.constant_ms, "ms_per_unit": prices}

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read what `to_json` wrote.

        Raises:
            TableError: It is no model; the message names the key and what may stand there.
        """
        prices = section.section("ms_per_unit")
        if not prices.content or not set(prices.content) <= set(FEATURES):
            found = ", ".join(sorted(prices.content)) or "none"
            raise section.refusal(
                "ms_per_unit", f"expected prices of {', '.join(FEATURES)}, got {found:.200}"
            )
        model = cls(
            names=tuple(prices.content),
            ms_per_unit=tuple(
                prices.number(name, minimum=0.0, maximum=LARGEST_PRICE) for name in prices.content
            ),
            constant_ms=section.number("constant_ms", minimum=0.0, maximum=LARGEST_PRICE),
        )
        section.close()
        if not any(model.ms_per_unit):
            raise section.refusal("ms_per_unit", "every price is 0, so every layer would be free")
        return model


def fit_operator_model(features: Floats, latency_ms: Floats, names: tuple[str, ...]) -> OperatorModel:
    """Fit prices and constant to measured networks, so that relative errors are least.

    Args:
        features: `(n, k)` sums over the operators of each network.
        latency_ms: `(n,)` measured [ms], positive.
        names: What the `k` columns are.
    """
    assert features.shape == (len(latency_ms), len(names))
    columns = np.column_stack([features, np.ones(len(features))])
    scale = np.maximum(columns.max(axis=0), 1.0)  # else MACs and layers differ by eight orders of magnitude
    prices = solve_nonnegative(columns / scale / latency_ms[:, None], np.ones(len(columns))) / scale
    return OperatorModel(names, tuple(float(price) for price in prices[:-1]), float(prices[-1]))


def solve_nonnegative(matrix: Floats, target: Floats) -> Floats:
    """Least squares without negative unknowns, by an active set.

    Args:
        matrix: `(n, k)` float64.
        target: `(n,)` float64.

    Returns:
        `(k,)` float64 that minimise `|matrix @ x - target|` with `x >= 0`.

    Source: Lawson and Hanson 1974, Solving Least Squares Problems, chapter 23 (NNLS).
    """
    count = matrix.shape[1]
    solution = np.zeros(count)
    free = np.zeros(count, dtype=bool)
    for _ in range(10 * count):  # each turn lowers the error; more turns than this would be a fault of ours
        gradient = np.where(free, -np.inf, matrix.T @ (target - matrix @ solution))
        if gradient.max(initial=-np.inf) <= _TOLERANCE:
            return solution
        free[gradient.argmax()] = True
        trial = _solve_free(matrix, target, free)
        while (trial[free] <= 0).any():  # ends: every turn takes at least one unknown out of `free`
            falling = free & (trial <= 0)
            step = (solution[falling] / (solution[falling] - trial[falling])).min()
            solution = solution + step * (trial - solution)
            free &= solution > _TOLERANCE
            solution[~free] = 0.0
            trial = _solve_free(matrix, target, free)
        solution = trial
    raise AssertionError("NNLS did not settle")


def _solve_free(matrix: Floats, target: Floats, free: npt.NDArray[np.bool_]) -> Floats:
    trial = np.zeros(matrix.shape[1])
    trial[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
    return trial
