"""What a search space is made of: stem, stages, head, and how each is read from TOML.

Widths are those after the width multiplier.
"""

from dataclasses import dataclass

from ofa_nas.section import Section
from ofa_nas.space.architecture import Block

ACTIVATIONS = ("relu", "relu6", "hard_swish")


@dataclass(frozen=True, slots=True)
class Stem:
    """The first convolution."""

    width: int
    kernel_size: int
    stride: int
    activation: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of equal width: what may be chosen for each, and how many there may be.

    Only the first block has the stride; the others, and a first block that changes neither size nor width,
    have a residual connection.

    Attributes:
        mid_width: Channels in the middle of its blocks; 0 where the expand ratio says how many.
    """

    block: str
    width: int
    stride: int
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[int, ...]
    depths: tuple[int, ...]
    activation: str
    squeeze_excite: bool
    mid_width: int = 0

    @property
    def choices(self) -> tuple[Block, ...]:
        """Every block that may stand in this stage, kernel size varying slowest."""
        return tuple(Block(kernel, expand) for kernel in self.kernel_sizes for expand in self.expand_ratios)


@dataclass(frozen=True, slots=True)
class Head:
    """1x1 convolutions before pooling if `width` > 0, behind it if `mix_width` > 0; dropout, classifier."""

    width: int
    mix_width: int
    activation: str
    dropout: float


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round channels to a multiple of `divisor`, never below nine tenths.

    Source: TensorFlow's slim MobileNet (`make_divisible`), used by MobileNetV2/V3 and once-for-all.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _scaled(width: int, multiplier: float) -> int:
    return width if multiplier == 1.0 else make_divisible(width * multiplier)


def read_stem(section: Section, multiplier: float) -> Stem:
    """Read `[stem]`; widths are multiplied."""
    stem = Stem(
        width=_scaled(section.integer("width", maximum=4096), multiplier),
        kernel_size=_read_odd(section, "kernel_size"),
        stride=section.integer("stride", maximum=4),
        activation=section.text("activation", choices=ACTIVATIONS),
    )
    section.close()
    return stem


def _read_odd(section: Section, key: str) -> int:
    value = section.integer(key, maximum=15)
    if value % 2 == 0:
        raise section.refusal(key, f"expected an odd number, got {value}")
    return value


def read_stage(section: Section, multiplier: float) -> Stage:
    """Read one of `[[stages]]`; widths are multiplied."""
    stage = Stage(
        block=section.plugin("block", "space.blocks", default="mbconv"),
        width=_scaled(section.integer("width", maximum=4096), multiplier),
        stride=section.integer("stride", maximum=4),
        kernel_sizes=section.integers("kernel_sizes", maximum=15),
        expand_ratios=section.integers("expand_ratios", maximum=16),
        depths=section.integers("depths", maximum=32),
        activation=section.text("activation", choices=ACTIVATIONS),
        squeeze_excite=section.flag("squeeze_excite", default=False),
        mid_width=section.integer("mid_width", default=0, minimum=0, maximum=65_536),
    )
    section.close()
    if stage.mid_width and len(stage.expand_ratios) > 1:
        raise section.refusal(
            "mid_width",
            f"expected one expand ratio beside it, got {list(stage.expand_ratios)}; leave mid_width out "
            "where there is a choice",
        )
    if any(kernel % 2 == 0 for kernel in stage.kernel_sizes):
        raise section.refusal("kernel_sizes", f"expected odd numbers, got {list(stage.kernel_sizes)}")
    return stage


def read_head(section: Section, multiplier: float) -> Head:
    """Read `[head]`; widths are multiplied."""
    mix_width = section.integer("mix_width", default=0, minimum=0, maximum=8192)
    width = section.integer("width", minimum=0, maximum=8192)
    head = Head(
        width=_scaled(width, multiplier) if width else 0,
        mix_width=_scaled(mix_width, multiplier) if mix_width else 0,
        activation=section.text("activation", choices=ACTIVATIONS),
        dropout=section.number("dropout", default=0.0, minimum=0.0, maximum=0.9),
    )
    section.close()
    return head
