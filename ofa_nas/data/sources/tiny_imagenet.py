"""Tiny-ImageNet-200: 100,000 + 10,000 images of 200 ImageNet classes, 64 px.

Read from the official folder or from `train.npz` and `val.npz`, which hold the same JPEG files.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ofa_nas.data import Source
from ofa_nas.data.files import check_names, file_source, list_images, pack_source, read_lines, read_npz
from ofa_nas.errors import DataError

DEFAULT_FOLDERS = ("tiny-imagenet-200",)
ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
CHECKSUM = "md5:90528d7ca1a48142e341f4ef8d21d0de"
SIZE_PX = 64


def is_layout(root: Path) -> bool:
    """Whether a folder holds Tiny-ImageNet, told by `wnids.txt` or the two packs."""
    return (root / "wnids.txt").is_file() or _has_packs(root)


def splits(root: Path) -> dict[str, Source]:
    """The splits `train` and `val`; classes are in the order of their WordNet identifiers."""
    if _has_packs(root):
        return {split: _packed(root / f"{split}.npz") for split in ("train", "val")}
    wnids = sorted({line.strip() for line in read_lines(root / "wnids.txt") if line.strip()})
    if not wnids:
        raise DataError(f"{root / 'wnids.txt'}: empty; expected one WordNet identifier a line")
    if strange := [wnid for wnid in wnids if not wnid.isalnum()]:  # each is the name of a folder
        raise DataError(
            f"{root / 'wnids.txt'}: {strange[0]!r:.80} is no WordNet identifier such as n01443537"
        )
    words = _read_words(root / "words.txt")
    class_names = tuple(words.get(wnid, wnid) for wnid in wnids)
    both = {"train": _train(root, wnids, class_names), "val": _val(root, wnids, class_names)}
    return {split: replace(source, class_ids=tuple(wnids)) for split, source in both.items()}


def _packed(path: Path) -> Source:
    source = pack_source(path, names_key="names", size_px=SIZE_PX)
    class_ids = check_names(read_npz(path, ("wnid",))["wnid"], f"{path}: wnid")
    if len(class_ids) != len(source.class_names):
        raise DataError(f"{path}: {len(class_ids)} identifiers for {len(source.class_names)} classes")
    return replace(source, class_ids=class_ids)


def _has_packs(root: Path) -> bool:
    return (root / "train.npz").is_file() and (root / "val.npz").is_file()


def _read_words(path: Path) -> dict[str, str]:
    words = {}
    for number, line in enumerate(read_lines(path), 1):
        wnid, tab, name = line.partition("\t")
        if not tab:
            raise DataError(f"{path}:{number}: {line[:60]!r} is not `identifier TAB name`")
        words[wnid] = name
    return words


def _train(root: Path, wnids: list[str], class_names: tuple[str, ...]) -> Source:
    paths: list[Path] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        images = list_images(root / "train" / wnid / "images")
        paths += images
        labels += [label] * len(images)
    return file_source(paths, np.array(labels, np.int64), class_names, size_px=SIZE_PX)


def _val(root: Path, wnids: list[str], class_names: tuple[str, ...]) -> Source:
    annotations = root / "val" / "val_annotations.txt"
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    paths: list[Path] = []
    labels: list[int] = []
    for number, line in enumerate(read_lines(annotations), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0]
        if wnid not in label_of or not name or Path(name).name != name:
            raise DataError(
                f"{annotations}:{number}: {line[:60]!r} is not `file TAB identifier`, "
                "with an identifier of wnids.txt"
            )
        paths.append(root / "val" / "images" / name)
        labels.append(label_of[wnid])
    if not paths:
        raise DataError(f"{annotations}: empty; expected one image a line")
    return file_source(paths, np.array(labels, np.int64), class_names, size_px=SIZE_PX)
