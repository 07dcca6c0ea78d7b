"""The loop over a training's steps: reports, checkpoints, and a stop where the numbers end."""

import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from ofa_nas.errors import CheckpointError, ConfigError, DataError, FileError, TrainingError
from ofa_nas.files import check_folder_writable
from ofa_nas.locks import try_lock
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.state import EpochEnd, RateChange, Standing, load_state, save_state
from ofa_nas.training.step import Learner

CHECKPOINT = "checkpoint.safetensors"  # of a run folder
_LOCK = ".training.lock"
# Reading a loss makes the host wait for a CUDA device, which then waits for the host.
_CUDA_REPORT_STEPS = 10


@dataclass(frozen=True, slots=True)
class StepReport:
    """Optimiser steps done.

    Attributes:
        step: Of the whole training, from 1.
        total_steps: Of the whole training.
        phase: Name of the recipe's phase.
        loss: Of the subnets that learn from labels, or from views, in this step; not that of those who
            learn from a teacher alone.
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
class Checkpointing:
    """How a training is kept.

    Attributes:
        path: File to resume from; replaced every so many minutes, at the end, and when the stream is closed.
        resume: Continue from it.
        minutes: Between checkpoints.
        start: What the first weights are; a resumed training must have begun with the same.
        has_own_rate: Whether the learning rate was given, so that a resume may change it.
    """

    path: Path
    resume: bool = False
    minutes: float = 5.0
    start: str = ""
    has_own_rate: bool = False


def check_run_folder(folder: Path, checkpoint: str, *, resume: bool, work: str) -> Path:
    """Refuse a run folder that cannot be written, holds work that would be lost, or none to resume.

    Args:
        folder: As `--output` names it.
        checkpoint: File name.
        resume: Whether the work there is to go on.
        work: What it is called, such as `training`.

    Returns:
        Path of the checkpoint.

    Raises:
        CheckpointError: There is nothing to resume from.
        ConfigError: The folder holds a checkpoint that nobody asked to resume.
        FileError: The folder cannot be written.
    """
    path = folder / checkpoint
    if resume and not path.exists():
        raise CheckpointError(
            f"{path}: nothing to resume: leave out --resume, or give the --output of a {work}"
        )
    if path.exists() and not resume:
        raise ConfigError(f"{folder} holds a {work}: --resume continues it, another --output leaves it alone")
    check_folder_writable(folder, option="--output")
    return path


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder; what is made for that goes, unless a training leaves files.

    Raises:
        ConfigError: Another one is at work there.
        FileError: The folder cannot be written.
    """
    check_folder_writable(folder, option="--output")
    path = folder / _LOCK
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FileError(f"--output {path}: cannot be written: {error.strerror}") from error
    try:
        if not _lock(descriptor):
            raise ConfigError(
                f"{folder}: another training is at work here; wait for it, or give another --output"
            )
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps what is open
                path.unlink()
                for one in new:
                    one.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock; not the file of one that has ended, and removed this very file, in the meantime."""
    return try_lock(descriptor) and os.fstat(descriptor).st_nlink > 0


E = TypeVar("E")
R = TypeVar("R")


def check_batch(images: int, batch_size: int) -> None:
    """Refuse fewer images than a batch.

    Raises:
        DataError: There are.
    """
    if images < batch_size:
        raise DataError(
            f"{images} training images are less than one batch of {batch_size}; lower --batch-size"
        )


def check_loss(loss: float, *, step: int, learning_rate: float, way_out: str) -> float:
    """A loss that is a number.

    Args:
        loss: Of a step.
        step: Steps done, with this one.
        learning_rate: Of this step.
        way_out: What can be done if it is none.

    Raises:
        TrainingError: It is not.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at step {step}, learning rate {learning_rate:.2g}; {way_out}"
        )
    return loss


def images_per_s(images: int, seconds: float) -> float:
    """Speed of a training [1/s]; a coarse clock may see no time pass."""
    return images / max(seconds, 1e-4)


def way_out(checkpoint: Path, recipe: Recipe) -> str:
    """What can be done where a training cannot go on as it is."""
    if not checkpoint.exists():
        return "lower --learning-rate; nothing was saved yet"
    lower = recipe.phases[0].learning_rate / 10.0
    return f"the same command with --resume --learning-rate {lower:.3g} goes on from {checkpoint}"


