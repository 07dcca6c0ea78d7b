"""Block kinds: one file each, holding `lower(layer)`, which turns a layer into primitive operators."""

from functools import lru_cache
from typing import Protocol

from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_plugin
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Operator


class BlockKind(Protocol):
    """What a module of this folder holds."""

    def lower(self, layer: Layer) -> tuple[Operator, ...]:
        """Operators in execution order; the last one makes the layer's output."""
        ...


@lru_cache(maxsize=65536)
def lower(layer: Layer) -> tuple[Operator, ...]:
    """Operators of a layer in execution order; names are local to the layer."""
    kind: BlockKind = load_plugin("space.blocks", layer.kind)
    if not hasattr(kind, "lower"):
        raise ConfigError(
            f"space.blocks: {layer.kind!r} has no function lower(layer), so it is no block kind"
        )
    return kind.lower(layer)
