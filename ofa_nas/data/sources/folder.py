"""A folder of the user's own: one sub-folder of images per class, split already or not."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_nas.data import Source
from ofa_nas.data.files import (
    file_source,
    list_folder,
    list_images,
    writable_names,
)
from ofa_nas.data.image_files import IMAGE_SUFFIXES
from ofa_nas.data.sources import listed, share_of, warn_once
from ofa_nas.errors import DataError

DEFAULT_FOLDERS: tuple[str, ...] = ()
ADDRESS = ""
CHECKSUM = ""
VAL_SHARE = 0.1


def is_layout(root: Path) -> bool:
    """Whether a folder has sub-folders, which are then its classes or its splits."""
    return root.is_dir() and any(path.is_dir() for path in root.iterdir())


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val` of `root/{train,val}/<class>/*` or, cut 90 to 10, of `root/<class>/*`.

    The cut is by a hash of class and file name: an image stays on its side when others come and go. Where no
    image of a class falls to `val`, the one of the lowest hash does, until there is a lower one.
    A folder `train` with no folder in it is a class of that name. What is not read is logged, and classes of
    so few images.

    Raises:
        DataError: There are no classes, or others in `val`; or `val` has another name.
    """
    has_splits = (root / "train").is_dir() and any(path.is_dir() for path in list_folder(root / "train"))
    if has_splits and (root / "val").is_dir():
        _tell_siblings(root)
        train, val = _classes(root / "train"), _classes(root / "val")
        if set(train) != set(val):
            name = min(set(train) ^ set(val))
            raise DataError(
                f"{root}: class {name!r} is in one of train and val only; both need the same classes"
            )
    else:
        if has_splits:
            _check_siblings(root)
        both = _classes(root / "train" if has_splits else root)
        val = {name: _val_part(paths) for name, paths in both.items()}
        train = {name: sorted(set(both[name]).difference(val[name])) for name in both}
        alone = [name for name in both if not val[name]]
        if 0 < len(alone) < len(both):
            warn_once(f"{root}: not held out, one image only: {listed(map(repr, alone))}")
        few = [name for name in both if any(_share(path) >= VAL_SHARE for path in val[name])]
        if few:
            told = listed(map(repr, few))
            warn_once(f"{root}: few images; the one held out may change sides when others come: {told}")
    return {"train": _source(root, train), "val": _source(root, val)}


def _check_siblings(root: Path) -> None:
    """Refuse images beside those of `train` where there is no `val`: nobody would look at them."""
    for name in _siblings(root):
        raise DataError(
            f"{root}: train and {name} have the same classes, and there is no val; rename {name} to val, "
            f"or give {root / 'train'} alone, of which a tenth is held out"
        )


def _tell_siblings(root: Path) -> None:
    """Tell of images beside those of `train` and `val`."""
    for name in sorted(set(_siblings(root)) - {"val"}):
        warn_once(
            f"{root}: {name} is not read; ofa-nas evaluate --data {root / name} --split all judges by it"
        )


def _siblings(root: Path) -> Iterator[str]:
    """Folders beside `train` that have a class of it."""
    own = set(_folder_names(root / "train"))
    for name in _folder_names(root):
        if name != "train" and own.intersection(_folder_names(root / name)):
            yield name


def _folder_names(root: Path) -> list[str]:
    return [path.name for path in list_folder(root) if path.is_dir()]


def _classes(root: Path) -> dict[str, list[Path]]:
    classes = {name: list_images(root / name) for name in _folder_names(root)}
    if len(classes) < 2:
        raise DataError(
            f"{root}: {len(classes)} sub-folders; expected one folder of images per class, 2 or more"
        )
    ignored = Counter(
        _kind(path)
        for name, images in classes.items()
        for path in sorted(set(list_folder(root / name)).difference(images))
    )
    outside = [path for path in list_folder(root) if path.suffix.lower() in IMAGE_SUFFIXES]
    ignored += Counter(f"{_kind(path)} outside a class" for path in outside if path.is_file())
    if ignored:
        told = listed(f"{kind} ({count})" for kind, count in ignored.most_common())
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        warn_once(
            f"{root}: not read: {told}; expected images ({suffixes}) right in the folder of their class"
        )
    return classes


def _kind(path: Path) -> str:
    """What a path that is no image is counted as: the end of a file's name, if it may be shown."""
    end = path.suffix.lower()
    if path.is_dir():
        return "folders"
    return end if end[1:].isascii() and end[1:].isalnum() else "others"


def _val_part(paths: list[Path]) -> list[Path]:
    shares = {path: _share(path) for path in paths}
    ranked = sorted(paths, key=shares.__getitem__)
    chosen = {path for path in ranked[:-1] if shares[path] < VAL_SHARE}
    if len(ranked) >= 2:
        chosen.add(ranked[0])
    return sorted(chosen)


def _share(path: Path) -> float:
    """A number in [0, 1) that class and file name alone decide."""
    return share_of(f"{path.parent.name}/{path.name}")


def _source(root: Path, classes: dict[str, list[Path]]) -> Source:
    names = writable_names(sorted(classes), str(root))
    paths = [path for name in names for path in classes[name]]
    if not paths:
        raise DataError(f"{root}: every class has one image only; at least one needs two, to put one aside")
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(classes[name]) for name in names])
    return file_source(paths, labels, names)
