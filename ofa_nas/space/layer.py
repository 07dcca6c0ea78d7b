"""Layer: the unit that is counted, measured, sliced and written."""

from dataclasses import dataclass, field


def block_name(stage: int, block: int) -> str:
    """Name of the layer that is a block of a stage, both counted from 0."""
    return f"s{stage}b{block}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network, with all sizes worked out.

    Images are square; a signal is an image of height 1, and its kernel, stride and size are those along it.

    Layers of equal geometry compare equal wherever they stand, so a layer is its own key in a latency table.

    Attributes:
        name: Where it stands: `stem`, `s2b1` (second stage counting from 0, second block), `classifier`.
        kind: Block kind, a module of `ofa_nas.space.blocks`; behind it, `+` and the name of a rewrite.
        in_channels: Channels of the input.
        mid_channels: Channels between expansion and projection; equals `out_channels` where there is no
            middle.
        out_channels: Channels of the output.
        kernel_size: Side of the spatial kernel [px]; of a signal, its length.
        stride: Spatial stride.
        in_size: Side of the square input [px]; of a signal, its length.
        out_size: Side of the square output [px]; of a signal, its length.
        activation: `relu`, `relu6`, `hard_swish`, or `none`.
        se_channels: Bottleneck channels of the squeeze-excite, 0 without one.
        residual: Whether the input is added to the output as it is.
        norm: Whether the convolutions are followed by batch norm (and so have a bias once it is folded).
        padding: `symmetric` (PyTorch) or `same` (TensorFlow: the odd pixel goes right and below).
    """

    name: str = field(compare=False)
    kind: str
    in_channels: int
    mid_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    in_size: int
    out_size: int
    activation: str
    se_channels: int = 0
    residual: bool = False
    norm: bool = True
    padding: str = "symmetric"
