"""The 49 networks of MLPerf inference v2.0 that were timed on a Raspberry Pi 4, as primitive operators.

All were timed in fp32, and 45 of them in uint8 too.
Widths, kernels and repeats are those of TensorFlow's published models. The MACs and parameters published with
them stand beside, so that a slip in a description shows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator, same_padding
from ofa_nas.space.stages import make_divisible


@dataclass(frozen=True, slots=True)
class Network:
    """A network that somebody measured.

    Attributes:
        name: As in the measurements, without the precision: the same in fp32 and uint8.
        family: Networks that share a design; left out together in cross-validation.
        operators: In execution order; names are local to a layer.
        published_macs: [M], rounded by the publisher.
        published_parameters: [M], rounded by the publisher.
    """

    name: str
    family: str
    operators: tuple[Operator, ...]
    published_macs: float
    published_parameters: float

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the description [M]."""
        return sum(operator.macs for operator in self.operators) / 1e6

    @property
    def weights(self) -> float:
        """Weights of the description, without biases and batch norm [M]."""
        return sum(operator.weights for operator in self.operators) / 1e6


@dataclass(slots=True)
class _Builder:
    """Appends layers, keeping size and channels."""

    size: int
    activation: str
    channels: int = 3
    operators: list[Operator] = field(default_factory=list)

    def convolution(
        self, channels: int, kernel_size: int = 1, stride: int = 1, *, activation: str = ""
    ) -> None:
        self._layer("conv", channels, channels, kernel_size, stride, activation=activation)

    def mbconv(
        self,
        mid: int,
        channels: int,
        kernel_size: int,
        stride: int,
        *,
        activation: str = "",
        se: bool = False,
    ) -> None:
        squeezed = make_divisible(mid / 4) if se else 0
        self._layer("mbconv", mid, channels, kernel_size, stride, activation=activation, se_channels=squeezed)

    def depthwise(self, stride: int) -> None:
        out_size = -(-self.size // stride)
        pad = same_padding(3, stride, self.size, out_size, padding="same")
        channels = self.channels
        self.operators.append(
            Convolution(
                "depthwise", (INPUT,), channels, channels, 3, stride, channels, self.size, out_size, pad
            )
        )
        self.operators.append(Elementwise("act", ("depthwise",), self.activation, channels, out_size))
        self.size = out_size

    def pool(self) -> None:
        self._layer("pool", self.channels, self.channels, self.size, self.size)

    def classifier(self, classes: int) -> None:
        self._layer("linear", classes, classes, 1, 1)

    def _layer(
        self,
        kind: str,
        mid: int,
        channels: int,
        kernel_size: int,
        stride: int,
        *,
        activation: str = "",
        se_channels: int = 0,
    ) -> None:
        out_size = -(-self.size // stride)
        layer = Layer(
            name=kind,
            kind=kind,
            in_channels=self.channels,
            mid_channels=mid,
            out_channels=channels,
            kernel_size=kernel_size,
            stride=stride,
            in_size=self.size,
            out_size=out_size,
            activation=activation or self.activation,
            se_channels=se_channels,
            residual=kind == "mbconv" and stride == 1 and channels == self.channels,
            padding="same",
        )
        self.operators.extend(lower(layer))
        self.size, self.channels = out_size, channels


_V1_BLOCKS = (  # (width, stride); arXiv:1704.04861, table 1
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
_V1_PUBLISHED = {  # parameters [M], MACs [M] by resolution; tensorflow/models, slim/nets/mobilenet_v1.md
    1.0: (4.24, {224: 569, 192: 418, 160: 291, 128: 186}),
    0.75: (2.59, {224: 317, 192: 233, 160: 162, 128: 104}),
    0.5: (1.34, {224: 150, 192: 110, 160: 77, 128: 49}),
    0.25: (0.47, {224: 41, 192: 34, 160: 21, 128: 14}),
}


def _mobilenet_v1(width: float, resolution: int) -> Network:
    net = _Builder(resolution, "relu6")
    net.convolution(int(32 * width), 3, 2)
    for channels, stride in _V1_BLOCKS:
        net.depthwise(stride)
        net.convolution(int(channels * width))
    net.pool()
    net.classifier(1001)
    parameters, macs = _V1_PUBLISHED[width]
    name = f"mobilenet-v1-{width}-{resolution}"
    return Network(name, "mobilenet-v1", tuple(net.operators), macs[resolution], parameters)


_V2_STAGES = (  # (expand ratio, width, repeats, stride); arXiv:1801.04381, table 2
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
_V2_PUBLISHED = {  # parameters [M], MACs [M] by resolution; tensorflow/models, slim/nets/mobilenet/README.md
    1.4: (6.06, {224: 582}),
    1.3: (5.34, {224: 509}),
    1.0: (3.47, {224: 300, 192: 221, 160: 154, 128: 99, 96: 56}),
    0.75: (2.61, {224: 209, 192: 153, 160: 107, 128: 69, 96: 39}),
    0.5: (1.95, {224: 97, 192: 71, 160: 50, 128: 32, 96: 18}),
    0.35: (1.66, {224: 59, 192: 43, 160: 30, 128: 20, 96: 11}),
}


def _mobilenet_v2(width: float, resolution: int) -> Network:
    net = _Builder(resolution, "relu6")
    net.convolution(make_divisible(32 * width), 3, 2)
    for expand, channels, repeats, stride in _V2_STAGES:
        for index in range(repeats):
            net.mbconv(net.channels * expand, make_divisible(channels * width), 3, 1 if index else stride)
    net.convolution(make_divisible(1280 * max(width, 1.0)))
    net.pool()
    net.classifier(1001)
    parameters, macs = _V2_PUBLISHED[width]
    name = f"mobilenet-v2-{width}-{resolution}"
    return Network(name, "mobilenet-v2", tuple(net.operators), macs[resolution], parameters)


@dataclass(frozen=True, slots=True)
class _V3Block:
    mid: int
    width: int
    kernel_size: int
    stride: int
    hard_swish: bool
    se: bool


def _v3_blocks(text: str) -> tuple[_V3Block, ...]:
    """Read blocks written `mid-width-kernel-stride-flags`; `h` hard-swish, `s` squeeze-excite."""
    blocks = []
    for word in text.split():
        mid, width, kernel_size, stride, flags = word.split("-")
        blocks.append(
            _V3Block(int(mid), int(width), int(kernel_size), int(stride), "h" in flags, "s" in flags)
        )
    return tuple(blocks)


_V3_LARGE = _v3_blocks(  # arXiv:1905.02244, table 1
    "16-16-3-1- 64-24-3-2- 72-24-3-1- 72-40-5-2-s 120-40-5-1-s 120-40-5-1-s 240-80-3-2-h 200-80-3-1-h "
    "184-80-3-1-h 184-80-3-1-h 480-112-3-1-hs 672-112-3-1-hs 672-160-5-2-hs 960-160-5-1-hs 960-160-5-1-hs"
)
_V3_SMALL = _v3_blocks(  # arXiv:1905.02244, table 2
    "16-16-3-2-s 72-24-3-2- 88-24-3-1- 96-40-5-2-hs 240-40-5-1-hs 240-40-5-1-hs 120-48-5-1-hs 144-48-5-1-hs "
    "288-96-5-2-hs 576-96-5-1-hs 576-96-5-1-hs"
)


def _mobilenet_v3(
    size: str, width: float, published_macs: float, published_parameters: float, *, minimalistic: bool = False
) -> Network:
    """Build one; minimalistic has neither squeeze-excite, hard-swish nor 5 x 5 kernels."""
    blocks, last = (_V3_LARGE, 1280) if size == "large" else (_V3_SMALL, 1024)
    swish = "relu" if minimalistic else "hard_swish"
    net = _Builder(224, "relu")
    net.convolution(make_divisible(16 * width), 3, 2, activation=swish)
    full_width = 16
    for block in blocks:
        mid = make_divisible(net.channels * block.mid / full_width)
        net.mbconv(
            mid,
            make_divisible(block.width * width),
            3 if minimalistic else block.kernel_size,
            block.stride,
            activation=swish if block.hard_swish else "relu",
            se=block.se and not minimalistic,
        )
        full_width = block.width
    net.convolution(make_divisible(6 * blocks[-1].width * width), activation=swish)
    net.pool()
    net.convolution(last, activation=swish)
    net.classifier(1001)
    kind = "-minimalistic" if minimalistic else ""
    name = f"mobilenet-v3-{size}{kind}_224_{width}"
    return Network(name, "mobilenet-v3", tuple(net.operators), published_macs, published_parameters)


_LITE_STAGES = (  # (expand ratio, width, repeats, stride, kernel size); arXiv:1905.11946, table 1
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)


_LITE_SCALES = (  # (width, depth, resolution, MACs [M], parameters [M]); tensorflow/tpu, efficientnet/lite
    *((1.0, 1.0, 224, 407, 4.7), (1.0, 1.1, 240, 631, 5.4), (1.1, 1.2, 260, 899, 6.1)),
    *((1.2, 1.4, 280, 1440, 8.2), (1.4, 1.8, 300, 2640, 13.0)),
)


def _efficientnet_lite(index: int) -> Network:
    """Build one; stem and head are not widened, first and last stage not deepened."""
    width, depth, resolution, macs, parameters = _LITE_SCALES[index]
    net = _Builder(resolution, "relu6")
    net.convolution(32, 3, 2)
    for stage, (expand, channels, repeats, stride, kernel_size) in enumerate(_LITE_STAGES):
        is_end = stage in (0, len(_LITE_STAGES) - 1)
        for block in range(repeats if is_end else math.ceil(repeats * depth)):
            out_channels = make_divisible(channels * width)
            net.mbconv(net.channels * expand, out_channels, kernel_size, 1 if block else stride)
    net.convolution(1280)
    net.pool()
    net.classifier(1000)
    return Network(f"efficientnet-lite{index}", "efficientnet-lite", tuple(net.operators), macs, parameters)


def measured_networks() -> Iterator[Network]:
    """Describe all 49, family by family."""
    for width, (_, resolutions) in _V1_PUBLISHED.items():
        yield from (_mobilenet_v1(width, resolution) for resolution in resolutions)
    for width, (_, resolutions) in _V2_PUBLISHED.items():
        yield from (_mobilenet_v2(width, resolution) for resolution in resolutions)
    # MACs of slim/nets/mobilenet/README.md, small 1.0 of the paper's table 3 (the README's 66 belongs to an
    # earlier design, as does its 65 of the minimalistic one); parameters of the published checkpoints.
    yield _mobilenet_v3("large", 1.0, 217, 5.4)
    yield _mobilenet_v3("large", 0.75, 155, 4.0)
    yield _mobilenet_v3("large", 1.0, 209, 3.9, minimalistic=True)
    yield _mobilenet_v3("small", 1.0, 56, 2.5)
    yield _mobilenet_v3("small", 0.75, 44, 2.0)
    yield _mobilenet_v3("small", 1.0, 65, 2.0, minimalistic=True)
    yield from (_efficientnet_lite(index) for index in range(len(_LITE_SCALES)))
