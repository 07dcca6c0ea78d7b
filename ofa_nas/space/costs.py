"""MACs of a layer and a network, parameters of a layer, and any cost of whole populations at once.

A position's layer depends on nothing but the resolution and its own choice, since stage widths are fixed. So
any cost of a layer is tabulated once, and a population is costed by looking up and adding (or taking the
maximum).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution, Linear, Operator
from ofa_nas.space.search_space import SearchSpace


def layer_macs(layer: Layer) -> int:
    """Multiply-accumulates of one layer for one image (1 MAC = 2 FLOPs)."""
    return sum(operator.macs for operator in lower(layer))


def network_macs(space: SearchSpace, arch: Architecture) -> int:
    """Multiply-accumulates of an architecture for one image."""
    return sum(map(layer_macs, space.layers(arch)))


def layer_parameters(layer: Layer) -> int:
    """Trained parameters: weights, biases, and two for each channel of a batch norm."""
    return sum(operator.weights + _bias_parameters(operator) for operator in lower(layer))


def _bias_parameters(operator: Operator) -> int:
    if isinstance(operator, Linear):
        return operator.out_channels
    if isinstance(operator, Convolution):
        return operator.out_channels * (2 * operator.norm + operator.bias)
    return 0


@dataclass(frozen=True, eq=False)
class CostTable:
    """One cost of every layer of a space, looked up by genes; other genes are an ArchitectureError.

    Attributes:
        fixed: `(resolutions, layers)` costs of stem and head.
        choices: `(resolutions, positions, 1 + choices)`; entry 0, an absent block, is 0; what does not exist
            is nan.
        is_peak: A network costs as much as its largest layer, not as their sum.
    """

    encoding: Encoding
    fixed: Floats
    choices: Floats
    is_peak: bool = False

    @classmethod
    def by_gene(cls, encoding: Encoding, table: Floats) -> Self:
        """What is the same at every resolution, from a table `(d, width)` of each value of each gene."""
        count, width = len(encoding.space.resolutions), 1 + int(encoding.choice_counts.max())
        blocks = np.where(np.arange(width) > encoding.choice_counts[:, None], np.nan, table[1:, :width])
        return cls(encoding, table[0, :count, None], np.repeat(blocks[None], count, axis=0))

    def gather(self, genes: Genes) -> Floats:
        """Costs of the blocks of architectures `(n, d)`: `(n, positions)`, 0 where there is none."""
        self.encoding.check(genes)
        rows = np.arange(0, self.choices.size, self.choices.shape[2]).reshape(self.choices.shape[:2])
        blocks = genes[:, 1:]
        if blocks.dtype == np.uint64:  # to which integers with a sign are added as floats
            blocks = blocks.astype(np.intp)
        return np.asarray(self.choices.ravel().take(rows[genes[:, 0]] + blocks))

    def total(self, genes: Genes) -> Floats:
        """Sums over the layers of architectures `(n, d)`: `(n,)`."""
        return np.asarray(self.gather(genes).sum(axis=1) + self.fixed.sum(axis=1)[genes[:, 0]])

    def peak(self, genes: Genes) -> Floats:
        """Largest layers of architectures `(n, d)`: `(n,)`."""
        return np.asarray(np.maximum(self.gather(genes).max(axis=1), self.fixed.max(axis=1)[genes[:, 0]]))

    def values(self, genes: Genes) -> Floats:
        """Costs of architectures `(n, d)`: `(n,)`."""
        return self.peak(genes) if self.is_peak else self.total(genes)

    def smallest(self) -> Architecture:
        """An architecture of the least possible cost, exactly."""
        reduce = np.max if self.is_peak else np.sum
        encoding = self.encoding
        rows = np.zeros((len(self.fixed), encoding.length), dtype=np.int16)
        for resolution, row in enumerate(rows):
            row[0] = resolution
            for span, stage in zip(encoding.spans, encoding.space.stages, strict=True):
                present = self.choices[resolution, span.start - 1 : span.stop - 1, 1:]
                best = np.nanargmin(present, axis=1)
                least = np.nanmin(present, axis=1)
                depth = min(stage.depths, key=lambda depth: float(reduce(least[:depth])))
                row[span.start : span.start + depth] = 1 + best[:depth]
        return encoding.decode(rows[[int(np.argmin(self.values(rows)))]])[0]


def tabulate(encoding: Encoding, cost: Callable[[Layer], float], *, is_peak: bool = False) -> CostTable:
    """Tabulate a cost of every layer of a space, through the walk itself.

    Full-depth architectures that hold each choice at each position once are walked, so the geometry is that
    of `SearchSpace.layers` and of nothing else.

    Raises:
        ConfigError: The cost of a layer is no finite number.
    """
    space = encoding.space
    widest = int(encoding.choice_counts.max())
    names = {position.layer_name: index for index, position in enumerate(encoding.positions)}
    choices = np.full((len(space.resolutions), len(names), 1 + widest), np.nan)
    choices[:, :, 0] = 0.0
    fixed: list[list[float]] = []
    for row, resolution in enumerate(space.resolutions):
        for turn in range(widest):
            arch = full_depth(space, resolution, turn)
            outside = []
            for layer in space.layers(arch):
                column, value = names.get(layer.name), _number(cost(layer), layer)
                if column is None:
                    outside.append(value)
                else:
                    choices[row, column, 1 + turn % encoding.choice_counts[column]] = value
        fixed.append(outside)
    return CostTable(encoding, np.array(fixed), choices, is_peak)


def _number(value: Any, layer: Layer) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"cost: gave {value!r:.40} for layer {layer.name}; expected a finite number")
    return number


def full_depth(space: SearchSpace, resolution: int, choice: int) -> Architecture:
    """The full-depth architecture whose every block is choice number `choice`, counted round."""
    stages = tuple((stage.choices[choice % len(stage.choices)],) * stage.depths[-1] for stage in space.stages)
    return Architecture(resolution, stages)


def every_layer(space: SearchSpace, resolution: int) -> list[Layer]:
    """Every layer that architectures of a resolution have, once each."""
    turns = range(max(len(stage.choices) for stage in space.stages))
    return list(
        dict.fromkeys(layer for turn in turns for layer in space.layers(full_depth(space, resolution, turn)))
    )
