"""A training on disk: weights, momentum, teacher and position in one file, replaced by one rename."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import CheckpointError
from ofa_nas.files import parse_json, replacing
from ofa_nas.supernet.checkpoint import check_tensors, load_tensors, read_tensors, write_tensors
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import with_later_keys
from ofa_nas.training.step import Learner

_WEIGHT, _MOMENTUM, _TEACHER, _META = "weight:", "momentum:", "teacher:", "training"
_RECIPE = "recipe"
_DATA = "data"  # which older checkpoints do not tell of
_SAMPLE = 64  # images that stand for all
_TOLD = 4  # changes that are named at most
_DUE, _RATES = "due", "rates"
_RATE = re.compile(r"recipe\.phases\.[0-9]+\.learning_rate = ")
_MOST_STEPS = 10**12


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Where a training stands at the end of an epoch, or of all; a pretraining has no other report of it.

    Attributes:
        step: Done so far.
        epoch: Passes over the images so far.
        phase: Name of the recipe's phase.
        loss: Of the last step; in the report of a pretraining that of its largest subnet, mean over the steps
            since the report before.
        terms: The parts that a loss is the sum of, over these steps; see `Learner.take_terms`.
        elapsed_s: Since the training began or went on [s].
    """

    step: int
    epoch: float
    phase: str
    loss: float
    terms: dict[str, float]
    elapsed_s: float

    @property
    def scalars(self) -> dict[str, float]:
        """What TensorBoard draws."""
        return {f"loss/{name}": value for name, value in self.terms.items()}


