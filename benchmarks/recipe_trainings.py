"""Trainings that `bench_recipes` compares: supernets by recipes, and single networks; each kept in a file."""

import json
import multiprocessing
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ofa_nas.data import Normalization
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackedImages, default_pack_folder, pack
from ofa_nas.errors import ConfigError, TrainingError
from ofa_nas.files import write_bytes
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Subnet, Supernet, scale_branches
from ofa_nas.training.allocator import keep_freed_memory
from ofa_nas.training.batches import Batches
from ofa_nas.training.evaluate import batches, calibrated_subnet
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Divergence, Recipe, Settings
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.step import Learner

VALIDATION = 1000  # training images that are held out for choosing
CALIBRATION = 500  # training images
NORMALIZATION = Normalization()
CHANGES = {
    "epochs": float,
    "learning_rate": float,
    "random_subnets": int,
    "crop_scale": float,
    "rate_floor": float,
    "label_share": float,
    "divergence": str,
    "branch_scale": float,
}
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Job:
    """One training, and the architectures that are evaluated after it; a twin's is the only one of its space.

    Attributes:
        label: The recipe as it was given, or `alone`.
        arch: Of a twin, in the space that the recipes train; empty for a supernet.
        images: Sizes of the splits, for data sets come whole and in part.
    """

    label: str
    arch: str
    recipe: Recipe
    space: SearchSpace
    data: str
    images: tuple[int, ...]
    archs: tuple[Architecture, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the outcome, as JSON reads it back."""
        archs = [str(arch) for arch in self.archs]
        recipe = recipe_document(replace(self.recipe, name=""))
        document = {
            "data": self.data,
            "images": self.images,
            "space": self.space.digest,
            "recipe": recipe,
            "archs": archs,
        }
        return cast(dict[str, Any], json.loads(json.dumps(document)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job found.

    Attributes:
        settings: Of the job.
        commit: That trained it.
        images: Seen in training, repeats counted.
        macs: Of the training; a backward pass counts as two forward ones.
        cpu_seconds: Of the training, on one thread.
        validation: Correct held-out training images of each of the job's architectures.
        test: Hexadecimal bits, one a test image: whether it was right.
    """

    settings: dict[str, Any]
    commit: str
    images: int
    macs: float
    cpu_seconds: float
    validation: tuple[int, ...]
    test: tuple[str, ...]

    def correct(self, index: int, count: int) -> Values:
        """1 for each of `count` test images that architecture number `index` got right, else 0, `(n,)`."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.test[index]), dtype=np.uint8), count=count)
        return bits.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Splits:
    """Images to learn from, to choose by, and to judge by."""

    train: PackedImages
    validation: PackedImages
    test: PackedImages

    @classmethod
    def open(cls, name: str) -> "Splits":
        """Hold out part of a data set's training images; the same ones every time."""
        data = open_data(name)
        train, test = (
            pack(source, default_pack_folder(source, size_px=source.size_px), size_px=source.size_px)
            for source in (data.train, data.val)
        )
        order = np.random.default_rng(0).permutation(len(train))
        held_out = min(VALIDATION, len(train) // 8)
        return cls(train.subset(np.sort(order[held_out:])), train.subset(np.sort(order[:held_out])), test)


class Results:
    """Outcomes in a JSON-lines file, so that what was done is not done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.outcomes = [Outcome(**json.loads(line)) for line in lines]

    def find(self, job: Job) -> Outcome | None:
        """The outcome of a job that was done."""
        return next((one for one in self.outcomes if one.settings == job.settings), None)

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, on disk too."""
        self.outcomes.append(outcome)
        before = self.path.read_bytes() if self.path.exists() else b""
        write_bytes(self.path, before + json.dumps(asdict(outcome)).encode() + b"\n")


def load_recipe(text: str, *, epochs: float, seed: int) -> Recipe:
    """Read a recipe, with changes where some stand behind it: `sandwich:rate_floor=0.05,random_subnets=4`."""
    name, _, rest = text.partition(":")
    changes: dict[str, Any] = {}
    for change in filter(None, rest.split(",")):
        key, _, value = change.partition("=")
        try:
            changes[key] = CHANGES[key](value)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"recipe {text!r}: {change!r}: expected {', '.join(CHANGES)} = value"
            ) from error
    divergence, scale = changes.pop("divergence", None), changes.pop("branch_scale", None)
    of_phases = {key: changes.pop(key) for key in ("rate_floor", "label_share") if key in changes}
    if divergence not in (None, *get_args(Divergence)):
        raise ConfigError(f"recipe {text!r}: divergence: expected {', '.join(get_args(Divergence))}")
    recipe = Recipe.load(name).override(Settings(**({"epochs": epochs} | changes), seed=seed))
    recipe = replace(recipe, phases=tuple(replace(one, **of_phases) for one in recipe.phases))
    if scale is not None:
        recipe = replace(recipe, branch_scale=scale)
    return replace(recipe, name=text, divergence=divergence or recipe.divergence)


def alone_space(space: SearchSpace, arch: Architecture) -> SearchSpace:
    """A space with one architecture, the same network as `arch`: every block is a stage of its own."""
    stages = tuple(
        replace(
            stage,
            stride=1 if index else stage.stride,
            kernel_sizes=(block.kernel_size,),
            expand_ratios=(block.expand_ratio,),
            depths=(1,),
        )
        for stage, blocks in zip(space.stages, arch.stages, strict=True)
        for index, block in enumerate(blocks)
    )
    return replace(space, resolutions=(arch.resolution,), stages=stages)


def alone_recipe(recipe: Recipe, rate: float) -> Recipe:
    """Labels alone, for as long as a recipe takes, with its settings and the schedule of its first phase."""
    first = recipe.phases[0]
    phase = Phase("alone", "none", recipe.epochs, rate, warmup=first.warmup, rate_floor=first.rate_floor)
    return replace(recipe, name="alone", phases=(phase,), divergence="cross_entropy")


def count_macs(supernet: Supernet) -> list[float]:
    """Count the MACs of every pass from now on, a frozen teacher's too: the list's one number grows."""
    counted = [0.0]
    macs_of = cache(lambda arch: network_macs(supernet.space, arch))

    # A function, not a method: the teacher is a deep copy, and must add to the same number.
    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        x, arch, _ = inputs
        counted[0] += len(x) * macs_of(arch) * (3 if torch.is_grad_enabled() else 1)

    supernet.register_forward_pre_hook(count)
    return counted


def run_job(job: Job) -> Outcome:
    """Train, then evaluate the job's architectures."""
    splits, recipe = Splits.open(job.data), job.recipe
    supernet = Supernet(job.space, torch.Generator().manual_seed(recipe.seed))
    scale_branches(supernet, recipe.branch_scale)
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    macs = count_macs(supernet)
    drawn = Batches(splits.train, recipe, normalization=NORMALIZATION, device=torch.device("cpu"))
    learner = Learner(supernet, drawn)
    started, steps = time.process_time(), recipe.total_steps(len(drawn))
    for step in range(steps):
        loss = learner.step(step)
    cpu_seconds = time.process_time() - started
    if not torch.isfinite(loss):
        raise TrainingError(f"{job.label}: the loss is {float(loss)}; take a lower learning_rate")
    order = np.random.default_rng([recipe.seed, 2]).permutation(len(splits.train))
    calibration = splits.train.images[order[:CALIBRATION]]
    validation, test = [], []
    for arch in job.archs:
        subnet = calibrated_subnet(supernet, arch, images=calibration, normalization=NORMALIZATION)
        validation.append(int(hits(subnet, splits.validation).sum()))
        test.append(np.packbits(hits(subnet, splits.test)).tobytes().hex())
    return Outcome(
        settings=job.settings,
        commit=record_provenance(seed=recipe.seed).commit,
        images=steps * recipe.batch_size,
        macs=macs[0],
        cpu_seconds=cpu_seconds,
        validation=tuple(validation),
        test=tuple(test),
    )


def hits(subnet: Subnet, split: PackedImages) -> npt.NDArray[np.bool_]:
    """Which images a subnet classifies correctly, `(n,)`."""
    inputs = batches(
        split.images, subnet.arch.resolution, normalization=NORMALIZATION, device=torch.device("cpu")
    )
    with torch.inference_mode():
        found: Tensor = torch.cat([subnet(x).argmax(dim=1) for x in inputs])
    return np.asarray(found.numpy() == split.labels)


def prepare_worker() -> None:
    """One thread a process, that ends with its parent, whatever ended that."""
    torch.set_num_threads(1)
    keep_freed_memory()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
