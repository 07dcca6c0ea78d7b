"""Samples that ship: image bytes kept as they were, few of every class."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ofa_nas.data.dataset import open_data
from ofa_nas.data.files import array_source
from ofa_nas.data.sample import balanced_indices, decode, load_images, load_sample, save_sample
from ofa_nas.errors import DataError

WriteLayout = Callable[[str], Path]


def test_sample_keeps_the_original_bytes(write_layout: WriteLayout, tmp_path: Path) -> None:
    train = open_data(str(write_layout("tiny_imagenet"))).train
    indices = np.array([7, 0, 4])
    save_sample(tmp_path / "sample.npz", train, indices)
    sample = load_sample(tmp_path / "sample.npz")
    assert sample.labels.tolist() == train.labels[indices].tolist()
    assert sample.class_names == train.class_names
    assert sample.size_px == 64
    assert sample.encoded is not None
    assert train.encoded is not None
    assert [sample.encoded(index) for index in range(3)] == [train.encoded(int(index)) for index in indices]


def test_sample_of_decoded_images_loses_nothing(write_layout: WriteLayout, tmp_path: Path) -> None:
    val = open_data(str(write_layout("cifar10"))).val
    save_sample(tmp_path / "sample.npz", val, np.arange(len(val)))
    packed = load_images(tmp_path / "sample.npz")
    assert packed.images.shape == (len(val), 32, 32, 3)
    assert all(np.array_equal(packed.images[index], val.pixels(index)) for index in range(len(val)))


def test_photographs_are_cut_to_the_packed_size(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(3):
            Image.effect_noise((900, 700), 80).save(tmp_path / "photos" / name / f"{index}.png")
    train = open_data(str(tmp_path / "photos")).train
    save_sample(tmp_path / "sample.npz", train, np.arange(len(train)))
    assert load_images(tmp_path / "sample.npz").images.shape[1:] == (256, 256, 3)


def test_a_split_is_decoded_into_memory_once() -> None:
    labels = np.zeros(100, np.int64)
    source = array_source(np.zeros((100, 64, 64, 3), np.uint8), labels, ("a", "b"), digest="")
    source = replace(source, pixels=lambda index: np.full((64, 64, 3), index, np.uint8))
    tracemalloc.start()
    decoded = decode(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded.images[:, 5, 6, 2].tolist() == list(range(100))
    assert peak < 1.1 * decoded.images.nbytes


def test_empty_sample_is_refused(write_layout: WriteLayout, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one image"):
        save_sample(tmp_path / "s.npz", open_data(str(write_layout("cifar10"))).val, np.arange(0))


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    per_class=st.integers(0, 12),
    seed=st.integers(0, 99),
)
def test_balanced_indices_take_the_same_number_of_every_class(
    labels: list[int], per_class: int, seed: int
) -> None:
    array = np.array(labels, np.int64)
    indices = balanced_indices(array, per_class, np.random.default_rng(seed))
    assert len(set(indices.tolist())) == len(indices)
    wanted = np.minimum(np.bincount(array, minlength=6), per_class)
    assert np.array_equal(np.bincount(array[indices], minlength=6), wanted)
    assert np.array_equal(indices, balanced_indices(array, per_class, np.random.default_rng(seed)))


def test_samples_and_packs_do_without_torch() -> None:
    code = "import sys, ofa_nas.data.sample, ofa_nas.data.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
