"""The walk over the geometry: the only place where sizes and channels of an architecture are worked out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.blocks import mid_channels
from ofa_nas.space.layer import Layer, block_name
from ofa_nas.space.stages import Stage, make_divisible

if TYPE_CHECKING:
    from ofa_nas.space.search_space import SearchSpace

SE_REDUCTION = 4  # squeeze-excite bottleneck: a quarter of the middle channels (OFA, MobileNetV3)


def walk(space: "SearchSpace", arch: Architecture) -> Iterator[Layer]:
    """Layers of an architecture in execution order; each one's input is the output of the one before.

    Args:
        space: Whose stem, stages and head they are.
        arch: With as many stages; it need not be one that may be chosen.
    """
    layer = _stem(space, arch.resolution)
    yield layer
    for stage_index, (stage, blocks) in enumerate(zip(space.stages, arch.stages, strict=True)):
        for block_index, block in enumerate(blocks):
            stride, name = 1 if block_index else stage.stride, block_name(stage_index, block_index)
            layer = _block(space, name, stage, block, stride=stride, before=layer)
            yield layer
    yield from _head(space, layer)


def _rewrites(space: "SearchSpace", *, is_lite: bool) -> str:
    """What the kind of a layer says of rewrites, see `ofa_nas.space.rewrites`."""
    return ("+lite" if is_lite else "") + ("+folded" if space.folded else "")


def _kind(space: "SearchSpace", of_images: str) -> str:
    """The kind of stem, pooling or head: that for images, or its twin for signals."""
    return of_images if space.axes == 2 else f"{of_images}1d"


def _block(
    space: "SearchSpace", name: str, stage: Stage, block: Block, *, stride: int, before: Layer
) -> Layer:
    in_channels = before.out_channels
    is_plain = before.name == "stem" and block.expand_ratio == 1
    middle = stage.mid_width or mid_channels(stage.block, in_channels, stage.width, block.expand_ratio)
    return Layer(
        name=name,
        kind=stage.block + _rewrites(space, is_lite=space.lite and not is_plain),
        in_channels=in_channels,
        mid_channels=middle,
        out_channels=stage.width,
        kernel_size=block.kernel_size,
        stride=stride,
        in_size=before.out_size,
        out_size=_strided(before.out_size, stride),
        activation=stage.activation,
        se_channels=make_divisible(middle // SE_REDUCTION) if stage.squeeze_excite else 0,
        residual=stride == 1 and in_channels == stage.width,
        padding=space.padding,
    )


def _stem(space: "SearchSpace", resolution: int) -> Layer:
    stem = space.stem
    layer = _pointwise(space, "stem", space.channels, stem.width, resolution, stem.activation)
    out_size = _strided(resolution, stem.stride)
    return replace(layer, kernel_size=stem.kernel_size, stride=stem.stride, out_size=out_size)


def _pointwise(
    space: "SearchSpace",
    name: str,
    in_channels: int,
    out_channels: int,
    size: int,
    activation: str,
    *,
    norm: bool = True,
) -> Layer:
    return Layer(
        name=name,
        kind=_kind(space, "conv") + _rewrites(space, is_lite=False) * norm,
        in_channels=in_channels,
        mid_channels=out_channels,
        out_channels=out_channels,
        kernel_size=1,
        stride=1,
        in_size=size,
        out_size=size,
        activation=activation,
        norm=norm,
        padding=space.padding,
    )


def _head(space: "SearchSpace", before: Layer) -> Iterator[Layer]:
    head, size, channels = space.head, before.out_size, before.out_channels
    if head.width:
        yield _pointwise(space, "head_conv", channels, head.width, size, head.activation)
        channels = head.width
    pool = _kind(space, "pool")
    yield Layer("head_pool", pool, channels, channels, channels, size, 1, size, 1, "none", norm=False)
    if head.mix_width:
        yield _pointwise(space, "head_mix", channels, head.mix_width, 1, head.activation, norm=False)
        channels = head.mix_width
    yield Layer(
        "classifier", "linear", channels, space.classes, space.classes, 1, 1, 1, 1, "none", norm=False
    )


def _strided(size: int, stride: int) -> int:
    return -(-size // stride)
