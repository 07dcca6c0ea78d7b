"""Learning without labels: the supernet's largest subnet tells views of one image from those of others.

The classifier is the head that is thrown away: meanwhile it has as many outputs as a feature has numbers.
"""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import ConfigError
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.elastic import Mode
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.loop import Checkpointing, Loop, StepReport
from ofa_nas.training.losses import load_loss
from ofa_nas.training.phase import StepPosition
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.state import EpochEnd, RateChange, data_meta
from ofa_nas.training.step import Learner, without_momentum

# Source: Baradad et al. 2021, arXiv:2106.05963, and its code: 128 numbers, by weights of N(0, 0.02) on 4,096
# inputs.
FEATURES = 128
_SPREAD = 0.02 * 4096**0.5
PretrainingReport = StepReport | RateChange | EpochEnd


def pretrain(
    encoder: Supernet,
    images: PackedImages,
    recipe: Recipe,
    *,
    loss: str,
    normalization: Normalization,
    checkpointing: Checkpointing,
) -> Generator[PretrainingReport, None, None]:
    """Train a supernet in place without labels, on the device that it is on.

    Closing the generator between two reports writes a checkpoint, so an interrupted training loses nothing.

    Args:
        encoder: Supernet whose classifier has `FEATURES` outputs.
        images: Their labels are not looked at.
        recipe: Every number of it; `teacher` says whether smaller subnets learn too.
        loss: As `load_loss` takes it.
        normalization: Applied on the device.
        checkpointing: Where it is kept, and whether it goes on from there.

    Yields:
        A `StepReport` a step (on CUDA every tenth), an `EpochEnd` at the end of each epoch and of all.
        First of all, if it is resumed, every `RateChange`.

    Raises:
        ConfigError: There is no such loss.
        DataError: There are fewer images than one batch.
        CheckpointError: There is nothing to resume from, or it is of another training.
        TrainingError: The loss or a weight is not a number.
    """
    device = next(encoder.parameters()).device
    batches = Batches(images, recipe, normalization=normalization, device=device)
    meta = {"loss": loss, **data_meta(images, normalization)}
    yield from _Loop(ViewLearner(encoder, batches, loss), checkpointing, meta).kept_reports()


def new_head(encoder: Supernet, generator: torch.Generator) -> None:
    """Draw the classifier so that features are as long, before they are normalised, as the published ones.

    The gradient of a normalised feature goes with one over its length: with a classifier's usual small first
    weights the first steps are so large that all features fall together.
    """
    for name, value in encoder.named_parameters():
        if name.startswith("layers.classifier.") and value.ndim == 2:
            with torch.no_grad():
                value.normal_(0.0, _SPREAD / value.shape[1] ** 0.5, generator=generator)


class ViewLearner(Learner):
    """A supernet that learns from views, step by step.

    Args:
        encoder: Changed in place.
        batches: What from; their recipe says how.
        loss: As `load_loss` takes it.
    """

    def __init__(self, encoder: Supernet, batches: Batches, loss: str) -> None:
        super().__init__(encoder, batches)
        self._loss = load_loss(loss)
        self._told: list[dict[str, Tensor]] = []

    def take_terms(self) -> dict[str, float]:
        """Mean of each part of the loss over the steps since it was last asked for."""
        told, self._told = self._told, []
        return {name: float(torch.stack([terms[name] for terms in told]).mean()) for name in told[0]}

    def _new_optimizer(self) -> torch.optim.SGD:
        """As published: one decay for everything, momentum without Nesterov's rule.

        Kernel transforms, which the published networks lack, do not decay: they rest at the identity.

        Source: Baradad et al. 2021, arXiv:2106.05963, and its code.
        """
        named = list(self.supernet.named_parameters())
        groups = [
            {
                "params": [value for name, value in named if (".transforms." in name) == is_transform],
                "weight_decay": 0.0 if is_transform else self.recipe.weight_decay,
            }
            for is_transform in (False, True)
        ]
        rate = self.recipe.phases[0].learning_rate
        return without_momentum(
            torch.optim.SGD(
                [group for group in groups if group["params"]],
                lr=rate,
                momentum=self.recipe.momentum,
                fused=True,
            )
        )

    def _enter(self, at: StepPosition) -> None:
        """Momentum goes on through the phases, as the published schedule has it."""
        if at.phase.sort_channels:
            sort_channels(self.supernet)

    def _learn(
        self,
        at: StepPosition,
        step: int,
        *,
        resolution: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> Tensor:
        """Largest from the loss; by the sandwich rule, smallest and random subnets from its features."""
        x = torch.cat(self.batches.draw_views(step, resolution, generator))
        train, train_largest = self._train, self._train_largest
        largest = replace(self.supernet.space.largest, resolution=resolution)
        features = self._features(x, largest, train_largest)
        terms = self._loss.terms(*features.chunk(2))
        if not isinstance(terms, dict) or not terms or any(term.ndim for term in terms.values()):
            raise ConfigError("the loss's terms are no dictionary of scalars, which are summed")
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        if at.phase.teacher == "largest":
            answers = features.detach()
            for arch in self._smaller_archs(at, resolution, rng):
                self._loss.follow(self._features(x, arch, train), answers).backward()  # type: ignore[no-untyped-call]
        self._told.append({name: term.detach() for name, term in terms.items()})
        return loss.detach()

    def _features(self, x: Tensor, arch: Architecture, mode: Mode) -> Tensor:
        return F.normalize(self._logits(x, arch, mode), dim=1)


class _Loop(Loop[EpochEnd]):
    """Reports of an epoch tell the parts of the loss."""

    def epoch_report(self, end: EpochEnd) -> EpochEnd:
        """Means over the steps since the report before, or since a resume; the loss is their sum."""
        return replace(end, loss=sum(end.terms.values()))
