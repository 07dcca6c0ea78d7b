"""Start a supernet from what exists: another supernet, or a pretrained static network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import check_numbers, load_supernet
from ofa_nas.supernet.pretrained import PretrainedNetwork, imagenet_class_ids
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.starts import check_space, named_start
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import CROP, LARGEST, Fit, SupernetFiles


@dataclass(frozen=True, slots=True)
class Start:
    """Weights that exist, and what has to be known to go on from them.

    Attributes:
        name: For cards and messages.
        space: Search space, with the classes of these weights.
        data: Name of the data set that they were trained on.
        class_names: Names or identifiers of its classes, in the order of the outputs.
        input_mean: Per RGB channel, subtracted from pixels in [0, 255].
        input_std: Per RGB channel, by which that is divided.
        tensors: Under the supernet's names; a kernel may be smaller than the space's largest.
        is_sorted: The middle channels stand in the order in which narrow subnets are to keep them.
        files: Of a supernet; None of a pretrained network.
        image_size: Side of the images that a supernet was trained on [px], where one was asked for; else 0.
        licence: Terms of the weights; empty where nobody stated them.
        fit: How its images became square.
    """

    name: str
    space: SearchSpace
    data: str
    class_names: tuple[str, ...]
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    tensors: dict[str, Tensor]
    is_sorted: bool
    files: SupernetFiles | None = None
    image_size: int = 0
    licence: str = ""
    fit: Fit = CROP

    def rows_of(self, *, class_ids: Sequence[str], class_names: Sequence[str]) -> list[int] | None:
        """Rows of its classifier for some classes; see `classifier_rows`."""
        return classifier_rows(self.class_names, class_ids=class_ids, class_names=class_names)


def classifier_rows(
    known: Sequence[str], *, class_ids: Sequence[str], class_names: Sequence[str]
) -> list[int] | None:
    """Rows of a classifier for some classes, or None unless it has every one of them.

    They are looked for by identifier and by name, whichever the classifier's own are known by.

    Args:
        known: Names or identifiers of the classifier's classes, in the order of its outputs.
        class_ids: Identifiers of the classes asked for; may be empty.
        class_names: Their names.
    """
    row_of = {name: row for row, name in enumerate(known)}
    for asked in (class_ids, class_names):
        if tuple(asked) == tuple(known):
            return list(range(len(asked)))
        is_unique = len(row_of) == len(known)
        if asked and is_unique and all(name in row_of for name in asked):
            return [row_of[name] for name in asked]
    return None


def open_start(name: str, *, space: str | None = None) -> Start:
    """Read a shipped supernet, a supernet's `.safetensors` file, or a pretrained network.

    Args:
        name: As `find_start` takes it.
        space: Search space to take it into, by name or TOML file: that of the start but for classes,
            resolutions and points; None for that of the start.

    Raises:
        ConfigError: There is no such start, or the space has other weights.
        SpaceError: There is no such space.
        CheckpointError: A file is missing, damaged, or does not fit its space.
    """
    found = named_start(name)
    start = _of_supernet(name, found) if isinstance(found, SupernetFiles) else _of_pretrained(name, found)
    if space is None:
        return start
    named = SearchSpace.load(space)
    check_space(named, start.space, start=start.name)
    return replace(start, space=named.with_classes(start.space.classes))


def start_supernet(
    start: Start, *, class_ids: Sequence[str], class_names: Sequence[str], generator: torch.Generator
) -> Supernet:
    """Make a supernet that computes what its start does.

    Kernels larger than the start's are its own with zeros around. Middle channels are sorted by importance,
    unless the start is a supernet, whose narrow subnets rely on their order. The classifier keeps the rows of
    the classes asked for if the start knows them all, else it starts anew.

    Args:
        start: Weights to copy.
        class_ids: Identifiers of the classes in the order of the outputs; may be empty.
        class_names: Their names.
        generator: Source of what is not taken over.

    Raises:
        CheckpointError: The tensors do not fit the space.
    """
    supernet = Supernet(start.space.with_classes(len(class_names)), generator)
    own = supernet.state_dict()
    _check_keys(start, set(own))
    rows = start.rows_of(class_ids=class_ids, class_names=class_names)
    with torch.no_grad():
        for key, value in _fit_classifier(start, rows).items():
            _copy_centred(value, own[key], f"{start.name}: {key}")
    if not start.is_sorted:
        sort_channels(supernet)
    return supernet


def _of_supernet(name: str, files: SupernetFiles) -> Start:
    supernet, card = load_supernet(files)
    return Start(
        name=f"{name} (weights {card.sha256[:12]})",
        space=card.space,
        data=card.data,
        class_names=card.class_names,
        input_mean=card.input_mean,
        input_std=card.input_std,
        tensors=supernet.state_dict(),
        is_sorted=True,
        files=files,
        image_size=card.image_size,
        licence=card.licence,
        fit=card.fit,
    )


def _of_pretrained(name: str, network: PretrainedNetwork) -> Start:
    own = getattr(network, "CLASSES", None)
    if own is not None and not (isinstance(own, tuple | list) and own and all(map(_is_name, own))):
        raise ConfigError(f"{name}: CLASSES is {own!s:.100}; expected a tuple of names of classes")
    if not isinstance(network.SPACE, str | Path):
        raise ConfigError(f"{name}: SPACE is {network.SPACE!s:.100}; expected the name or file of a space")
    class_names = imagenet_class_ids() if own is None else tuple(own)
    space = SearchSpace.load(network.SPACE).with_classes(len(class_names))
    for key in ("INPUT_MEAN", "INPUT_STD"):
        _check_channels(getattr(network, key), space.channels, where=f"{name}: {key}")
    tensors = network.tensors()
    _check_tensors(tensors, where=name)
    return Start(
        name=name,
        space=space,
        data="imagenet" if own is None else name,
        class_names=class_names,
        input_mean=tuple(network.INPUT_MEAN),
        input_std=tuple(network.INPUT_STD),
        tensors=tensors,
        is_sorted=False,
        licence=_licence(name, network),
    )


def _licence(name: str, network: PretrainedNetwork) -> str:
    licence = getattr(network, "LICENCE", "")
    if not isinstance(licence, str) or not licence.isprintable():
        raise ConfigError(f"{name}: LICENCE is {licence!r:.100}; expected printable text")
    return licence


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _check_channels(value: object, channels: int, *, where: str) -> None:
    """Refuse what is no mean or standard deviation of the channels of the input."""
    least = 0.0 if where.endswith("INPUT_STD") else -LARGEST
    if (
        not isinstance(value, tuple | list)
        or len(value) != channels
        or not all(isinstance(one, int | float) and least <= one <= LARGEST for one in value)
        or (least == 0.0 and 0.0 in value)
    ):
        above = " above 0" if least == 0.0 else ""
        raise ConfigError(f"{where} is {value!s:.100}; expected a tuple of {channels} numbers{above}")


def _check_tensors(tensors: object, *, where: str) -> None:
    """Refuse what a supernet of it could not be read with again."""
    if not isinstance(tensors, dict):
        raise ConfigError(f"{where}: tensors() gives {type(tensors).__name__}; expected a dict of tensors")
    for key, value in tensors.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            raise CheckpointError(
                f"{where}: {key} is {type(value).__name__}; expected a dense tensor in memory"
            )
        is_counter = str(key).endswith(".num_batches_tracked")
        check_numbers(value, str(key), dtype=torch.int64 if is_counter else torch.float32, where=where)


def _check_keys(start: Start, own: set[str]) -> None:
    """Refuse tensors that are unknown or missing; kernel transforms and counters have a first value."""
    for key in sorted(start.tensors.keys() - own, key=str):
        raise CheckpointError(f"{start.name}: tensor {key} is unknown to {start.space.name}")
    for key in sorted(own - start.tensors.keys()):
        if ".transforms." not in key and not key.endswith(".num_batches_tracked"):
            raise CheckpointError(f"{start.name}: tensor {key} is missing")


def _fit_classifier(start: Start, rows: list[int] | None) -> dict[str, Tensor]:
    """The tensors to copy: all, but of the classifier only some rows, or nothing."""
    keys = [key for key in start.tensors if key.startswith("layers.classifier.")]
    for key in keys:
        rows_there = sum(start.tensors[key].shape[:1])
        if rows_there != start.space.classes:
            raise CheckpointError(
                f"{start.name}: {key} has {rows_there} rows for {start.space.classes} classes; "
                "CLASSES in the module of a network tells those that are not ImageNet's"
            )
    if rows is None:
        return {key: value for key, value in start.tensors.items() if key not in keys}
    return start.tensors | {key: start.tensors[key][rows] for key in keys}


def _copy_centred(source: Tensor, target: Tensor, where: str) -> None:
    """Copy a tensor, smaller kernels into the middle of larger ones, with zeros around."""
    is_kernel = source.ndim == target.ndim == 4
    if source.shape[:2] != target.shape[:2] or (not is_kernel and source.shape != target.shape):
        raise CheckpointError(f"{where} has shape {tuple(source.shape)}; {tuple(target.shape)} is needed")
    if not is_kernel:
        target.copy_(source)
        return
    sizes = source.shape[2:]
    margins = [(wanted - size) // 2 for size, wanted in zip(sizes, target.shape[2:], strict=True)]
    if min(margins) < 0:
        raise CheckpointError(f"{where} has a kernel larger than the space's {target.shape[-1]}")
    if any((wanted - size) % 2 for size, wanted in zip(sizes, target.shape[2:], strict=True)):
        raise CheckpointError(
            f"{where} has a kernel of {sizes[-1]}, which has no place in the middle of one of "
            f"{target.shape[-1]}"
        )
    rows, columns = (slice(margin, margin + size) for margin, size in zip(margins, sizes, strict=True))
    target.zero_()
    target[..., rows, columns].copy_(source)
