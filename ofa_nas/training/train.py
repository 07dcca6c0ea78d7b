"""The sandwich rule with in-place distillation, as a stream of reports."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.augment import augment
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import DataError, TrainingError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet.elastic import TRAIN, TRAIN_LARGEST
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.evaluate import Images, accuracy_of
from ofa_nas.training.recipe import SandwichRecipe
from ofa_nas.training.state import load_state, save_state


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a training reads.

    Attributes:
        train: Images and labels to learn from.
        held_out: Images and labels for the reports only.
        calibration: `(n, S, S, 3)` uint8 for batch norm statistics.
        normalization: Applied on the device.
    """

    train: PackedImages
    held_out: PackedImages
    calibration: Images
    normalization: Normalization


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimiser step: its number from 1, of how many, the largest subnet's loss, images per second."""

    step: int
    total_steps: int
    loss: float
    learning_rate: float
    images_per_s: float


@dataclass(frozen=True, slots=True)
class EpochReport:
    """End of an epoch (or of the training): held-out accuracy after calibration, in [0, 1]."""

    step: int
    epoch: float
    loss: float
    smallest: float
    middle: float
    largest: float
    elapsed_s: float


Report = StepReport | EpochReport


def train(
    supernet: Supernet,
    data: TrainingData,
    recipe: SandwichRecipe,
    *,
    checkpoint: Path,
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
) -> Iterator[Report]:
    """Train a supernet in place, on the device that it is on.

    Args:
        supernet: Changed in place.
        data: Images stay uint8 on the host; a batch is cropped, resized and normalised on the device.
        recipe: Every number of the training.
        checkpoint: File to resume from, replaced every `checkpoint_minutes` and at the end.
        resume: Continue from `checkpoint`.
        checkpoint_minutes: Minutes between checkpoints.

    Yields:
        A `StepReport` a step; an `EpochReport` at the end of each epoch and of the training.

    Raises:
        DataError: There are fewer images than one batch.
        TrainingError: The loss or a weight is not a number.
    """
    images = len(data.train.labels)
    if recipe.steps_per_epoch(images) < 1:
        raise DataError(f"{images} training images are less than one batch of {recipe.batch_size}")
    total = recipe.total_steps(images)
    optimizer = _optimizer(supernet, recipe)
    meta: dict[str, object] = {"recipe": asdict(recipe), "images": images, "space": supernet.space.digest}
    start = load_state(checkpoint, supernet, optimizer, meta=meta) if resume else 0
    began = saved = time.monotonic()
    sandwich = _Sandwich(supernet, optimizer, data, recipe)
    loss = float("nan")
    for step in range(start, total):
        step_began = time.monotonic()
        rate = recipe.rate_at(step, total)
        loss = sandwich.step(step, rate)
        if not np.isfinite(loss):
            raise _divergence(f"the loss is {loss}", step, rate, checkpoint)
        speed = recipe.batch_size / (time.monotonic() - step_began)
        yield StepReport(step + 1, total, loss, rate, speed)
        done = step + 1 == total
        if done or time.monotonic() - saved > 60.0 * checkpoint_minutes:
            if not _is_finite(supernet):
                raise _divergence("a weight is not finite", step, rate, checkpoint)
            save_state(checkpoint, supernet, optimizer, step=step + 1, meta=meta)
            saved = time.monotonic()
        if done or (step + 1) % recipe.steps_per_epoch(images) == 0:
            epoch = (step + 1) / recipe.steps_per_epoch(images)
            yield _epoch_report(supernet, data, step + 1, epoch, loss, time.monotonic() - began)


def _divergence(what: str, step: int, rate: float, checkpoint: Path) -> TrainingError:
    saved = f"the last good state is {checkpoint}" if checkpoint.exists() else "nothing was saved yet"
    return TrainingError(
        f"{what} at step {step + 1}, learning rate {rate:.2g}; lower --learning-rate; {saved}"
    )


def _is_finite(supernet: Supernet) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in supernet.state_dict().values())


class _Sandwich:
    """One step: largest by labels, the others by the largest's softened answers; gradients summed."""

    def __init__(
        self, supernet: Supernet, optimizer: torch.optim.SGD, data: TrainingData, recipe: SandwichRecipe
    ) -> None:
        self.supernet, self.optimizer, self.data, self.recipe = supernet, optimizer, data, recipe
        self.encoding = Encoding.of(supernet.space)
        self.device = next(supernet.parameters()).device
        self.use_bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.order: tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None

    def step(self, step: int, rate: float) -> float:
        """Do one step; returns the largest subnet's loss."""
        rng = np.random.default_rng([self.recipe.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        resolution = int(rng.choice(self.supernet.space.resolutions))
        x, labels = self._batch(step, resolution, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        largest = replace(self.supernet.space.largest, resolution=resolution)
        with self._autocast():
            logits = self.supernet(x, largest, TRAIN_LARGEST).float()
            loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        answers = logits.detach().softmax(dim=1)
        for arch in self._students(rng, resolution):
            with self._autocast():
                own = self.supernet(x, arch, TRAIN).float()
                distilled = -(answers * own.log_softmax(dim=1)).sum(dim=1).mean()
            distilled.backward()
        if self.recipe.clip_norm > 0.0:
            torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return float(loss.detach())

    def _students(self, rng: np.random.Generator, resolution: int) -> list[Architecture]:
        drawn = self.encoding.decode(self.encoding.sample(self.recipe.random_subnets, rng))
        return [replace(arch, resolution=resolution) for arch in (self.supernet.space.smallest, *drawn)]

    def _batch(self, step: int, resolution: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        per_epoch = self.recipe.steps_per_epoch(len(self.data.train.labels))
        epoch, index = divmod(step, per_epoch)
        if self.order is None or self.order[0] != epoch:
            order = np.random.default_rng([self.recipe.seed, epoch, 1]).permutation(
                len(self.data.train.labels)
            )
            self.order = (epoch, order)
        size = self.recipe.batch_size
        rows = np.sort(self.order[1][index * size : (index + 1) * size])
        images = torch.from_numpy(self.data.train.images[rows]).to(self.device)
        labels = torch.from_numpy(self.data.train.labels[rows]).to(self.device)
        x = augment(
            images,
            resolution,
            normalization=self.data.normalization,
            rng=generator,
            scale=(self.recipe.crop_scale, 1.0),
        )
        return x, labels

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.use_bf16)


def _optimizer(supernet: Supernet, recipe: SandwichRecipe) -> torch.optim.SGD:
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for name, parameter in supernet.named_parameters():
        is_weight = parameter.ndim > 1 and ".transforms." not in name
        (decayed if is_weight else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)


def _epoch_report(
    supernet: Supernet, data: TrainingData, step: int, epoch: float, loss: float, elapsed_s: float
) -> EpochReport:
    space = supernet.space
    smallest, middle, largest = (
        accuracy_of(
            supernet,
            arch,
            calibration=data.calibration,
            split=data.held_out,
            normalization=data.normalization,
        )
        for arch in (space.smallest, space.middle, space.largest)
    )
    return EpochReport(step, epoch, loss, smallest, middle, largest, elapsed_s)
