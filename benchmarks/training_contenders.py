"""The contenders of `bench_training`: one sandwich step each, of the same networks on the same batch."""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.static_network import StaticNetwork
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet, place
from ofa_nas.training.batches import Batches
from ofa_nas.training.distillation import soft_cross_entropy
from ofa_nas.training.placement import autocast_on
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.step import Learner

PEER_WIDTHS = {"mobilenet_v3": 1.0, "mobilenet_v3_w1.2": 1.2}  # spaces that once-for-all has too
PACKED_PX = 64  # side of the packed images, which a batch enlarges

Step = Callable[[], object]
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all contenders have in common: the command line.

    Attributes:
        peer: Checkout of once-for-all, empty without it.
    """

    space: str
    batch: int
    resolution: int
    device: str
    rounds: int
    peer: str
    threads: int
    seed: int

    @property
    def contenders(self) -> tuple[str, ...]:
        """Names, ours first."""
        peers = ("once-for-all", "once-for-all, channels last") if self.peer else ()
        return ("ours", "static", *peers)


class FixedBatch(Batches):
    """One batch at every step, drawn from packed images as a training draws it."""

    def __init__(self, setting: Setting, classes: int, recipe: Recipe) -> None:
        rng = np.random.default_rng(setting.seed)
        count = 4 * setting.batch
        pixels = rng.integers(0, 256, (count, PACKED_PX, PACKED_PX, 3), dtype=np.uint8)
        names = tuple(map(str, range(classes)))
        super().__init__(
            PackedImages(pixels, rng.integers(0, classes, count), names),
            recipe,
            normalization=Normalization(),
            device=torch.device(setting.device),
        )
        self.x, self.y = self.draw_anew(setting.resolution)

    def draw_anew(self, resolution: int) -> tuple[Tensor, Tensor]:
        """What a step of a training does before it learns."""
        return super().draw(0, resolution, torch.Generator().manual_seed(self.recipe.seed))

    def draw(self, step: int, resolution: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images `(B, 3, R, R)` and labels `(B,)`."""
        return self.x, self.y


class Workshop:
    """Makes the steps of contenders."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.space = replace(SearchSpace.load(setting.space), resolutions=(setting.resolution,))
        settings = Settings(batch_size=setting.batch, random_subnets=2, seed=setting.seed)
        self.recipe = Recipe.load("sandwich").override(settings)
        self.data = FixedBatch(setting, self.space.classes, self.recipe)
        self.autocast = autocast_on(self.data.x.device)

    def architectures(self) -> tuple[str, ...]:
        """Those that our step draws, the largest first."""
        step, supernet = self._ours()
        seen: list[Architecture] = []
        with supernet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1])):
            step()
        return tuple(str(arch) for arch in seen)

    def make(self, contender: str, architectures: Sequence[str]) -> Step:
        """The step of a contender."""
        if contender == "ours":
            return self._ours()[0]
        archs = [self.space.parse(text) for text in architectures]
        if contender == "static":
            return self._static(archs)
        return self._peer(archs, is_channels_last=contender.endswith("channels last"))

    def _ours(self) -> tuple[Step, Supernet]:
        supernet = Supernet(self.space, torch.Generator().manual_seed(self.setting.seed))
        place(supernet, torch.device(self.setting.device))
        learner = Learner(supernet, self.data)
        return lambda: learner.step(0), supernet  # the same step every time: the same subnets

    def _static(self, archs: Sequence[Architecture]) -> Step:
        rates = (self.space.head.dropout, *[0.0] * (len(archs) - 1))
        networks = nn.ModuleList(
            StaticNetwork(self.space, arch, dropout=rate) for arch, rate in zip(archs, rates, strict=True)
        )
        # Not by `place`: where our layout is lost, theirs is to stay.
        networks.to(self.setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._plain_step(networks, list(networks), _channels_last(self.data.x))

    def _peer(self, archs: Sequence[Architecture], *, is_channels_last: bool) -> Step:
        network = load_peer(self.setting, self.space)
        for arch in archs:  # the same networks, or the comparison means nothing
            network.set_active_subnet(**peer_choices(arch))
            active = network.get_active_subnet(preserve_weight=False)
            assert _weights(active) == _weights(StaticNetwork(self.space, arch)), arch
        network.to(self.setting.device).train()
        x = self.data.x.contiguous()
        if is_channels_last:
            network.to(memory_format=torch.channels_last)
            x = _channels_last(x)

        def forward_of(arch: Architecture) -> Network:
            choices = peer_choices(arch)

            def forward(images: Tensor) -> Tensor:
                network.set_active_subnet(**choices)
                logits: Tensor = network(images)
                return logits

            return forward

        return self._plain_step(network, [forward_of(arch) for arch in archs], x)

    def _plain_step(self, module: nn.Module, networks: Sequence[Network], x: Tensor) -> Step:
        """The sandwich step as a loop over networks, the largest first."""
        recipe, parameters = self.recipe, list(module.parameters())
        groups = [
            {"params": [one for one in parameters if one.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
        ]
        rate = recipe.position(0, len(self.data)).learning_rate
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=True, fused=True)
        for parameter in parameters:  # as our optimiser starts, and for the same reason
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

        def logits_of(network: Network) -> Tensor:
            with self.autocast:
                logits = network(x)
            return logits.float()

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            logits = logits_of(networks[0])
            loss = F.cross_entropy(logits, self.data.y, label_smoothing=recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            answers = logits.detach()
            for network in networks[1:]:
                soft_cross_entropy(logits_of(network), answers).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()

        return step


def load_peer(setting: Setting, space: SearchSpace) -> Any:
    """once-for-all's supernet of the same space, from a checkout.

    Its package of data loaders wants torchvision and a module that torch has lost since; none of it is used
    here, so an empty module takes its place.
    """
    loaders = "ofa.utils.my_dataloader"
    sys.modules.setdefault(loaders, ModuleType(loaders))
    if setting.peer not in sys.path:
        sys.path.insert(0, setting.peer)
    networks = importlib.import_module("ofa.imagenet_classification.elastic_nn.networks")
    stage = space.stages[-1]
    return networks.OFAMobileNetV3(
        n_classes=space.classes,
        dropout_rate=space.head.dropout,
        width_mult=PEER_WIDTHS[setting.space],
        ks_list=list(stage.kernel_sizes),
        expand_ratio_list=list(stage.expand_ratios),
        depth_list=list(stage.depths),
    )


def peer_choices(arch: Architecture) -> dict[str, list[int]]:
    """Arguments of `set_active_subnet`, which wants choices for absent blocks too."""
    stages = arch.stages[1:]
    blocks = [block for stage in stages for block in (*stage, *[stage[-1]] * (4 - len(stage)))]
    return {
        "ks": [block.kernel_size for block in blocks],
        "e": [block.expand_ratio for block in blocks],
        "d": [len(stage) for stage in stages],
    }


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
