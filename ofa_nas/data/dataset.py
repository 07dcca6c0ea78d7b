"""Open a data set by its name, by `name=folder`, or by its folder alone; of signals, in any windows."""

import hashlib
import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ofa_nas.data import DataSet, Source
from ofa_nas.data.files import MAX_SIZE_PX
from ofa_nas.data.image_files import median_side_px
from ofa_nas.data.sources import ATTRIBUTES, SourcePlugin
from ofa_nas.data.windows import USUAL, Trained, Windows, split_windows, windows_like
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.plugins import load_complete, plugin_names
from ofa_nas.supernet_card import CROP, Fit

ROOT_VARIABLE = "OFA_NAS_DATA"
_ANY_FOLDER = "folder"


def open_data(text: str) -> DataSet:
    """Open a data set; nothing is decoded yet.

    Args:
        text: A plug-in (`tiny_imagenet`), looked for below $OFA_NAS_DATA; a plug-in and its folder
            (`cifar10=some/folder`); or a folder, known by its marker files, else one class per sub-folder.
            Behind it `@WINDOW/HOP`, for signals in other windows than the usual ones (`hapt@256/128`).

    Raises:
        ConfigError: There is no such plug-in or folder; the message says where the data are to be had.
        DataError: A file of the data set is missing or wrong.
    """
    try:
        return _open_text(*split_windows(text))
    except OSError as error:
        raise DataError(f"data {text[:200]}: cannot be read: {error}") from error


def open_like(data: str, network: Trained | None, *, fit: Fit | None = None) -> DataSet:
    """Open a data set as a network sees it: signals in the windows of its own, images squared as those were.

    Args:
        data: As `open_data` takes it.
        network: By its card or with its weights; None for one that sees images as is usual.
        fit: Instead of the network's.

    Raises:
        ConfigError: There are no such data.
        DataError: They are damaged, or signals, which have no fit.
    """
    found = open_data(data if network is None else windows_like(data, network))
    train, val = (fitted(source, network, fit=fit) for source in (found.train, found.val))
    return replace(found, train=train, val=val)


def fitted(source: Source, network: Trained | None, *, fit: Fit | None = None) -> Source:
    """A split whose images become square as those of a network did; see `open_like`.

    Where all of an image is seen, it is packed by its long side.

    Raises:
        DataError: The split is of signals, and a fit is asked for.
    """
    if source.axes == 1:
        if fit is not None:
            raise DataError(f"--fit {fit} is how images become square, and the data are signals")
        return source
    own = CROP if network is None else network.fit
    source = replace(source, fit=fit or own)
    if source.fit == CROP or source.encoded is None:
        return source
    return source.at_least(min(median_side_px(source), MAX_SIZE_PX))


def _open_text(text: str, windows: Windows) -> DataSet:
    name, equals, folder = text.partition("=")
    if text in plugin_names("data.sources"):
        return _open(text, default_root(text), windows)
    if Path(text).is_dir():
        root = Path(text)
        return _open(_recognise(root), root, windows)
    if equals and "/" not in name:
        if not Path(folder).is_dir():
            raise ConfigError(f"data {text[:200]}: {folder[:200]!r} is no folder")
        return _open(name, Path(folder), windows)
    if Path(text).exists():
        raise ConfigError(f"data {text[:200]}: is a file; {_expected()}")
    if "." not in text or "/" in text or os.sep in text:
        raise ConfigError(f"data {text[:200]!r}: no such folder; {_expected()}")
    try:
        _load(text)
    except ConfigError as error:
        raise ConfigError(f"data {text[:200]}: no such folder, and {error}; {_expected()}") from error
    return _open(text, default_root(text), windows)


def _expected() -> str:
    names = ", ".join(name for name in plugin_names("data.sources") if name != _ANY_FOLDER)
    return f"expected a folder with one sub-folder per class, or one of {names}"


def default_root(name: str) -> Path:
    """Folder in which a data set known by name lies.

    Raises:
        ConfigError: It is nowhere; the message names the variable, the address and the checksum.
    """
    plugin = _load(name)
    base = os.environ.get(ROOT_VARIABLE, "")
    folders = [Path(base) / folder for folder in plugin.DEFAULT_FOLDERS if base or Path(folder).is_absolute()]
    package = _package_folder(getattr(plugin, "PACKAGE", ""))
    folders += [package] if package else []
    for folder in folders:
        if folder.is_dir():
            return folder
    if not plugin.DEFAULT_FOLDERS:
        raise ConfigError(f"data {name}: give its folder, as in {name}=FOLDER")
    if not base and hasattr(plugin, "PACKAGE"):
        raise ConfigError(
            f"data {name}: not installed; it comes with {plugin.ADDRESS}, or give {name}=FOLDER"
        )
    tried = f"not in {', '.join(map(str, folders))}" if folders else f"${ROOT_VARIABLE} is not set"
    checksum = f" ({plugin.CHECKSUM})" if plugin.CHECKSUM else ""
    raise ConfigError(
        f"data {name}: {tried}; unpack {plugin.ADDRESS}{checksum} and set {ROOT_VARIABLE} to the folder "
        f"above {plugin.DEFAULT_FOLDERS[0]}, or give {name}=FOLDER"
    )


def _package_folder(package: str) -> Path | None:
    """Folder of an installed package that holds a data set; it is looked up, and not imported."""
    spec = importlib.util.find_spec(package) if package else None
    places = None if spec is None else spec.submodule_search_locations
    return Path(places[0]) if places else None


def _load(name: str) -> SourcePlugin:
    return cast(SourcePlugin, load_complete("data.sources", name, ATTRIBUTES, what="a data set"))


def _recognise(root: Path) -> str:
    names = [name for name in plugin_names("data.sources") if name != _ANY_FOLDER]
    return next((name for name in names if _load(name).is_layout(root)), _ANY_FOLDER)


def _open(name: str, root: Path, windows: Windows) -> DataSet:
    plugin = _load(name)
    if windows == USUAL:
        splits = plugin.splits(root)
    elif hasattr(plugin, "windowed_splits"):
        splits = plugin.windowed_splits(root, windows)
    else:
        why = "the module lacks windowed_splits" if "." in name else "these are images"
        raise ConfigError(f"data {name}: windows ({windows}) are cut from signals, and {why}")
    place = f"{name}\n{root.resolve()}\n{windows}"
    train, val = (
        _with_origin(source, f"{place}\n{split}")
        for source, split in zip(_two_splits(splits, name), ("train", "val"), strict=True)
    )
    if train.class_names != val.class_names:
        raise DataError(f"{root}: train and val name different classes")
    own = root.resolve().name if name == _ANY_FOLDER else name
    return DataSet(name=own if windows == USUAL else f"{own}{windows}", train=train, val=val)


def _two_splits(splits: Any, name: str) -> tuple[Source, Source]:
    """Train and val of what a plug-in gave."""
    if isinstance(splits, dict):
        train, val = splits.get("train"), splits.get("val")
        if isinstance(train, Source) and isinstance(val, Source):
            return train, val
    found = ", ".join(map(str, splits)) if isinstance(splits, dict) else type(splits).__name__
    raise ConfigError(f"{name}: splits: gave {found}; expected a Source for each of train and val")


def _with_origin(source: Source, place: str) -> Source:
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")) for text in (place, source.digest))
    return replace(source, origin="-".join(digest.hexdigest()[:24] for digest in digests))
