"""SearchSpace: what may be chosen."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ofa_nas.assets import find_asset
from ofa_nas.errors import ArchitectureError, SpaceError
from ofa_nas.section import Section, read_toml
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.blocks import axes_of
from ofa_nas.space.layer import Layer
from ofa_nas.space.limits import COLOURS, MOST_CHANNELS, check_axes, check_size
from ofa_nas.space.points import Point, read_points
from ofa_nas.space.stages import Head, Stage, Stem, read_head, read_stage, read_stem
from ofa_nas.space.walk import walk

PADDINGS = ("symmetric", "same")


@dataclass(frozen=True)
class SearchSpace:
    """A search space as its TOML file tells it; widths are those after the width multiplier.

    Attributes:
        name: Also the name of the file.
        description: One line for people.
        source: Paper or code that it is taken from.
        resolutions: Input sizes [px]; of signals, their lengths in samples.
        classes: Outputs of the classifier.
        padding: `symmetric` or `same`, see `Layer.padding`.
        bn_epsilon: Epsilon of every batch norm.
        lite: Whether a lite residual module lies beside every block, but one that begins and does not expand.
        folded: Whether biases stand where batch norms were.
        channels: Of the input: the colours of an image, the sensors of a signal.
        points: Hand-designed architectures by name.
    """

    name: str
    description: str
    source: str
    resolutions: tuple[int, ...]
    classes: int
    padding: str
    bn_epsilon: float
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    lite: bool = False
    folded: bool = False
    channels: int = COLOURS
    points: Mapping[str, Point] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Read a shipped space by name, or any TOML file by path.

        Raises:
            SpaceError: The file is missing or wrong; the message names file, key and what would be right.
        """
        path = find_asset("search_spaces", name_or_path, suffix=".toml", error=SpaceError)
        return cls._from_section(read_toml(path, error=SpaceError))

    @classmethod
    def _from_section(cls, root: Section) -> Self:
        multiplier = root.number("width_multiplier", default=1.0, minimum=0.1, maximum=8.0)
        space = cls(
            name=root.text("name", default=root.path.stem),
            description=root.text("description"),
            source=root.text("source", default="-"),
            resolutions=root.integers("resolutions", minimum=8, maximum=4096),
            classes=root.integer("classes", minimum=2),
            padding=root.text("padding", default="symmetric", choices=PADDINGS),
            bn_epsilon=root.number("bn_epsilon", default=1e-5, minimum=1e-12, maximum=1.0),
            stem=read_stem(root.section("stem"), multiplier),
            stages=tuple(read_stage(section, multiplier) for section in root.sections("stages")),
            head=read_head(root.section("head"), multiplier),
            lite=root.flag("lite", default=False),
            folded=root.flag("folded", default=False),
            channels=root.integer("channels", default=COLOURS, maximum=MOST_CHANNELS),
        )
        check_axes(space.stages, space.channels, root.path)
        space = replace(space, points=read_points(root, space.parse))
        root.close()
        check_size(space.stages, space.resolutions, root.path)
        if (space.lite or space.folded) and space.cardinality > 1:
            raise root.refusal(
                "lite" if space.lite else "folded",
                "expected false where there is a choice: only the one architecture that ofa-nas transfer "
                "leaves has these",
            )
        return space

    @cached_property
    def axes(self) -> int:
        """Axes of the input: 2 of images, 1 of signals; that of the block kinds."""
        return axes_of(self.stages[0].block)

    @classmethod
    def from_document(cls, content: dict[str, Any], path: Path) -> Self:
        """Read a space that `to_document` wrote, kept in the file `path`.

        Raises:
            SpaceError: As `load` does.
        """
        return cls._from_section(Section(path, "", content, SpaceError))

    def to_document(self) -> dict[str, Any]:
        """Plain values for a JSON document, with the keys of the TOML file."""
        content = asdict(replace(self, points={}))
        del content["points"]
        if self.axes == 2:  # documents of spaces for images are older than this key
            del content["channels"]
        for stage in content["stages"]:
            if not stage["mid_width"]:  # and older than this one
                del stage["mid_width"]
        if self.points:
            content["points"] = {
                name: {"architecture": str(point.architecture), "note": point.note}
                for name, point in self.points.items()
            }
        return json.loads(json.dumps(content))  # type: ignore[no-any-return]  # tuples become lists

    def with_classes(self, classes: int) -> Self:
        """The same space with a classifier of another width."""
        return replace(self, classes=classes)

    def with_channels(self, channels: int) -> Self:
        """The same space for signals of another number of channels."""
        return replace(self, channels=channels)

    def only(self, arch: Architecture) -> Self:
        """The space of one architecture: the same layers, but a stage for every block, so another text."""
        self.check(arch)
        stages = tuple(
            replace(
                stage,
                stride=1 if block_index else stage.stride,
                kernel_sizes=(block.kernel_size,),
                expand_ratios=(block.expand_ratio,),
                depths=(1,),
            )
            for stage, blocks in zip(self.stages, arch.stages, strict=True)
            for block_index, block in enumerate(blocks)
        )
        return replace(self, resolutions=(arch.resolution,), stages=stages, points={})

    def with_mid_widths(self, widths: Sequence[int]) -> Self:
        """The same space with other middles of its blocks, one number a stage."""
        stages = zip(self.stages, widths, strict=True)
        return replace(self, stages=tuple(replace(stage, mid_width=width) for stage, width in stages))

    def keep_largest(self, *, kernel_sizes: int = 0, depths: int = 0, expand_ratios: int = 0) -> Self:
        """The same space with fewer choices: the so many largest of each kind in every stage, 0 for all."""
        stages = tuple(
            replace(
                stage,
                kernel_sizes=stage.kernel_sizes[-kernel_sizes:],
                depths=stage.depths[-depths:],
                expand_ratios=stage.expand_ratios[-expand_ratios:],
            )
            for stage in self.stages
        )
        return replace(self, stages=stages, points={})

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that change whenever the geometry of any architecture may."""
        fields = asdict(self)
        for name in ("name", "description", "source", "points"):
            del fields[name]
        optional = [(fields, "lite"), (fields, "folded")]
        optional += [(stage, "mid_width") for stage in fields["stages"]]
        for record, name in optional:  # digests of spaces without are older than these
            if not record[name]:
                del record[name]
        if self.axes == 2:
            del fields["channels"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def largest(self) -> Architecture:
        """Highest resolution, full depth, largest kernels and expand ratios."""
        stages = tuple((stage.choices[-1],) * stage.depths[-1] for stage in self.stages)
        return Architecture(self.resolutions[-1], stages)

    @cached_property
    def smallest(self) -> Architecture:
        """Lowest resolution, least depth, smallest kernels and expand ratios."""
        stages = tuple((stage.choices[0],) * stage.depths[0] for stage in self.stages)
        return Architecture(self.resolutions[0], stages)

    @cached_property
    def middle(self) -> Architecture:
        """The choice in the middle of every list, the lower one of two."""
        stages = tuple(
            (Block(_middle(stage.kernel_sizes), _middle(stage.expand_ratios)),) * _middle(stage.depths)
            for stage in self.stages
        )
        return Architecture(_middle(self.resolutions), stages)

    @property
    def cardinality(self) -> int:
        """How many architectures there are."""
        count = len(self.resolutions)
        for stage in self.stages:
            count *= sum(len(stage.choices) ** depth for depth in stage.depths)
        return count

    def parse(self, text: str) -> Architecture:
        """Read an architecture and check that it belongs to this space."""
        arch = Architecture.parse(text)
        self.check(arch)
        return arch

    def check(self, arch: Architecture) -> None:
        """Refuse an architecture of another space.

        Raises:
            ArchitectureError: Names the first place where it leaves the space, and what may stand there.
        """
        where = f"architecture {arch} is not in {self.name}"
        if arch.resolution not in self.resolutions:
            raise ArchitectureError(
                f"{where}: resolution {arch.resolution}; allowed: {_join(self.resolutions)}"
            )
        self._check_stages(arch)
        for index, (blocks, stage) in enumerate(zip(arch.stages, self.stages, strict=True)):
            if len(blocks) not in stage.depths:
                raise ArchitectureError(
                    f"{where}: stage {index} has {len(blocks)} blocks; allowed: {_join(stage.depths)}"
                )
            for block in blocks:
                if (
                    block.kernel_size not in stage.kernel_sizes
                    or block.expand_ratio not in stage.expand_ratios
                ):
                    allowed = " ".join(str(choice) for choice in stage.choices)
                    raise ArchitectureError(f"{where}: stage {index} holds {block}; allowed: {allowed}")

    def _check_stages(self, arch: Architecture) -> None:
        if len(arch.stages) != len(self.stages):
            raise ArchitectureError(
                f"architecture {arch} is not in {self.name}: {len(arch.stages)} stages; "
                f"it has {len(self.stages)}"
            )

    def layers(self, arch: Architecture) -> Iterator[Layer]:
        """Its layers in execution order; each one's input is the output of the one before.

        It need not be one that may be chosen; `check` tells.

        Raises:
            ArchitectureError: It has more or fewer stages than the space.
        """
        self._check_stages(arch)
        return walk(self, arch)


def _middle(values: tuple[int, ...]) -> int:
    return values[(len(values) - 1) // 2]


def _join(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values)
