"""The sandwich recipe as data, and the learning rate that it sets."""

import math
from dataclasses import dataclass

from ofa_nas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SandwichRecipe:
    """How a supernet is trained: largest by labels, smallest and random ones by in-place distillation.

    Attributes:
        epochs: Passes over the training images; may be a fraction.
        batch_size: Images per step.
        learning_rate: Peak rate; it rises for `warmup` of the steps and falls as a cosine.
        warmup: Share of the steps, in [0, 1].
        random_subnets: Random architectures per step, beside largest and smallest.
        momentum: Of SGD with Nesterov's rule.
        weight_decay: On convolution and classifier weights, not on batch norms, biases and kernel transforms.
        label_smoothing: Of the largest subnet's loss.
        clip_norm: Largest norm of the summed gradient; 0 leaves it alone.
        crop_scale: Smallest share of an image's area that a random crop keeps.
        seed: Of order, crops, architectures and first weights.

    Source: Yu et al. 2020, arXiv:2003.11142 (BigNAS), sections 3.1 and 3.2.
    """

    epochs: float = 30.0
    batch_size: int = 64
    learning_rate: float = 0.05
    warmup: float = 0.03
    random_subnets: int = 2
    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    clip_norm: float = 5.0
    crop_scale: float = 0.35
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        rules = {
            "epochs": (0.0 < self.epochs < math.inf, "a number above 0"),
            "batch_size": (self.batch_size >= 2, "2 or more, as batch norm needs"),
            "learning_rate": (0.0 < self.learning_rate < math.inf, "a number above 0"),
            "random_subnets": (self.random_subnets >= 0, "0 or more"),
            "crop_scale": (0.0 < self.crop_scale <= 1.0, "a share of the area, above 0 and at most 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (is_right, expected) in rules.items():
            if not is_right:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} {getattr(self, name)}: expected {expected}")

    def steps_per_epoch(self, images: int) -> int:
        """Full batches in the training images; the rest of an epoch is dropped."""
        return images // self.batch_size

    def total_steps(self, images: int) -> int:
        """Steps of the whole training."""
        return max(1, round(self.epochs * self.steps_per_epoch(images)))

    def rate_at(self, step: int, total_steps: int) -> float:
        """Learning rate of a step counted from 0."""
        warmup_steps = self.warmup * total_steps
        if step < warmup_steps:
            return self.learning_rate * (step + 1) / (warmup_steps + 1)
        progress = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
