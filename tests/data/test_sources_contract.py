"""What every data set plug-in keeps, whoever wrote it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.data.dataset import open_data
from ofa_nas.plugins import load_plugin, plugin_names

NAMES = plugin_names("data.sources")


@pytest.mark.parametrize("name", NAMES)
def test_splits_have_labels_in_range_and_images_or_windows(
    name: str, write_layout: Callable[[str], Path]
) -> None:
    splits = load_plugin("data.sources", name).splits(write_layout(name))
    assert set(splits) == {"train", "val"}
    for source in splits.values():
        assert source.labels.dtype == np.int64
        assert source.labels.shape == (len(source),)
        assert len(source) > 0
        assert set(source.labels) <= set(range(len(source.class_names)))
        for index in range(len(source)):
            pixels = source.pixels(index)
            assert pixels.dtype == (np.uint8 if source.axes == 2 else np.float32)
            assert pixels.ndim == 3
            assert pixels.shape[2] == source.channels
            assert source.axes == 2 or pixels.shape[:2] == (1, source.size_px)
        assert source.size_px > 0


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_their_classes_and_no_image(name: str, write_layout: Callable[[str], Path]) -> None:
    splits = load_plugin("data.sources", name).splits(write_layout(name))
    train, val = splits["train"], splits["val"]
    assert train.class_names == val.class_names
    seen = [{source.pixels(index).tobytes() for index in range(len(source))} for source in (train, val)]
    assert len(seen[0]) == len(train)
    assert not seen[0] & seen[1]
    assert train.digest != val.digest


@pytest.mark.parametrize("name", NAMES)
def test_digest_stays_until_a_file_changes(name: str, write_layout: Callable[[str], Path]) -> None:
    root = write_layout(name)
    plugin = load_plugin("data.sources", name)
    first, second = plugin.splits(root), plugin.splits(root)
    for split in ("train", "val"):
        assert first[split].digest == second[split].digest
        assert np.array_equal(first[split].labels, second[split].labels)
    for path in root.rglob("*"):
        if path.is_file():
            path.touch()
    assert plugin.splits(root)["train"].digest != first["train"].digest


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_recognised_without_its_name(name: str, write_layout: Callable[[str], Path]) -> None:
    root = write_layout(name)
    assert load_plugin("data.sources", name).is_layout(root)
    by_folder, by_name = open_data(str(root)), open_data(f"{name}={root}")
    assert by_folder.name == by_name.name == name
    assert by_folder.train.digest == by_name.train.digest
