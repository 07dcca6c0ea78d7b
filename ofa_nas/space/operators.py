"""Primitive operators: what a layer is made of, on torch, in ONNX, and when it is counted.

Tensors are named after the operator that makes them; `INPUT` is the input of the layer. An operator of two
axes works on square images, one of a single axis on signals: images of height 1, as long as their size says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ofa_nas.space.layer import Layer

INPUT = "input"


def tensor_name(layer: Layer, operator: str) -> str:
    """Name of the tensor that an operator of a layer makes; its weights are `….weight` and `….bias`."""
    return f"{layer.name}/{operator}"


def extent(size: int, axes: int, *, across: int = 1) -> tuple[int, int]:
    """Height and width of what has one size along each of its axes, and `across` where it has no axis."""
    return (size, size) if axes == 2 else (across, size)


def area(size: int, axes: int) -> int:
    """Pixels of an image of one size along each of its axes, or samples of a signal."""
    height, width = extent(size, axes)
    return height * width


def size_unit(axes: int) -> str:
    """What sizes are counted in: pixels of an image, samples of a signal."""
    return "px" if axes == 2 else "samples"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, followed by batch norm if `norm`; `bias` is a bias of its own.

    Attributes:
        pad: Zeros before and after, the same along each axis [px].
        axes: Along which it slides: 2 of an image, 1 of a signal.
    """

    name: str
    inputs: tuple[str]
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    groups: int
    in_size: int
    out_size: int
    pad: tuple[int, int]
    norm: bool = True
    bias: bool = False
    axes: int = 2
    in_place: ClassVar[bool] = False

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return extent(self.kernel_size, self.axes)

    @property
    def strides(self) -> tuple[int, int]:
        """Stride down and to the right."""
        return extent(self.stride, self.axes)

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before and behind: (above, left), (below, right)."""
        before, after = self.pad
        return extent(before, self.axes, across=0), extent(after, self.axes, across=0)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight: `(out, in / groups, k, k)`, of a signal `(out, in / groups, 1, k)`."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        out, into, height, width = self.weight_shape
        return out * into * height * width

    @property
    def biases(self) -> int:
        """Elements of the bias, once a batch norm is folded into it."""
        return self.out_channels if self.norm or self.bias else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.weights * area(self.out_size, self.axes)

    @property
    def elements(self) -> int:
        """Elements of the output for one image."""
        return self.out_channels * area(self.out_size, self.axes)

    @property
    def in_elements(self) -> int:
        """Elements of the input for one image."""
        return self.in_channels * area(self.in_size, self.axes)


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected operator with a bias; flattens its input."""

    name: str
    inputs: tuple[str]
    in_channels: int
    out_channels: int
    in_place: ClassVar[bool] = False

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weight: `(out, in)`."""
        return (self.out_channels, self.in_channels)

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        return self.in_channels * self.out_channels

    @property
    def biases(self) -> int:
        """Elements of the bias."""
        return self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.weights

    @property
    def elements(self) -> int:
        """Elements of the output for one image."""
        return self.out_channels


@dataclass(frozen=True, slots=True)
class Pool:
    """Global average pooling to one pixel."""

    name: str
    inputs: tuple[str]
    channels: int
    in_size: int
    axes: int = 2
    macs: ClassVar[int] = 0
    weights: ClassVar[int] = 0
    biases: ClassVar[int] = 0
    in_place: ClassVar[bool] = False

    @property
    def elements(self) -> int:
        """Elements of the output for one image."""
        return self.channels

    @property
    def in_elements(self) -> int:
        """Elements of the input for one image."""
        return self.channels * area(self.in_size, self.axes)


@dataclass(frozen=True, slots=True)
class Elementwise:
    """An operator that may write over its first input.

    Attributes:
        function: `relu`, `relu6`, `hard_swish`, `hard_sigmoid` of one input; `add` of two of equal shape;
            `scale`: the first input `(B, C, H, W)` times the second `(B, C, 1, 1)`.
        functions: All that there are -> the inputs of each.
    """

    name: str
    inputs: tuple[str, ...]
    function: str
    channels: int
    size: int
    axes: int = 2
    macs: ClassVar[int] = 0
    weights: ClassVar[int] = 0
    biases: ClassVar[int] = 0
    in_place: ClassVar[bool] = True
    functions: ClassVar[Mapping[str, int]] = {
        "relu": 1,
        "relu6": 1,
        "hard_swish": 1,
        "hard_sigmoid": 1,
        "add": 2,
        "scale": 2,
    }

    @property
    def elements(self) -> int:
        """Elements of the output for one image."""
        return self.channels * area(self.size, self.axes)


@dataclass(frozen=True, slots=True)
class Resample:
    """Another size, without weights.

    Attributes:
        function: `halve`: means of 2 x 2 px (of a signal, of 2), an odd last row and column left out;
            `bilinear`: between the centres of pixels.
        functions: All that there are -> the inputs of each.
    """

    name: str
    inputs: tuple[str]
    function: str
    channels: int
    in_size: int
    out_size: int
    axes: int = 2
    macs: ClassVar[int] = 0
    weights: ClassVar[int] = 0
    biases: ClassVar[int] = 0
    in_place: ClassVar[bool] = False
    functions: ClassVar[Mapping[str, int]] = {"halve": 1, "bilinear": 1}

    @property
    def elements(self) -> int:
        """Elements of the output for one image."""
        return self.channels * area(self.out_size, self.axes)

    @property
    def in_elements(self) -> int:
        """Elements of the input for one image."""
        return self.channels * area(self.in_size, self.axes)

    @property
    def out_shape(self) -> tuple[int, int]:
        """Height and width of the output."""
        return extent(self.out_size, self.axes)


Operator = Convolution | Linear | Pool | Resample | Elementwise


def same_padding(
    kernel_size: int, stride: int, in_size: int, out_size: int, *, padding: str
) -> tuple[int, int]:
    """Zeros before and after so that `in_size` becomes `out_size` [px].

    Source: TensorFlow's SAME rule for `same`; PyTorch's `kernel_size // 2` for `symmetric`.
    """
    if padding == "symmetric":
        return kernel_size // 2, kernel_size // 2
    total = max((out_size - 1) * stride + kernel_size - in_size, 0)
    return total // 2, total - total // 2
