"""A phase of a training: who teaches, which part of a space is elastic, and the rate of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

from ofa_nas.section import Section
from ofa_nas.space.search_space import SearchSpace

Teacher = Literal["none", "largest", "frozen"]
Purpose = Literal["train", "pretrain"]
LIMITS: Mapping[str, tuple[float, float]] = {  # the least and the most, wherever a training is told
    "epochs": (1e-9, 1e9),
    "batch_size": (2, 10**9),
    "learning_rate": (1e-12, 1e38),
    "random_subnets": (0, 64),
    "crop_scale": (1e-3, 1.0),
    "brightness": (0.0, 1.0),
    "saturation": (0.0, 1.0),
    "balance": (0.0, 1.0),
}
_TEACHERS: dict[Purpose, tuple[str, ...]] = {"train": get_args(Teacher), "pretrain": ("none", "largest")}


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training in which the same subnets learn in the same way.

    Attributes:
        name: For reports.
        teacher: `none`: the largest subnet learns from labels alone. `largest`: the sandwich rule; the
            largest learns from labels, smallest and random subnets from its answers in the same step.
            `frozen`: random subnets learn from labels and from the largest as it was after the first phase.
        label_share: Of labels in what smaller subnets learn from by the sandwich rule, in [0, 1]; the rest
            are the largest's answers.
        epochs: Passes over the training images; may be a fraction.
        learning_rate: Peak rate; it rises for `warmup` of the steps and falls as a cosine.
        warmup: Share of the phase's steps, in [0, 1].
        rate_floor: Share of the peak at which the cosine ends, in [0, 1].
        random_subnets: Random architectures per step.
        resolutions: How many of the space's lowest resolutions are trained at; 0 for all.
        kernel_sizes: How many of a stage's largest kernel sizes may be chosen; 0 for all.
        depths: Of its depths.
        expand_ratios: Of its expand ratios.
        sort_channels: Sort middle channels by importance before the first step; not of the first phase.
    """

    name: str
    teacher: Teacher
    epochs: float
    learning_rate: float
    warmup: float = 0.0
    rate_floor: float = 0.0
    random_subnets: int = 0
    label_share: float = 0.0
    resolutions: int = 0
    kernel_sizes: int = 0
    depths: int = 0
    expand_ratios: int = 0
    sort_channels: bool = False

    @classmethod
    def from_section(cls, section: Section, *, purpose: Purpose) -> Self:
        """Read one `[[phases]]` table."""
        share = (
            section.number("label_share", default=0.0, minimum=0.0, maximum=1.0)
            if purpose == "train"
            else 0.0
        )
        phase = cls(
            name=section.text("name"),
            teacher=cast(Teacher, section.text("teacher", choices=_TEACHERS[purpose])),
            epochs=limited_number(section, "epochs"),
            learning_rate=limited_number(section, "learning_rate"),
            warmup=section.number("warmup", default=0.0, minimum=0.0, maximum=1.0),
            rate_floor=section.number("rate_floor", default=0.0, minimum=0.0, maximum=1.0),
            random_subnets=limited_integer(section, "random_subnets", default=0),
            label_share=share,
            resolutions=section.integer("resolutions", default=0, minimum=0),
            kernel_sizes=section.integer("kernel_sizes", default=0, minimum=0),
            depths=section.integer("depths", default=0, minimum=0),
            expand_ratios=section.integer("expand_ratios", default=0, minimum=0),
            sort_channels=section.flag("sort_channels", default=False),
        )
        section.close()
        return phase

    def space(self, space: SearchSpace) -> SearchSpace:
        """The part of a space that is elastic in this phase."""
        return space.keep_largest(
            kernel_sizes=self.kernel_sizes, depths=self.depths, expand_ratios=self.expand_ratios
        )

    def rate_at(self, progress: float) -> float:
        """Learning rate where `progress` in [0, 1] of the phase is done.

        Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5; Goyal et al. 2017, arXiv:1706.02677,
        section 2.2 (warm-up).
        """
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        falling = (progress - self.warmup) / max(1e-12, 1.0 - self.warmup)
        share = self.rate_floor + (1.0 - self.rate_floor) * 0.5 * (1.0 + math.cos(math.pi * falling))
        return self.learning_rate * share


def limited_number(section: Section, key: str, *, default: float | None = None) -> float:
    """Read a number that `LIMITS` has."""
    least, most = LIMITS[key]
    return section.number(key, default=default, minimum=least, maximum=most)


def limited_integer(section: Section, key: str, *, default: int | None = None) -> int:
    """Read an integer that `LIMITS` has."""
    least, most = map(int, LIMITS[key])
    return section.integer(key, default=default, minimum=least, maximum=most)


@dataclass(frozen=True, slots=True)
class StepPosition:
    """Where a step stands: its phase, the phase's number from 0, steps done in it, and steps that it has."""

    phase: Phase
    number: int
    step: int
    steps: int

    @property
    def learning_rate(self) -> float:
        """Of this step; the middle of the step counts, so that neither the first nor the last has none."""
        return self.phase.rate_at((self.step + 0.5) / self.steps)
