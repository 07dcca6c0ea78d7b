"""Training as a stream of reports, with a checkpoint to go on from."""

import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import DataError, TrainingError
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.distributed import Ranks
from ofa_nas.training.evaluate import Images, accuracy_of
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.state import load_state, save_state
from ofa_nas.training.step import Learner

# Reading a loss makes the host wait for a CUDA device, which then waits for the host.
_CUDA_REPORT_STEPS = 10
_ALONE = Ranks()


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
    """Optimiser steps done.

    Attributes:
        step: Of the whole training, from 1.
        total_steps: Of the whole training.
        phase: Name of the recipe's phase.
        loss: On labels, of the subnets that learn from labels in this step.
        learning_rate: Of this step.
        images_per_s: Since the report before, over all processes.
    """

    step: int
    total_steps: int
    phase: str
    loss: float
    learning_rate: float
    images_per_s: float


@dataclass(frozen=True, slots=True)
class EpochReport:
    """End of an epoch (or of the training): held-out accuracy after calibration, in [0, 1]."""

    step: int
    epoch: float
    phase: str
    loss: float
    smallest: float
    middle: float
    largest: float
    elapsed_s: float


Report = StepReport | EpochReport


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """How a training is kept.

    Attributes:
        path: File to resume from; replaced every so many minutes, at the end, and when the stream is closed.
        resume: Continue from it.
        minutes: Between checkpoints.
        start: What the first weights are; a resumed training must have begun with the same.
    """

    path: Path
    resume: bool = False
    minutes: float = 5.0
    start: str = ""


def train(
    supernet: Supernet,
    data: TrainingData,
    recipe: Recipe,
    *,
    checkpointing: Checkpointing,
    ranks: Ranks = _ALONE,
) -> Generator[Report, None, None]:
    """Train a supernet in place, on the device that it is on.

    Closing the generator between two reports writes a checkpoint, so an interrupted training loses nothing.

    Args:
        supernet: Changed in place.
        data: Images stay uint8; a batch is cropped, resized and normalised on the device.
        recipe: Every number of the training.
        checkpointing: Where it is kept, and whether it goes on from there.
        ranks: This process among those that train together; the first one evaluates and writes.

    Yields:
        A `StepReport` a step (on CUDA every tenth); an `EpochReport` at the end of each epoch and of the
        training, from the first process alone.

    Raises:
        ConfigError: The processes cannot share a batch.
        DataError: There are fewer images than one batch.
        TrainingError: The loss or a weight is not a number.
    """
    images = len(data.train)
    ranks.check(recipe.batch_size)
    if recipe.steps_per_epoch(images) < 1:
        raise DataError(
            f"{images} training images are less than one batch of {recipe.batch_size}; lower --batch-size"
        )
    device = next(supernet.parameters()).device
    batches = Batches(data.train, recipe, normalization=data.normalization, device=device, ranks=ranks)
    learner = Learner(supernet, recipe, batches, ranks)
    run = _Run(learner, data, checkpointing)
    done = load_state(checkpointing.path, learner, meta=run.meta) if checkpointing.resume else 0
    ranks.copy_first(supernet)
    saved = time.monotonic()
    try:
        for report in run.reports(done):
            yield report
            if ranks.is_first and time.monotonic() - saved > 60.0 * checkpointing.minutes:
                run.save()
                saved = time.monotonic()
    except GeneratorExit:
        if ranks.is_first:
            run.save()
        raise
    if ranks.is_first:
        run.save()


class _Run:
    """The loop over the steps, and what of it goes into a checkpoint."""

    def __init__(self, learner: Learner, data: TrainingData, checkpointing: Checkpointing) -> None:
        self.learner, self.data, self.checkpoint = learner, data, checkpointing.path
        self.images = len(data.train)
        self.meta: dict[str, object] = {
            "recipe": asdict(learner.recipe),
            "images": self.images,
            "space": learner.supernet.space.digest,
            "start": checkpointing.start,
            "normalization": asdict(data.normalization),
        }
        self.done = self.saved = 0
        self.rate = 0.0

    def reports(self, done: int) -> Iterator[Report]:
        """Do the steps after the first `done` ones."""
        recipe, images, is_first = self.learner.recipe, self.images, self.learner.ranks.is_first
        total, per_epoch = recipe.total_steps(images), recipe.steps_per_epoch(images)
        every = _CUDA_REPORT_STEPS if self.learner.batches.device.type == "cuda" else 1
        began = told = time.monotonic()
        self.done = self.saved = told_step = done
        for step in range(done, total):
            loss = self.learner.step(step)
            self.done = step + 1
            is_epoch = self.done == total or self.done % per_epoch == 0
            if self.done % every and not is_epoch:
                continue
            at = recipe.position(step, images)
            self.rate = at.learning_rate
            value = self._finite(float(loss))
            now = time.monotonic()
            speed = recipe.batch_size * (self.done - told_step) / (now - told)
            yield StepReport(self.done, total, at.phase.name, value, self.rate, speed)
            if is_epoch and is_first:
                yield self._epoch_report(self.done / per_epoch, at.phase.name, value, now - began)
            told, told_step = time.monotonic(), self.done

    def save(self) -> None:
        """Write a checkpoint, unless this step has one."""
        if self.saved == self.done:
            return
        if not all(
            bool(torch.isfinite(value).all()) for value in self.learner.supernet.state_dict().values()
        ):
            raise self._divergence("a weight is not finite")
        save_state(self.checkpoint, self.learner, step=self.done, meta=self.meta)
        self.saved = self.done

    def _finite(self, loss: float) -> float:
        if not -float("inf") < loss < float("inf"):
            raise self._divergence(f"the loss is {loss}")
        return loss

    def _divergence(self, what: str) -> TrainingError:
        path = self.checkpoint
        saved = f"the last good state is {path}" if path.exists() else "nothing was saved yet"
        return TrainingError(
            f"{what} at step {self.done}, learning rate {self.rate:.2g}; lower --learning-rate; {saved}"
        )

    def _epoch_report(self, epoch: float, phase: str, loss: float, elapsed_s: float) -> EpochReport:
        data, space = self.data, self.learner.supernet.space
        archs = (space.smallest, space.middle, space.largest)
        found = {
            arch: accuracy_of(
                self.learner.supernet,
                arch,
                calibration=data.calibration,
                split=data.held_out,
                normalization=data.normalization,
            )
            for arch in dict.fromkeys(archs)  # where there is no choice, they are one
        }
        smallest, middle, largest = map(found.__getitem__, archs)
        return EpochReport(self.done, epoch, phase, loss, smallest, middle, largest, elapsed_s)
