"""Transfer as a stream of reports, with a checkpoint to go on from."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.supernet.checkpoint import check_tensors, read_tensors
from ofa_nas.training.batches import Batches
from ofa_nas.training.evaluate import count_correct
from ofa_nas.training.loop import Checkpointing, StepReport, keep, step_reports
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import RateChange, data_meta, rates_meta, rates_of, read_meta, write_state
from ofa_nas.transfer.network import TransferNetwork
from ofa_nas.transfer.optimizer import FreeingAdam

_BATCH_SIZE, _EPOCHS = 8, 5.0
_RATES = {"full": 3e-4, "last": 3e-3, "bn": 1e-3, "bias": 3e-3, "lite": 1e-3, "lite+bias": 1e-3}
_WEIGHT, _FIRST, _SECOND = "weight:", "first moment:", "second moment:"
_KEPT = "keeps_classifier"  # which older checkpoints do not tell of: theirs began at 0


@dataclass(frozen=True, slots=True)
class TransferEpoch:
    """End of an epoch, or of the transfer.

    Attributes:
        step: Done so far.
        epoch: Passes over the images so far.
        loss: Mean since the report before, or since a resume.
        accuracy: Top-1 on held-out images, in [0, 1].
    """

    step: int
    epoch: float
    loss: float
    accuracy: float

    @property
    def scalars(self) -> dict[str, float]:
        """What TensorBoard draws."""
        return {"accuracy": self.accuracy}


TransferReport = StepReport | RateChange | TransferEpoch


def transfer_recipe(method: str, *, batch_size: int | None = None) -> Recipe:
    """How a method is trained: Adam, cosine, small batches, no weight decay.

    Args:
        method: A key of `METHODS`.
        batch_size: Images a step, from 1 on; the rate changes with its root. None for 8.

    Raises:
        ConfigError: There can be no such batch.

    Source: Cai et al. 2020, arXiv:2007.11622, section 4.1 (Adam, cosine, batch 8, no weight decay); rates and
    epochs: benchmarks/bench_transfer.py.
    """
    images = _BATCH_SIZE if batch_size is None else batch_size
    if images < 1:
        raise ConfigError(f"--batch-size {batch_size}: expected 1 or more")
    rate = _RATES[method] * (images / _BATCH_SIZE) ** 0.5
    phase = Phase(method, "none", epochs=_EPOCHS, learning_rate=rate, warmup=0.05)
    return Recipe("transfer", (phase,), batch_size=images, weight_decay=0.0, momentum=0.0, clip_norm=0.0)


def adapt(
    network: TransferNetwork, data: TrainingData, recipe: Recipe, *, checkpointing: Checkpointing
) -> Generator[TransferReport, None, None]:
    """Train what the network's method trains, in place, on the device that it is on.

    Everything random follows from the seed and the number of the step. Closing the generator between two
    reports writes a checkpoint.

    Args:
        network: With the weights of the subnet; what is trained changes.
        data: Images stay uint8; a batch is cropped, resized and normalised on the device.
        recipe: Of one phase; divergence, momentum, weight decay and clipping play no part.
        checkpointing: Where it is kept, and whether it goes on from there.

    Yields:
        A `StepReport` a step, a `TransferEpoch` at the end of each epoch and of the transfer. First of all,
        if it is resumed, every `RateChange`.

    Raises:
        DataError: There are fewer images than one batch.
        CheckpointError: There is nothing to resume from, or it is of another transfer.
        TrainingError: The loss is not a number.
    """
    run = _Run(network, data, recipe, checkpointing)
    if checkpointing.resume:
        run.load(has_own_rate=checkpointing.has_own_rate)
    yield from run.rates
    yield from keep(run.reports(), run.save, minutes=checkpointing.minutes)


class _Run:
    """The loop over the steps, and what of it goes into a checkpoint."""

    def __init__(
        self, network: TransferNetwork, data: TrainingData, recipe: Recipe, checkpointing: Checkpointing
    ) -> None:
        self.network, self.data, self.recipe = network, data, recipe
        self.path: Path = checkpointing.path
        device = next(network.parameters()).device
        self.batches = Batches(data.train, recipe, normalization=data.normalization, device=device)
        self.trained = network.trained()
        self.optimizer = FreeingAdam(self.trained.values())
        self.done = self.saved = 0
        self.rates: tuple[RateChange, ...] = ()
        self.meta: dict[str, object] = {
            "recipe": recipe_document(recipe),
            "space": network.space.digest,
            "method": network.method.name,
            "start": checkpointing.start,
            **data_meta(data.train, data.normalization),
        }

    def reports(self) -> Iterator[TransferReport]:
        """Do the steps that are left."""
        recipe, images = self.recipe, len(self.batches)
        losses: list[float] = []
        steps = range(self.done, recipe.total_steps(images))
        for report in step_reports(self._step, self.batches, steps=steps, checkpoint=self.path):
            self.done = report.step
            losses.append(report.loss)
            yield report
            if recipe.ends_epoch(self.done, images):
                epoch = self.done / recipe.steps_per_epoch(images)
                yield TransferEpoch(self.done, epoch, float(np.mean(losses)), self._accuracy())
                losses.clear()

    def save(self) -> None:
        """Write a checkpoint, unless this step has one."""
        if self.saved == self.done:
            return
        tensors: dict[str, Tensor] = {}
        for (name, value), (first, second) in zip(
            self.trained.items(), self.optimizer.moments(), strict=True
        ):
            tensors |= {_WEIGHT + name: value.detach(), _FIRST + name: first, _SECOND + name: second}
        told = {_KEPT: self.network.keeps_classifier, **rates_meta(self.rates)}
        write_state(self.path, tensors, step=self.done, meta={**self.meta, **told})
        self.saved = self.done

    def load(self, *, has_own_rate: bool) -> None:
        """Go on from the checkpoint; what is not trained is not in it."""
        tensors = read_tensors(self.path)
        found = read_meta(self.path, meta=self.meta, has_own_rate=has_own_rate)
        self.rates = rates_of(found, self.recipe, self.path)
        needed = {
            part + name: value for name, value in self.trained.items() for part in (_WEIGHT, _FIRST, _SECOND)
        }
        check_tensors(tensors, dict(needed), where=str(self.path))
        steps = int(found["step"])
        if not 0 <= steps <= self.recipe.total_steps(len(self.data.train)):
            raise CheckpointError(
                f"{self.path}: says that {steps} steps are done, which are more than there are"
            )
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(tensors[_WEIGHT + name])
        moments = [(tensors[_FIRST + name], tensors[_SECOND + name]) for name in self.trained]
        self.optimizer.restore(moments, steps=steps)
        self.network.keeps_classifier = found.get(_KEPT) is True
        self.done = self.saved = steps

    def _step(self, step: int) -> Tensor:
        rng = np.random.default_rng([self.recipe.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        x, labels = self.batches.draw(step, self.network.arch.resolution, generator)
        self.optimizer.set_rate(self.recipe.position(step, len(self.batches)).learning_rate)
        loss = F.cross_entropy(self.network(x), labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]  # the optimiser steps in it
        return loss.detach()

    def _accuracy(self) -> float:
        held_out = self.data.held_out
        correct = count_correct(self.network, held_out, normalization=self.data.normalization)
        return correct / len(held_out)
