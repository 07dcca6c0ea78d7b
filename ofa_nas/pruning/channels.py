"""Channel pruning: cut the least important middle channels out of every block, by what sorts them."""

from dataclasses import replace

from ofa_nas.errors import ConfigError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer, block_name
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.space.stages import make_divisible
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet, copy_prefixes

_STEP = 8  # channels: what vectorised kernels work on at once


def narrow_space(space: SearchSpace, arch: Architecture, *, keep: float) -> SearchSpace:
    """The space of one architecture whose blocks keep a share of their middle channels.

    The channels are rounded to a multiple of 8. Blocks that do not expand stay as they are; what a block that
    expands keeps is never as wide as its input, since that is how a block without expansion is known.

    Args:
        space: Of the architecture.
        arch: To prune.
        keep: Share of the middle channels, in (0, 1).

    Raises:
        ConfigError: The share is none, or nothing would be cut.
    """
    if not 0.0 < keep < 1.0:
        raise ConfigError(f"--keep {keep}: expected a share of the channels, above 0 and below 1")
    only = space.only(arch)
    layers = {layer.name: layer for layer in only.layers(only.largest)}
    blocks = [layers[block_name(index, 0)] for index in range(len(only.stages))]
    kept = [_kept(layer, keep) for layer in blocks]
    if all(width == layer.mid_channels for width, layer in zip(kept, blocks, strict=True)):
        raise ConfigError(
            f"--keep {keep}: cuts no channel of {space.name} {arch}, whose blocks keep multiples of {_STEP}; "
            "give a smaller share"
        )
    widths = [
        width if width < layer.mid_channels else stage.mid_width
        for width, layer, stage in zip(kept, blocks, only.stages, strict=True)
    ]
    return only.with_mid_widths(widths)


def _kept(layer: Layer, keep: float) -> int:
    """Middle channels of a block after pruning."""
    if not _expands(layer, layer.mid_channels):
        return layer.mid_channels
    width = make_divisible(keep * layer.mid_channels, _STEP)
    if not _expands(layer, width):
        width += _STEP
    return min(width, layer.mid_channels)


def _expands(layer: Layer, width: int) -> bool:
    return any(operator.name == "expand" for operator in lower(replace(layer, mid_channels=width)))


def cut_channels(dense: Supernet, space: SearchSpace) -> Supernet:
    """Keep the most important middle channels, by the L1 norm that sorts them for elastic expand.

    The result computes what the dense network does when the outputs of the other channels are 0.

    Args:
        dense: Supernet of one architecture; its middle channels are sorted in place.
        space: As `narrow_space` makes it of that architecture.
    """
    sort_channels(dense)
    narrow = Supernet(space)
    copy_prefixes(dense, narrow)
    return narrow
