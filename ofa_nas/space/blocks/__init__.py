"""Block kinds: one file each, holding `lower(layer)`, which turns a layer into primitive operators.

A kind whose expand ratios do not multiply the channels of its input says so in
`mid_channels(in_channels, out_channels, expand_ratio)`.
"""

from functools import lru_cache
from typing import Protocol

from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_plugin
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Operator
from ofa_nas.space.stages import expand


class BlockKind(Protocol):
    """What a module of this folder holds."""

    def lower(self, layer: Layer) -> tuple[Operator, ...]:
        """Operators in execution order; the last one makes the layer's output."""
        ...


def mid_channels(kind: str, in_channels: int, out_channels: int, expand_ratio: int) -> int:
    """Channels in the middle of a block: of its input as often as the ratio says, or as its kind has it."""
    module = load_plugin("space.blocks", kind)
    if hasattr(module, "mid_channels"):
        channels: int = module.mid_channels(in_channels, out_channels, expand_ratio)
        return channels
    return expand(in_channels, expand_ratio)


@lru_cache(maxsize=65536)
def lower(layer: Layer) -> tuple[Operator, ...]:
    """Operators of a layer in execution order; names are local to the layer."""
    kind: BlockKind = load_plugin("space.blocks", layer.kind)
    if not hasattr(kind, "lower"):
        raise ConfigError(
            f"space.blocks: {layer.kind!r} has no function lower(layer), so it is no block kind"
        )
    return kind.lower(layer)
