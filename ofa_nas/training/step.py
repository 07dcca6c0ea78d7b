"""One optimiser step of a phase: which subnets learn, and from whom."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet.elastic import TRAIN, TRAIN_LARGEST, Mode
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.distillation import adaptive_alpha_divergence, soft_cross_entropy
from ofa_nas.training.phase import StepPosition
from ofa_nas.training.placement import autocast_on, send
from ofa_nas.training.recipe import Divergence

_DIVERGENCES: dict[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": soft_cross_entropy,
    "alpha": adaptive_alpha_divergence,
}


class Learner:
    """A supernet that learns step by step.

    Everything random, and the change from phase to phase, follows from the seed and the number of the step.

    Args:
        supernet: Changed in place.
        batches: What from; their recipe says how, and their ranks which part is this process's.
    """

    def __init__(self, supernet: Supernet, batches: Batches) -> None:
        self.supernet, self.batches = supernet, batches
        self.recipe, self.ranks = batches.recipe, batches.ranks
        self.optimizer = self._new_optimizer()
        self.teacher: Supernet | None = None
        device = next(supernet.parameters()).device
        self._autocast = autocast_on(device)
        self._divergence = _DIVERGENCES[self.recipe.divergence]
        *_, classifier = supernet.space.layers(supernet.space.largest)
        self._classifier_inputs = classifier.in_channels
        self._encodings = [Encoding.of(phase.space(supernet.space)) for phase in self.recipe.phases]
        self._train, self._train_largest = (
            replace(mode, is_global=self.ranks.count > 1) for mode in (TRAIN, TRAIN_LARGEST)
        )

    def step(self, step: int) -> Tensor:
        """Do one step.

        Args:
            step: Counted from 0 over the whole training.

        Returns:
            Mean loss on labels of the subnets that learn from labels, a scalar on the device.
        """
        at = self.recipe.position(step, len(self.batches))
        if at.step == 0 and at.number > 0:
            self._enter(at)
        for group in self.optimizer.param_groups:
            group["lr"] = at.learning_rate
        rng = np.random.default_rng([self.recipe.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        resolutions = self.supernet.space.resolutions[: at.phase.resolutions or None]
        resolution = int(rng.choice(resolutions))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._learn(at, step, resolution=resolution, rng=rng, generator=generator)
        parameters = list(self.supernet.parameters())
        self.ranks.average_gradients(parameters)
        if self.recipe.clip_norm > 0.0:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self.optimizer.step()
        return self.ranks.average(loss)

    def rehearse(self) -> None:
        """Do what a step does, at the largest resolution of the training, and forget it.

        So a device without enough memory says so before the training, and not when it first draws that
        resolution, which may be hours later.
        """
        before = {name: value.clone() for name, value in self.supernet.named_buffers()}
        phases, space = self.recipe.phases, self.supernet.space
        resolution = max(space.resolutions[: phase.resolutions or None][-1] for phase in phases)
        rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        at = self.recipe.position(0, len(self.batches))
        self._learn(at, 0, resolution=resolution, rng=rng, generator=generator)
        self.take_terms()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in self.supernet.named_buffers():
                value.copy_(before[name])

    def adopt_teacher(self, tensors: dict[str, Tensor]) -> None:
        """Make weights that `teacher.state_dict()` once gave the frozen teacher again."""
        self.teacher = copy.deepcopy(self.supernet)
        self.teacher.load_state_dict(tensors)

    def take_terms(self) -> dict[str, float]:
        """What an epoch's report tells of the steps since this was last asked for; nothing."""
        return {}

    def _new_optimizer(self) -> torch.optim.SGD:
        """The optimiser of the training, without momentum yet."""
        decayed: list[torch.nn.Parameter] = []
        plain: list[torch.nn.Parameter] = []
        for name, parameter in self.supernet.named_parameters():
            is_weight = parameter.ndim > 1 and ".transforms." not in name
            (decayed if is_weight else plain).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        rate, momentum = self.recipe.phases[0].learning_rate, self.recipe.momentum
        return without_momentum(
            torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=True, fused=True)
        )

    def _learn(
        self,
        at: StepPosition,
        step: int,
        *,
        resolution: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> Tensor:
        """Draw the batch of a step, add up the gradients of its subnets, and return the loss."""
        x, labels = self.batches.draw(step, resolution, generator)
        dropout = self._dropout(generator)
        if at.phase.teacher == "frozen":
            return self._learn_from_frozen(x, labels, at, rng, replace(self._train, dropout=dropout))
        mode = replace(self._train_largest, dropout=dropout)
        return self._learn_from_largest(x, labels, at, rng, mode)

    def _enter(self, at: StepPosition) -> None:
        """Begin a phase: a first teacher, sorted channels, no momentum of the phase before."""
        if at.number == 1 and any(phase.teacher == "frozen" for phase in self.recipe.phases):
            self.teacher = copy.deepcopy(self.supernet)
        if at.phase.sort_channels:
            before = self.recipe.phases[at.number - 1]
            kept = None if before.teacher == "none" else before.space(self.supernet.space)
            sort_channels(self.supernet, kept=kept)
        self.ranks.copy_first(self.supernet)  # devices of several kinds round sums of weights differently
        without_momentum(self.optimizer)

    def _dropout(self, generator: torch.Generator) -> Tensor | None:
        """Factors of the classifier's inputs for this process's part of the batch, `(B, C)`.

        Drawn for the whole batch from the step's own generator, so that neither a resume nor the number of
        processes changes them.
        """
        rate = self.supernet.space.head.dropout
        if rate == 0.0:
            return None
        size = self.recipe.batch_size
        drawn = torch.rand(size, self._classifier_inputs, generator=generator)[self.ranks.share(size)]
        return send((drawn >= rate).float() / (1.0 - rate), self.batches.device)

    def _learn_from_largest(
        self, x: Tensor, labels: Tensor, at: StepPosition, rng: np.random.Generator, mode: Mode
    ) -> Tensor:
        """Largest from labels; by the sandwich rule, smallest and random ones from the largest's answers."""
        resolution = x.shape[-1]
        largest = replace(self.supernet.space.largest, resolution=resolution)
        logits = self._logits(x, largest, mode)
        loss = self._label_loss(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if at.phase.teacher == "largest":
            answers = logits.detach()
            for arch in self._smaller_archs(at, resolution, rng):
                own = self._logits(x, arch, self._train)
                self._shared_loss(own, answers, labels, at.phase.label_share).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _shared_loss(self, logits: Tensor, answers: Tensor, labels: Tensor, share: float) -> Tensor:
        """The mean of the losses on the teacher's answers and on labels, of which `share` are the labels."""
        if share == 0.0:
            return self._divergence(logits, answers)
        return (1.0 - share) * self._divergence(logits, answers) + share * self._label_loss(logits, labels)

    def _learn_from_frozen(
        self, x: Tensor, labels: Tensor, at: StepPosition, rng: np.random.Generator, mode: Mode
    ) -> Tensor:
        """Random subnets from labels and from the frozen largest subnet's answers."""
        assert self.teacher is not None
        resolution = x.shape[-1]
        largest = replace(self.supernet.space.largest, resolution=resolution)
        with torch.no_grad(), self._autocast:
            answers = self.teacher(x, largest, self._train).float()
        total = torch.zeros((), device=x.device)
        for arch in self._random_archs(at, resolution, rng):
            logits = self._logits(x, arch, mode)
            loss = self._label_loss(logits, labels)
            (loss + self._divergence(logits, answers)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total / at.phase.random_subnets

    def _smaller_archs(
        self, at: StepPosition, resolution: int, rng: np.random.Generator
    ) -> Iterator[Architecture]:
        """Smallest and random subnets of a step; the largest's own answers would teach it nothing."""
        largest = replace(self.supernet.space.largest, resolution=resolution)
        smallest = replace(self._encodings[at.number].space.smallest, resolution=resolution)
        for arch in (smallest, *self._random_archs(at, resolution, rng)):
            if arch != largest:
                yield arch

    def _random_archs(
        self, at: StepPosition, resolution: int, rng: np.random.Generator
    ) -> Iterator[Architecture]:
        encoding = self._encodings[at.number]
        for arch in encoding.decode(encoding.sample(at.phase.random_subnets, rng)):
            yield replace(arch, resolution=resolution)

    def _logits(self, x: Tensor, arch: Architecture, mode: Mode) -> Tensor:
        with self._autocast:
            logits: Tensor = self.supernet(x, arch, mode)
        return logits.float()

    def _label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)


def without_momentum(optimizer: torch.optim.SGD) -> torch.optim.SGD:
    """The optimiser, from no momentum on.

    The fused optimiser of torch 2.13 fails where some parameters of a group have a buffer and others none,
    as happens when a step's subnets leave parameters out; a buffer of zeros is the same as none.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
