"""Block kinds: one file each, holding `lower(layer)`, which turns a layer into primitive operators.

Expand ratios multiply the channels of a block's input, or of its output where the kind has
`EXPANDS_OUTPUT = True`. A kind with `AXES = 1` is one of signals: whatever `lower` gives, and whatever a
rewrite adds, works along a single axis.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_complete, load_plugin
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Linear, Operator, extent, size_unit
from ofa_nas.space.rewrites import REWRITES
from ofa_nas.space.stages import make_divisible


class BlockKind(Protocol):
    """What a module of this folder holds."""

    def lower(self, layer: Layer) -> tuple[Operator, ...]:
        """Operators in execution order; the last one makes the layer's output."""
        ...


def mid_channels(kind: str, in_channels: int, out_channels: int, expand_ratio: int) -> int:
    """Channels in the middle of a block: so many times those of input or output, in steps of 8."""
    expands_output = getattr(load_plugin("space.blocks", kind), "EXPANDS_OUTPUT", False)
    channels = out_channels if expands_output else in_channels
    return make_divisible(channels * expand_ratio) if expand_ratio > 1 else channels


def axes_of(kind: str) -> int:
    """Axes of what a kind of layer works on: 2 of an image, 1 of a signal."""
    return int(getattr(load_plugin("space.blocks", kind.split("+", maxsplit=1)[0]), "AXES", 2))


def layer_text(layer: Layer) -> str:
    """Geometry of a layer, for people."""
    axes = axes_of(layer.kind)
    height, width = extent(layer.kernel_size, axes)
    kernel = f" {height}x{width}" if width > 1 else ""
    channels = f"{layer.in_channels}-{layer.mid_channels}-{layer.out_channels}"
    return f"{layer.kind} {channels}{kernel}, stride {layer.stride}, {layer.in_size} {size_unit(axes)}"


def input_shape(layer: Layer) -> tuple[int, int, int]:
    """Channels, height and width of a layer's input."""
    return (layer.in_channels, *extent(layer.in_size, axes_of(layer.kind)))


def output_shape(layer: Layer) -> tuple[int, int, int]:
    """Channels, height and width of a layer's output."""
    return (layer.out_channels, *extent(layer.out_size, axes_of(layer.kind)))


@lru_cache(maxsize=65536)
def lower(layer: Layer) -> tuple[Operator, ...]:
    """Operators of a layer in execution order; names are local to the layer."""
    name, *rewrites = layer.kind.split("+")
    kind: BlockKind = load_complete("space.blocks", name, ("lower",), what="a block kind")
    operators = kind.lower(layer)
    for rewrite in rewrites:
        if rewrite not in REWRITES:
            known = ", ".join(REWRITES)
            raise ConfigError(
                f"space.blocks: {layer.kind[:60]!r}: there is no {rewrite[:40]!r}; there are {known}"
            )
        operators = REWRITES[rewrite](layer, operators)
    if axes_of(name) == 2:
        return operators
    return tuple(one if isinstance(one, Linear) else replace(one, axes=1) for one in operators)
