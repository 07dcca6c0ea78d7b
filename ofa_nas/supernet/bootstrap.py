"""Start a supernet from what exists: another supernet, or a pretrained static network."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofa_nas.assets import asset_names
from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.plugins import load_plugin, plugin_names
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.pretrained import ATTRIBUTES, PretrainedNetwork, imagenet_class_ids
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetFiles, supernet_names

_PLUGINS = "supernet.pretrained"
_WEIGHTS = ".safetensors"


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

    def rows_of(self, *, class_ids: Sequence[str], class_names: Sequence[str]) -> list[int] | None:
        """Rows of the classifier for some classes, or None unless it has every one of them.

        They are looked for by identifier and by name, whichever the start knows its own classes by.
        """
        row_of = {name: row for row, name in enumerate(self.class_names)}
        for asked in (class_ids, class_names):
            if tuple(asked) == self.class_names:
                return list(range(len(asked)))
            is_unique = len(row_of) == len(self.class_names)
            if asked and is_unique and all(name in row_of for name in asked):
                return [row_of[name] for name in asked]
        return None

    def check_space(self, space: SearchSpace) -> None:
        """Refuse another space than that of these weights; the number of classes may differ.

        Raises:
            ConfigError: Shows both spaces where they first differ.
        """
        own = self.space.with_classes(space.classes)
        if own.digest == space.digest:
            return
        here, there = dict(_leaves(own.to_document())), dict(_leaves(space.to_document()))
        key = next(
            key
            for key in (*here, *there)
            if here.get(key) != there.get(key) and key not in ("name", "description", "source")
        )
        raise ConfigError(
            f"{self.name} starts a supernet of the space {own.name}, not of {space.name}: "
            f"{key} is {here.get(key, 'absent')}, not {there.get(key, 'absent')}; "
            "leave --space out to take the space of the start"
        )


def open_start(name: str) -> Start:
    """Read a shipped supernet, a supernet's `.safetensors` file, or a pretrained network.

    Args:
        name: Shipped supernet, path, plug-in of `ofa_nas.supernet.pretrained`, or its dotted path.

    Raises:
        ConfigError: There is no such start.
        CheckpointError: A file is missing, damaged, or does not fit its space.
    """
    startable = asset_names("supernets", suffix=_WEIGHTS)
    expected = (
        f"supernets: {', '.join(startable) or 'none'}, or the path of a {_WEIGHTS} file; "
        f"pretrained networks: {', '.join(plugin_names(_PLUGINS))}, or the dotted path of a module of your "
        "own"
    )
    is_file = os.path.isfile(name)  # noqa: PTH113 - Path would raise for a name that is too long
    if is_file and not name.endswith(_WEIGHTS):
        raise ConfigError(f"--from {name[:200]}: is no {_WEIGHTS} file; {expected}")
    if name in supernet_names() or name.endswith(_WEIGHTS) or os.sep in name:
        return _of_supernet(name)
    if name not in plugin_names(_PLUGINS) and "." not in name:
        raise ConfigError(f"--from {name[:200]}: no such start; {expected}")
    try:
        network = load_plugin(_PLUGINS, name)
    except ConfigError as error:
        raise ConfigError(f"--from {name[:200]}: no such start, and {error}; {expected}") from error
    return _of_pretrained(name, network)


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


def _of_supernet(name: str) -> Start:
    files = SupernetFiles.find(name)
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
    )


def _of_pretrained(name: str, network: PretrainedNetwork) -> Start:
    missing = [attribute for attribute in ATTRIBUTES if not hasattr(network, attribute)]
    if missing:
        raise ConfigError(f"--from {name}: not a pretrained network: the module lacks {', '.join(missing)}")
    return Start(
        name=name,
        space=SearchSpace.load(network.SPACE).with_classes(len(imagenet_class_ids())),
        data="imagenet",
        class_names=imagenet_class_ids(),
        input_mean=network.INPUT_MEAN,
        input_std=network.INPUT_STD,
        tensors=network.tensors(),
        is_sorted=False,
    )


def _check_keys(start: Start, own: set[str]) -> None:
    """Refuse tensors that are unknown or missing; kernel transforms and counters have a first value."""
    for key in sorted(start.tensors.keys() - own):
        raise CheckpointError(f"{start.name}: tensor {key} is unknown to {start.space.name}")
    for key in sorted(own - start.tensors.keys()):
        if ".transforms." not in key and not key.endswith(".num_batches_tracked"):
            raise CheckpointError(f"{start.name}: tensor {key} is missing")


def _fit_classifier(start: Start, rows: list[int] | None) -> dict[str, Tensor]:
    """The tensors to copy: all, but of the classifier only some rows, or nothing."""
    keys = [key for key in start.tensors if key.startswith("layers.classifier.")]
    if rows is None:
        return {key: value for key, value in start.tensors.items() if key not in keys}
    for key in keys:
        if len(start.tensors[key]) != start.space.classes:
            raise CheckpointError(
                f"{start.name}: {key} has {len(start.tensors[key])} rows for {start.space.classes} classes"
            )
    return start.tensors | {key: start.tensors[key][rows] for key in keys}


def _copy_centred(source: Tensor, target: Tensor, where: str) -> None:
    """Copy a tensor, smaller kernels into the middle of larger ones, with zeros around."""
    is_kernel = source.ndim == target.ndim == 4
    if source.shape[:2] != target.shape[:2] or (not is_kernel and source.shape != target.shape):
        raise CheckpointError(f"{where} has shape {tuple(source.shape)}; {tuple(target.shape)} is needed")
    if not is_kernel:
        target.copy_(source)
        return
    margin = (target.shape[-1] - source.shape[-1]) // 2
    if margin < 0:
        raise CheckpointError(f"{where} has a kernel larger than the space's {target.shape[-1]}")
    size = source.shape[-1]
    target.zero_()
    target[..., margin : margin + size, margin : margin + size].copy_(source)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value of a document with its key path, such as `stages.1.depths`."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = list(enumerate(value))
    else:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))
