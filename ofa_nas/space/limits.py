"""What a search space may not be: for images and signals at once, or too large to tabulate."""

from collections.abc import Sequence
from pathlib import Path

from ofa_nas.errors import SpaceError
from ofa_nas.space.blocks import axes_of
from ofa_nas.space.stages import Stage

MOST_BLOCKS, MOST_ENTRIES = 500, 200_000
COLOURS, MOST_CHANNELS = 3, 1024  # of an input


def check_axes(stages: Sequence[Stage], channels: int, path: Path) -> None:
    """Refuse blocks for images and for signals in one network, and images of other than three colours.

    Args:
        stages: Of the space.
        channels: Of its input.
        path: File of the space.

    Raises:
        SpaceError: Names the key.
    """
    first = stages[0].block
    for index, stage in enumerate(stages):
        if axes_of(stage.block) != axes_of(first):
            raise SpaceError(
                f"{path}: stages[{index}].block: {stage.block} does not go with {first} of the first "
                "stage: blocks for signals, such as mbconv1d, stand in all stages or in none"
            )
    if axes_of(first) == 2 and channels != COLOURS:
        raise SpaceError(f"{path}: channels: expected {COLOURS} for images, got {channels}")


def check_size(stages: Sequence[Stage], resolutions: Sequence[int], path: Path) -> None:
    """Refuse a space that nobody could tabulate.

    Args:
        stages: Of the space.
        resolutions: Of its inputs.
        path: File of the space.

    Raises:
        SpaceError: It has too many blocks, or choices for them.
    """
    blocks = sum(stage.depths[-1] for stage in stages)
    entries = len(resolutions) * blocks * max(len(stage.choices) for stage in stages)
    if blocks > MOST_BLOCKS or entries > MOST_ENTRIES:
        raise SpaceError(
            f"{path}: {blocks} blocks, and {entries} combinations of resolution, block and its choice; "
            f"expected at most {MOST_BLOCKS} and {MOST_ENTRIES}"
        )