def keep(reports: Iterator[R], save: Callable[[], None], *, minutes: float) -> Generator[R, None, None]:
    """The reports, with a checkpoint after so many minutes, at the end, and when the stream is closed.

    Args:
        reports: Of a training.
        save: Writes a checkpoint, unless this step has one.
        minutes: Between checkpoints.
    """
    saved = time.monotonic()
    try:
        for report in reports:
            yield report
            if time.monotonic() - saved > 60.0 * minutes:
                save()
                saved = time.monotonic()
    except GeneratorExit:
        save()
        raise
    save()


class Loop(Generic[E]):
    """The loop over the steps, and what of it goes into a checkpoint.

    Args:
        learner: Does the steps.
        checkpointing: Where the training is kept, and whether it goes on from there.
        meta: What a resumed training must agree with beside recipe, space and start.
    """

    def __init__(self, learner: Learner, checkpointing: Checkpointing, meta: dict[str, object]) -> None:
        self.learner, self.checkpoint = learner, checkpointing.path
        self.checkpointing = checkpointing
        self.images = len(learner.batches)
        self.meta: dict[str, object] = {
            "recipe": asdict(learner.recipe),
            "space": learner.supernet.space.digest,
            "start": checkpointing.start,
            **meta,
        }
        self.done, self.rate = 0, 0.0
        self.due: EpochEnd | None = None
        self.rates: tuple[RateChange, ...] = ()
        self.saved = Standing(0)

    def epoch_report(self, end: EpochEnd) -> E:
        """What is told at the end of an epoch."""
        raise NotImplementedError

    def kept_reports(self) -> Generator[StepReport | RateChange | E, None, None]:
        """The reports, with a checkpoint now and then, at the end and when the stream is closed.

        Those of a resumed training begin with all changes of the learning rate.

        Raises:
            CheckpointError: There is nothing to resume from, or it is of another training.
            TrainingError: The loss or a weight is not a number.
        """
        learner = self.learner
        if self.checkpointing.resume:
            self.saved = load_state(
                self.checkpoint, learner, meta=self.meta, has_own_rate=self.checkpointing.has_own_rate
            )
        self.done, self.due, self.rates = self.saved.step, self.saved.due, self.saved.rates
        learner.ranks.copy_first(learner.supernet)
        yield from self.rates
        yield from keep(self._reports(), self._save, minutes=self.checkpointing.minutes)

    def _reports(self) -> Iterator[StepReport | E]:
        """Do the steps that are left."""
        recipe, images = self.learner.recipe, self.images
        total, per_epoch = recipe.total_steps(images), recipe.steps_per_epoch(images)
        every = _CUDA_REPORT_STEPS if self.learner.batches.device.type == "cuda" else 1
        yield from self._due_report()
        began = told = time.monotonic()
        told_step = self.done
        for step in range(self.done, total):
            loss = self.learner.step(step)
            self.done = step + 1
            is_epoch = self.done == total or self.done % per_epoch == 0
            if self.done % every and not is_epoch:
                continue
            at = recipe.position(step, images)
            self.rate = at.learning_rate
            value = check_loss(
                float(loss),
                step=self.done,
                learning_rate=self.rate,
                way_out=way_out(self.checkpoint, recipe),
            )
            now = time.monotonic()
            speed = images_per_s(recipe.batch_size * (self.done - told_step), now - told)
            if is_epoch:
                terms, epoch = self.learner.take_terms(), self.done / per_epoch
                self.due = EpochEnd(self.done, epoch, at.phase.name, value, terms, now - began)
            yield StepReport(self.done, total, at.phase.name, value, self.rate, speed)
            yield from self._due_report()
            told, told_step = time.monotonic(), self.done

    def _due_report(self) -> Iterator[E]:
        """The report of an epoch that has ended, from the first process."""
        if self.due is not None and self.learner.ranks.is_first:
            report = self.epoch_report(self.due)
            self.due = None
            yield report

    def _save(self) -> None:
        """Write a checkpoint, unless there is one of this moment, or another process writes it."""
        now = Standing(self.done, self.due, self.rates)
        if self.saved == now or not self.learner.ranks.is_first:
            return
        if not all(
            bool(torch.isfinite(value).all()) for value in self.learner.supernet.state_dict().values()
        ):
            raise TrainingError(
                f"a weight is not finite at step {self.done}, learning rate {self.rate:.2g}; "
                f"{way_out(self.checkpoint, self.learner.recipe)}"
            )
        save_state(self.checkpoint, self.learner, at=now, meta=self.meta)
        self.saved = now
