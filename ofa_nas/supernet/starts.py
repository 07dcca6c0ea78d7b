"""What a supernet can start from, found by its text: no weights are read, and torch is not imported."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from ofa_nas.assets import asset_names
from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_complete, load_plugin, plugin_names
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.pretrained import ATTRIBUTES, PretrainedNetwork
from ofa_nas.supernet_card import SupernetCard, SupernetFiles, supernet_names

_PLUGINS = "supernet.pretrained"
_WEIGHTS = ".safetensors"
_NO_GEOMETRY = ("name", "description", "source", "points")


def find_start(text: str) -> SupernetFiles | PretrainedNetwork:
    """A shipped supernet, a supernet's `.safetensors` file, or a pretrained network.

    Args:
        text: Shipped supernet, path, plug-in of `ofa_nas.supernet.pretrained`, or its dotted path.

    Raises:
        ConfigError: There is no such start.
        CheckpointError: There is no such supernet.
    """
    name, startable = text[:200], asset_names("supernets", suffix=_WEIGHTS)
    expected = (
        f"supernets: {', '.join(startable) or 'none'}, or the path of a {_WEIGHTS} file; "
        f"pretrained networks: {', '.join(plugin_names(_PLUGINS))}, or the dotted path of a module of your "
        "own"
    )
    is_file = os.path.isfile(text)  # noqa: PTH113 - Path would raise for a name that is too long
    if is_file and not text.endswith(_WEIGHTS):
        raise ConfigError(f"{name}: is no {_WEIGHTS} file; {expected}")
    if text in supernet_names() or text.endswith(_WEIGHTS) or os.sep in text:
        return SupernetFiles.find(text)
    if text not in plugin_names(_PLUGINS) and "." not in text:
        raise ConfigError(f"{name}: no such start; {expected}")
    try:
        load_plugin(_PLUGINS, text)
    except ConfigError as error:
        raise ConfigError(f"{name}: no such start, and {error}; {expected}") from error
    return cast(PretrainedNetwork, load_complete(_PLUGINS, text, ATTRIBUTES, what="a pretrained network"))


def card_of_start(text: str) -> SupernetCard | None:
    """What is known of a supernet that a training starts from; None of a pretrained network.

    Raises:
        ConfigError: There is no such start.
        CheckpointError: There is no such supernet, or its card is damaged.
    """
    found = named_start(text)
    return SupernetCard.load(found.card) if isinstance(found, SupernetFiles) else None


def named_start(text: str) -> SupernetFiles | PretrainedNetwork:
    """What `--from` names; see `find_start`."""
    try:
        return find_start(text)
    except ConfigError as error:
        raise ConfigError(f"--from {error}") from error


def check_space(space: SearchSpace, own: SearchSpace, *, start: str) -> None:
    """Refuse a space of other weights than those of a start; classes, resolutions and points may differ.

    Args:
        space: That is asked for.
        own: That of the start.
        start: Its name, for the message.

    Raises:
        ConfigError: Shows both spaces where they first differ.
    """
    own = replace(own, classes=space.classes, resolutions=space.resolutions)
    if own.digest == space.digest:
        return
    here, there = dict(_leaves(own.to_document())), dict(_leaves(space.to_document()))
    key = next(
        key
        for key in (*here, *there)
        if here.get(key) != there.get(key) and key.split(".")[0] not in _NO_GEOMETRY
    )
    raise ConfigError(
        f"{start} starts a supernet of the space {own.name}, not of {space.name}: "
        f"{key} is {here.get(key, 'absent')}, not {there.get(key, 'absent')}; "
        "leave the space out to take that of the start"
    )


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
