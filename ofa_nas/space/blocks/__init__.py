"""Block kinds: one file each, holding `lower(layer)`, which turns a layer into primitive operators.

Expand ratios multiply the channels of a block's input, or of its output where the kind has
`EXPANDS_OUTPUT = True`. A kind with `AXES = 1` is one of signals: whatever `lower` gives, and whatever a
rewrite adds, works along a single axis.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_complete, load_plugin
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import (
    INPUT,
    Elementwise,
    Linear,
    Operator,
    Resample,
    area,
    extent,
    size_unit,
)
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
    """Operators of a layer in execution order; names are local to the layer.

    Raises:
        ConfigError: There is no such kind, or what it gives does not make the layer's output of its input.
    """
    name, *rewrites = layer.kind.split("+")
    kind: BlockKind = load_complete("space.blocks", name, ("lower",), what="a block kind")
    operators = kind.lower(layer)
    _check_chain(operators, layer, name)
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


def _check_chain(operators: Any, layer: Layer, kind: str) -> None:
    """Refuse what is no chain of operators from a layer's input to its output."""
    told = f"{kind}: lower: gave {{}} for layer {layer.name}; expected operators, each behind its inputs"
    if not isinstance(operators, tuple) or not operators:
        raise ConfigError(told.format(repr(operators)[:80]))
    names = {INPUT}
    for one in operators:
        if not isinstance(one, Operator):
            raise ConfigError(told.format(repr(one)[:80]))
        if not names.issuperset(one.inputs) or one.name in names:
            raise ConfigError(told.format(f"{one.name!r} of {', '.join(one.inputs)}"))
        if isinstance(one, Elementwise | Resample):
            _check_function(one, layer, kind)
        names.add(one.name)
    expected = layer.out_channels * area(layer.out_size, getattr(operators[-1], "axes", 2))
    if operators[-1].elements != expected:
        raise ConfigError(
            told.format(f"{operators[-1].elements} elements") + f", the last of which makes {expected}"
        )


def _check_function(operator: Elementwise | Resample, layer: Layer, kind: str) -> None:
    """Refuse a function that nothing computes, or one with too few or too many inputs."""
    function, known = operator.function, operator.functions
    where = f"{kind}: lower: operator {operator.name!r} of layer {layer.name}"
    if function not in list(known):
        raise ConfigError(
            f"{where}: {type(operator).__name__} has no function {function!r:.60}; it has {', '.join(known)}"
        )
    if len(operator.inputs) != known[function]:
        raise ConfigError(f"{where}: {function} takes {known[function]} input(s), got {len(operator.inputs)}")
