"""The loop over a training's steps: reports, checkpoints, and a stop where the numbers end."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ofa_nas.errors import LeftAloneError, TrainingError
from ofa_nas.training.batches import Batches
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.state import EpochEnd, RateChange, Standing, load_state, save_state
from ofa_nas.training.step import Learner

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

    @property
    def scalars(self) -> dict[str, float]:
        """What TensorBoard draws."""
        return {
            "loss": self.loss,
            "learning rate": self.learning_rate,
            "images a second": self.images_per_s,
        }


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


E = TypeVar("E")
R = TypeVar("R")


def way_out(checkpoint: Path | None, recipe: Recipe) -> str:
    """What can be done where a training cannot go on as it is."""
    if checkpoint is None:
        return "begin anew with a lower --learning-rate and another --output"
    if not checkpoint.exists():
        return "lower --learning-rate; nothing was saved yet"
    lower = recipe.phases[0].learning_rate / 10.0
    return f"the same command with --resume --learning-rate {lower:.3g} goes on from {checkpoint}"


def _going_on(checkpoint: Path) -> str:
    """How a training goes on that something outside ended."""
    if not checkpoint.exists():
        return "nothing was saved yet"
    return f"the same command with --resume goes on from {checkpoint}"


def step_reports(
    learn: Callable[[int], Tensor],
    batches: Batches,
    *,
    steps: range,
    checkpoint: Path | None = None,
    every: int = 1,
) -> Iterator[StepReport]:
    """Do steps of a training, and tell of them.

    Args:
        learn: Does a step, counted from 0 over the whole training; its loss, a scalar.
        batches: That it learns from.
        steps: To do.
        checkpoint: Of the training, from which it can go on at another rate; None where it cannot.
        every: Steps between two reports; the last one of an epoch has one in any case.

    Raises:
        TrainingError: A loss is not a number; of several processes the first one tells.
        LeftAloneError: Another process ended.
    """
    recipe, images = batches.recipe, len(batches)
    told, told_step = time.monotonic(), steps.start
    for step in steps:
        loss, done = learn(step), step + 1
        if done % every and not recipe.ends_epoch(done, images):
            continue
        if batches.device.type == "cuda":
            batches.ranks.wait()  # on the host: who waits for a device does not see another process end
        at, value = recipe.position(step, images), float(loss)
        if not math.isfinite(value) and batches.ranks.is_first:
            raise TrainingError(
                f"the loss is {value} at step {done}, learning rate {at.learning_rate:.2g}; "
                f"{way_out(checkpoint, recipe)}"
            )
        seconds = max(time.monotonic() - told, 1e-4)  # a coarse clock may see no time pass
        speed = recipe.batch_size * (done - told_step) / seconds
        yield StepReport(done, recipe.total_steps(images), at.phase.name, value, at.learning_rate, speed)
        told, told_step = time.monotonic(), done


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
        self.meta: dict[str, object] = {
            "recipe": recipe_document(learner.recipe),
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
            TrainingError: The loss or a weight is not a number, or the device has too little memory.
            LeftAloneError: Another of the processes that train together ended.
        """
        learner = self.learner
        if self.checkpointing.resume:
            with learner.ranks.in_turn():
                self.saved = load_state(
                    self.checkpoint, learner, meta=self.meta, has_own_rate=self.checkpointing.has_own_rate
                )
        self.done, self.due, self.rates = self.saved.step, self.saved.due, self.saved.rates
        try:
            learner.ranks.copy_first(learner.supernet)
            if learner.batches.device.type == "cuda":
                learner.rehearse()
            yield from self.rates
            yield from keep(self._reports(), self._save, minutes=self.checkpointing.minutes)
        except LeftAloneError as error:
            raise LeftAloneError(f"{error}; {_going_on(self.checkpoint)}") from error
        except torch.OutOfMemoryError as error:
            cause = str(error).partition(". ")[0]
            raise TrainingError(
                f"{learner.batches.device} has too little memory ({cause:.200}): share the batch among more "
                "processes of torchrun, or begin anew with a lower --batch-size; "
                f"{_going_on(self.checkpoint)}"
            ) from error

    def _reports(self) -> Iterator[StepReport | E]:
        """Do the steps that are left."""
        learner, recipe, images = self.learner, self.learner.recipe, len(self.learner.batches)
        yield from self._due_report()
        began = time.monotonic()
        for report in step_reports(
            learner.step,
            learner.batches,
            steps=range(self.done, recipe.total_steps(images)),
            checkpoint=self.checkpoint,
            every=_CUDA_REPORT_STEPS if learner.batches.device.type == "cuda" else 1,
        ):
            self.done, self.rate = report.step, report.learning_rate
            if recipe.ends_epoch(self.done, images):
                epoch, elapsed_s = self.done / recipe.steps_per_epoch(images), time.monotonic() - began
                terms = learner.take_terms()
                self.due = EpochEnd(self.done, epoch, report.phase, report.loss, terms, elapsed_s)
            yield report
            yield from self._due_report()

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