@dataclass(frozen=True, slots=True)
class RateChange:
    """Another learning rate, as the user gave it to a resume.

    Attributes:
        step: First with it, from 1.
        before: Peak rate of the first phase until then.
        learning_rate: From then on; other phases keep their ratio to it.
    """

    step: int
    before: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a training stands.

    Attributes:
        step: Steps done.
        due: The epoch that ended with the last of them, if its report is still to be made.
        rates: Changes of the learning rate so far.
    """

    step: int
    due: EpochEnd | None = None
    rates: tuple[RateChange, ...] = ()


def data_meta(images: PackedImages, normalization: Normalization) -> dict[str, object]:
    """What a resumed training must agree with of its data: all labels, and a sample of the images."""
    digest = hashlib.sha256(images.labels.tobytes())
    for index in np.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).astype(int):
        digest.update(images.images[index].tobytes())
    return {
        "images": len(images),
        "normalization": asdict(normalization),
        _DATA: {
            "image_size": images.size_px,
            "classes": images.class_names,
            "content": digest.hexdigest()[:16],
        },
    }


def save_state(path: Path, learner: Learner, *, at: Standing, meta: dict[str, object]) -> None:
    """Write a checkpoint. Everything random follows from seed and step, so no generator is stored.

    Args:
        path: File to replace.
        learner: Its supernet, optimiser and teacher.
        at: Where it stands.
        meta: What a resumed training must agree with.
    """
    tensors = {_WEIGHT + name: value.detach() for name, value in learner.supernet.state_dict().items()}
    for name, parameter in learner.supernet.named_parameters():
        tensors[_MOMENTUM + name] = learner.optimizer.state[parameter]["momentum_buffer"]
    if learner.teacher is not None:
        tensors |= {_TEACHER + name: value.detach() for name, value in learner.teacher.state_dict().items()}
    due = None if at.due is None else asdict(at.due)
    write_state(path, tensors, step=at.step, meta={**meta, _DUE: due, **rates_meta(at.rates)})


def write_state(path: Path, tensors: dict[str, Tensor], *, step: int, meta: dict[str, object]) -> None:
    """Write tensors after so many steps, and what a resumed training must agree with."""
    with replacing(path) as temporary:
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        write_tensors(temporary, contiguous, metadata={_META: json.dumps({"step": step, **meta})})


def rates_meta(rates: Iterable[RateChange]) -> dict[str, object]:
    """Changes of the learning rate, as a checkpoint and a card keep them; `rates_of` reads them."""
    return {_RATES: [asdict(one) for one in rates]}


def load_state(
    path: Path, learner: Learner, *, meta: dict[str, object], has_own_rate: bool = False
) -> Standing:
    """Read a checkpoint back; tells where the training stands.

    Args:
        path: Of the checkpoint.
        learner: Its supernet, optimiser and teacher are changed.
        meta: What a resumed training must agree with.
        has_own_rate: Whether the learning rate may be another one.

    Raises:
        CheckpointError: It is missing, damaged, or of another training.
    """
    tensors = read_tensors(path)
    found = read_meta(path, meta=meta, has_own_rate=has_own_rate)
    rates = rates_of(found, learner.recipe, path)
    load_tensors(learner.supernet, _part(tensors, _WEIGHT), where=str(path))
    momentum = _part(tensors, _MOMENTUM)
    for name, parameter in learner.supernet.named_parameters():
        if name not in momentum or momentum[name].shape != parameter.shape:
            raise CheckpointError(f"{path}: the momentum of {name} is missing or of another shape")
        if momentum[name].dtype != parameter.dtype or not bool(momentum[name].isfinite().all()):
            raise CheckpointError(f"{path}: the momentum of {name} is not finite, or no {parameter.dtype}")
        learner.optimizer.state[parameter]["momentum_buffer"].copy_(momentum[name])
    teacher = _part(tensors, _TEACHER)
    if teacher:
        check_tensors(teacher, learner.supernet.state_dict(), where=f"{path}, {_TEACHER}")
        learner.adopt_teacher(teacher)
    return Standing(int(found["step"]), _due(found, path), rates)


def rates_of(found: dict[str, Any], recipe: Recipe, path: Path) -> tuple[RateChange, ...]:
    """Changes of the learning rate that a checkpoint tells of, and the one by which a recipe goes on.

    Raises:
        CheckpointError: They make no sense, or the phases' rates change by different factors.
    """
    now = [phase.learning_rate for phase in recipe.phases]
    try:
        before = [float(phase["learning_rate"]) for phase in found["recipe"]["phases"]]
        rates = [
            RateChange(int(one["step"]), float(one["before"]), float(one["learning_rate"]))
            for one in found.get(_RATES, ())
        ]
        pairs = list(zip(before, now, strict=True))
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not tell of its learning rates") from error
    if any(not math.isclose(was * now[0], becomes * before[0], rel_tol=1e-9) for was, becomes in pairs):
        raise CheckpointError(
            f"{path}: made with learning rates {before!s:.200}, whose ratio --learning-rate keeps; "
            "resume with the same recipe"
        )
    if before[0] != now[0]:
        rates.append(RateChange(int(found["step"]) + 1, before[0], now[0]))
    return tuple(rates)


def _due(found: dict[str, Any], path: Path) -> EpochEnd | None:
    due = found.get(_DUE)
    if due is None:
        return None
    try:
        return EpochEnd(
            step=int(found["step"]),
            epoch=float(due["epoch"]),
            phase=str(due["phase"]),
            loss=float(due["loss"]),
            terms={str(name): float(value) for name, value in due["terms"].items()},
            elapsed_s=float(due["elapsed_s"]),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not tell of its epoch") from error


def _changes(key: str, then: Any, now: Any) -> Iterator[str]:
    """What differs between two JSON documents, by its key path, such as `recipe.phases.0.epochs`."""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        then, now = dict(enumerate(then)), dict(enumerate(now))
    if isinstance(then, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*then, *now)):
            yield from _changes(f"{key}.{name}", then.get(name), now.get(name))
    elif then != now:
        yield f"{key} = {then!s:.80}, now it is {now!s:.80}"


def _completed(key: str, value: object) -> object:
    return with_later_keys(value) if key == _RECIPE else value


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_meta(path: Path, *, meta: dict[str, object], has_own_rate: bool = False) -> dict[str, Any]:
    """What a checkpoint that can be read says of itself; `step` is how many are done.

    Args:
        path: Of the checkpoint.
        meta: What must be the same.
        has_own_rate: Whether the learning rate may be another one.

    Raises:
        CheckpointError: It is no checkpoint, or that of a training which was not set up like `meta`.
    """
    found = _read_meta(path)
    now = json.loads(json.dumps(meta))  # tuples become lists
    changes = [
        change
        for key in now
        if key in found or key != _DATA
        for change in _changes(key, *(_completed(key, one) for one in (found.get(key), now[key])))
        if not (has_own_rate and _RATE.match(change))
    ]
    if changes:
        told = "; ".join([*(f"{one:.220}" for one in changes[:_TOLD]), *["…"] * (len(changes) > _TOLD)])
        raise CheckpointError(
            f"{path}: made with {told}; resume with the same settings or train into another folder"
        )
    return found


def _read_meta(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_META, "")
    try:
        found = parse_json(text)
        is_step = type(found["step"]) is int and 0 <= found["step"] <= _MOST_STEPS
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a training") from error
    if not is_step:
        raise CheckpointError(f"{path}: not the checkpoint of a training: its step is {found['step']!r:.40}")
    return dict(found)
