"""An architecture as a value: `192/3x1/5x6.3x4` is both its text and its name."""

import re
from dataclasses import dataclass

from ofa_nas.errors import ArchitectureError

_BLOCK = re.compile(r"([1-9]\d?)x([1-9]\d?)", re.ASCII)
_RESOLUTION = re.compile(r"[1-9]\d{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """One block of a stage.

    Attributes:
        kernel_size: Side of the depthwise kernel [px].
        expand_ratio: Middle channels over input channels; over output channels where the block kind says so.
    """

    kernel_size: int
    expand_ratio: int

    def __str__(self) -> str:
        return f"{self.kernel_size}x{self.expand_ratio}"


@dataclass(frozen=True, slots=True, order=True)
class Architecture:
    """One subnet of a search space; its depth is the length of its stages.

    Attributes:
        resolution: Side of the square input image [px].
        stages: The blocks of every stage, fixed ones included.
    """

    resolution: int
    stages: tuple[tuple[Block, ...], ...]

    def __str__(self) -> str:
        stages = (".".join(str(block) for block in stage) for stage in self.stages)
        return "/".join((str(self.resolution), *stages))

    @classmethod
    def parse(cls, text: str) -> "Architecture":
        """Read the text form back; `Architecture.parse(str(arch)) == arch`.

        Raises:
            ArchitectureError: The text is not resolution/stage/stage with kernel x expand blocks.
        """
        resolution, *stages = text.strip().split("/")
        if not _RESOLUTION.fullmatch(resolution) or not stages:
            raise ArchitectureError(
                f"architecture {text[:80]!r}: expected RESOLUTION/STAGE/STAGE…, such as 192/3x1/5x6.3x4"
            )
        return cls(int(resolution), tuple(_parse_stage(stage, text) for stage in stages))


def _parse_stage(stage: str, text: str) -> tuple[Block, ...]:
    blocks = []
    for part in stage.split("."):
        match = _BLOCK.fullmatch(part)
        if match is None:
            raise ArchitectureError(
                f"architecture {text[:80]!r}: {part[:20]!r} is no block; "
                "a block is KERNELxEXPAND, such as 5x6, and blocks of a stage are joined by '.'"
            )
        blocks.append(Block(int(match[1]), int(match[2])))
    return tuple(blocks)
