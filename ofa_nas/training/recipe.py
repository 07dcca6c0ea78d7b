"""A training recipe as data: phases and what they share, read from TOML, and where each step stands."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self, TypeVar, cast, get_args

from ofa_nas.data import Flip, Jitter
from ofa_nas.errors import ConfigError, RecipeError
from ofa_nas.randomness import MOST_SEED, checked_seed
from ofa_nas.section import read_toml
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.phase import LIMITS, Phase, Purpose, StepPosition, limited_integer, limited_number

Divergence = Literal["cross_entropy", "alpha"]
_T = TypeVar("_T")
_FOLDERS: dict[Purpose, Path] = {
    "train": Path(__file__).parent / "recipes",
    "pretrain": Path(__file__).parent / "recipes" / "pretrain",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a supernet is trained.

    Attributes:
        name: Of the file that it came from.
        phases: One after the other.
        batch_size: Images per step, over all processes.
        divergence: Between a subnet's answers and its teacher's.
        momentum: Of SGD with Nesterov's rule.
        weight_decay: On convolution and classifier weights, not on batch norms, biases and kernel transforms.
        label_smoothing: Of the loss on labels.
        clip_norm: Largest norm of the summed gradient; 0 leaves it alone.
        crop_scale: Smallest share of an image's area that a random crop keeps.
        flip: `horizontal`: half of the images are mirrored; `both`: half flipped top to bottom too; `none`.
        brightness: Largest share by which an image grows brighter or darker, in [0, 1].
        saturation: Largest share by which its colours grow stronger or paler, in [0, 1].
        balance: Of the classes in an epoch: from 0, as they are in the images, to 1, all equally often.
        branch_scale: Of weights that are drawn: the scale of the batch norm that ends each residual branch.
            At 0 a block begins as its shortcut, at 1 its branch is as strong.
        seed: Of order, crops, architectures and first weights.
    """

    name: str
    phases: tuple[Phase, ...]
    batch_size: int = 64
    divergence: Divergence = "cross_entropy"
    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    clip_norm: float = 5.0
    crop_scale: float = 0.35
    branch_scale: float = 0.0
    flip: Flip = "horizontal"
    brightness: float = Jitter().brightness
    saturation: float = Jitter().saturation
    balance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        object.__setattr__(self, "seed", checked_seed(self.seed, most=MOST_SEED))
        if self.phases[0].teacher == "frozen":
            raise RecipeError(
                f"recipe {self.name}: phases[0].teacher: frozen is the largest subnet after the first phase, "
                "so the first phase needs none or largest"
            )
        if self.phases[0].sort_channels:
            raise RecipeError(
                f"recipe {self.name}: phases[0].sort_channels: a start comes sorted, and random weights have "
                "no order; a later phase can sort"
            )
        for phase in self.phases:
            if phase.teacher == "none" and phase.random_subnets:
                raise RecipeError(
                    f"recipe {self.name}: phase {phase.name}: random_subnets need a teacher: largest, frozen"
                )
            if phase.teacher == "none" and (phase.kernel_sizes or phase.depths or phase.expand_ratios):
                raise RecipeError(
                    f"recipe {self.name}: phase {phase.name}: kernel_sizes, depths and expand_ratios are of "
                    "smaller subnets, which need a teacher: largest, frozen"
                )
            if phase.teacher == "frozen" and not phase.random_subnets:
                raise RecipeError(
                    f"recipe {self.name}: phase {phase.name}: needs random_subnets of 1 or more"
                )
            if phase.label_share and phase.teacher != "largest":
                raise RecipeError(
                    f"recipe {self.name}: phase {phase.name}: label_share is of the sandwich rule, teacher "
                    "largest; none learns from labels alone, frozen adds them to the teacher's answers"
                )

    @classmethod
    def load(cls, name_or_path: str, *, purpose: Purpose = "train") -> Self:
        """Read a shipped recipe by name, or a user's own `.toml` file.

        Args:
            name_or_path: Which.
            purpose: To train by labels, or to pretrain without: that has no use for what concerns labels.

        Raises:
            RecipeError: There is none, or the file is wrong; the message names the key path.
        """
        path = Path(name_or_path)
        if path.suffix != ".toml":
            path = _FOLDERS[purpose] / f"{name_or_path}.toml"
            names = recipe_names(purpose)
            if name_or_path not in names:
                raise RecipeError(
                    f"recipe {name_or_path[:60]!r}: there are {', '.join(names)}; "
                    "or give the path of a .toml file"
                )
        root = read_toml(path, error=RecipeError)
        root.text("description", default="-")
        root.text("source", default="-")
        recipe = cls(
            name=str(path),  # what is refused below names the file
            phases=tuple(Phase.from_section(section, purpose=purpose) for section in root.sections("phases")),
            batch_size=limited_integer(root, "batch_size", default=64),
            momentum=root.number("momentum", default=0.9, minimum=0.0, maximum=0.999),
            weight_decay=root.number("weight_decay", default=3e-5, minimum=0.0, maximum=1.0),
            clip_norm=root.number("clip_norm", default=5.0, minimum=0.0, maximum=1e6),
            crop_scale=limited_number(root, "crop_scale", default=0.35),
            branch_scale=root.number("branch_scale", default=0.0, minimum=0.0, maximum=1.0),
            flip=cast(Flip, root.text("flip", default="horizontal", choices=get_args(Flip))),
            label_smoothing=0.0,
        )
        if purpose == "train":
            recipe = replace(
                recipe,
                divergence=cast(
                    Divergence, root.text("divergence", default="cross_entropy", choices=get_args(Divergence))
                ),
                label_smoothing=root.number("label_smoothing", default=0.1, minimum=0.0, maximum=0.9),
                brightness=limited_number(root, "brightness", default=Jitter().brightness),
                saturation=limited_number(root, "saturation", default=Jitter().saturation),
                balance=limited_number(root, "balance", default=0.0),
            )
        root.close()
        return replace(recipe, name=path.stem)

    def override(self, settings: "Settings") -> Self:
        """The same recipe with settings of the user's own.

        Source: Goyal et al. 2017, arXiv:1706.02677, section 2.1 (rates in proportion to the batch).
        """
        batch_size = settings.batch_size or self.batch_size
        stretch = 1.0 if settings.epochs is None else settings.epochs / self.epochs
        rate = batch_size / self.batch_size
        if settings.learning_rate is not None:
            rate = settings.learning_rate / self.phases[0].learning_rate
        phases = tuple(
            replace(
                phase,
                epochs=phase.epochs * stretch,
                learning_rate=phase.learning_rate * rate,
                random_subnets=_pick(
                    settings.random_subnets if phase.teacher != "none" else None, phase.random_subnets
                ),
            )
            for phase in self.phases
        )
        return replace(
            self,
            phases=phases,
            batch_size=batch_size,
            crop_scale=_pick(settings.crop_scale, self.crop_scale),
            flip=_pick(settings.flip, self.flip),
            brightness=_pick(settings.brightness, self.brightness),
            saturation=_pick(settings.saturation, self.saturation),
            balance=_pick(settings.balance, self.balance),
            seed=settings.seed,
        )

    def check_signals(self) -> None:
        """Refuse what is of images alone, where the data are signals."""
        if self.flip != "horizontal" or Jitter(self.brightness, self.saturation) != Jitter():
            raise RecipeError(
                f"recipe {self.name}: flip, brightness and saturation are of images, and signals "
                "are neither mirrored nor coloured; leave them out"
            )

    def draws_all_of(self, space: SearchSpace) -> bool:
        """Whether a phase draws from the whole of a space, so that any of its subnets may be trained."""
        sizes = len(space.resolutions)
        return space.smallest == space.largest or any(
            phase.random_subnets
            and phase.space(space).stages == space.stages
            and (phase.resolutions or sizes) >= sizes
            for phase in self.phases
        )

    @property
    def epochs(self) -> float:
        """Passes over the training images in all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def steps_per_epoch(self, images: int) -> int:
        """Full batches in the training images; the rest of an epoch is dropped."""
        return images // self.batch_size

    def phase_steps(self, images: int) -> tuple[int, ...]:
        """Steps of each phase."""
        per_epoch = self.steps_per_epoch(images)
        return tuple(max(1, round(phase.epochs * per_epoch)) for phase in self.phases)

    def total_steps(self, images: int) -> int:
        """Steps of the whole training."""
        return sum(self.phase_steps(images))

    def ends_epoch(self, done: int, images: int) -> bool:
        """Whether an epoch, or the training, ends with the last of the steps done."""
        return done % self.steps_per_epoch(images) == 0 or done == self.total_steps(images)

    def position(self, step: int, images: int) -> StepPosition:
        """Where a step, counted from 0 over the whole training, stands."""
        steps = self.phase_steps(images)
        ends = list(accumulate(steps))
        number = bisect_right(ends, step)
        return StepPosition(self.phases[number], number, step - ends[number] + steps[number], steps[number])


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user sets differently from a recipe; None keeps the recipe's.

    Attributes:
        epochs: Of all phases together; each keeps its share.
        batch_size: Images per step; without `learning_rate`, rates change in proportion to it.
        learning_rate: Peak rate of the first phase as it is used; the others keep their ratio to it.
        random_subnets: Of every phase that draws subnets.
        crop_scale: Smallest share of an image's area that a random crop keeps.
        flip: As `Recipe` has it, as have the next three.
        brightness: Of images.
        saturation: Of their colours.
        balance: Of the classes.
        seed: Of everything random.
    """

    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    random_subnets: int | None = None
    crop_scale: float | None = None
    flip: Flip | None = None
    brightness: float | None = None
    saturation: float | None = None
    balance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, by the names of the flags."""
        rules = {
            "epochs": "a number above 0",
            "batch_size": "2 or more, as batch norm needs",
            "learning_rate": "a number above 0",
            "random_subnets": "a number from 0 to 64",
            "crop_scale": "a share of the area, above 0 and at most 1",
            "brightness": "a share from 0 to 1",
            "saturation": "a share from 0 to 1",
            "balance": "a number from 0, classes as they are, to 1, all equally often",
        }
        object.__setattr__(self, "seed", checked_seed(self.seed, most=MOST_SEED))
        for name, expected in rules.items():
            value, (least, most) = getattr(self, name), LIMITS[name]
            if value is not None and not least <= value <= most:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: expected {expected}")


def recipe_names(purpose: Purpose = "train") -> list[str]:
    """Names of the recipes that ship, sorted."""
    return sorted(path.stem for path in _FOLDERS[purpose].glob("*.toml"))


def _pick(own: _T | None, default: _T) -> _T:
    return default if own is None else own
