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

from ofa_nas.data import Source
from ofa_nas.data.dataset import fitted, open_data
from ofa_nas.data.files import array_source
from ofa_nas.data.sample import (
    balanced_indices,
    decode,
    in_sample,
    load_images,
    load_sample,
    proportional_indices,
    save_sample,
)
from ofa_nas.errors import DataError
from ofa_nas.supernet_card import Fit
from ofa_nas.training.splits import held_out_half

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


@pytest.mark.parametrize("side_px", [100, 400])
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_sample_of_images_that_are_not_cropped_looks_like_them(
    fit: Fit, side_px: int, tmp_path: Path
) -> None:
    write_photographs(tmp_path / "photos", count=3, size=(side_px // 2, side_px))
    train = fitted(open_data(str(tmp_path / "photos")).train, None, fit=fit)
    assert train.size_px == min(side_px, 256)
    save_sample(tmp_path / "sample.npz", train, np.arange(len(train)))
    difference = load_images(tmp_path / "sample.npz").images - decode(train).images.astype(int)
    assert abs(difference).mean() <= (0 if side_px == 100 else 25)  # of noise, JPEG keeps less
    assert in_sample(tmp_path / "sample.npz", train).all()


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


def write_photographs(folder: Path, *, count: int, size: tuple[int, int] = (300, 280)) -> None:
    rng = np.random.default_rng(count)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{count}-{index}.png")


def test_images_of_a_sample_are_known_wherever_they_stand(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photos", count=20)
    before = open_data(str(tmp_path / "photos")).train
    chosen = np.array([9, 2, 5])
    save_sample(tmp_path / "sample.npz", before, chosen)
    known = in_sample(tmp_path / "sample.npz", before)
    assert np.flatnonzero(known).tolist() == [2, 5, 9]
    assert before.encoded is not None
    kept = {before.encoded(int(index)) for index in chosen}
    write_photographs(tmp_path / "photos", count=40, size=(90, 90))  # and the packed size is another one
    after = open_data(str(tmp_path / "photos")).train
    assert after.size_px == 90
    assert after.encoded is not None
    known = in_sample(tmp_path / "sample.npz", after)
    assert {after.encoded(int(index)) for index in np.flatnonzero(known)} == kept


def test_samples_of_before_tell_their_images_by_the_bytes_that_they_keep(
    write_layout: WriteLayout, tmp_path: Path
) -> None:
    val = open_data(str(write_layout("tiny_imagenet"))).val
    save_sample(tmp_path / "new.npz", val, np.array([2, 0]))
    with np.load(tmp_path / "new.npz") as arrays:
        np.savez(tmp_path / "old.npz", **{key: arrays[key] for key in arrays.files if key != "digest"})
    assert np.flatnonzero(in_sample(tmp_path / "old.npz", val)).tolist() == [0, 2]


def test_images_without_files_are_told_by_their_pixels(write_layout: WriteLayout, tmp_path: Path) -> None:
    val = open_data(str(write_layout("cifar10"))).val
    save_sample(tmp_path / "sample.npz", val, np.array([1]))
    assert np.flatnonzero(in_sample(tmp_path / "sample.npz", val)).tolist() == [1]


def signals(people: dict[int, int]) -> Source:
    """Two windows of each person, of noise that is the person's own."""
    windows = np.concatenate(
        [np.random.default_rng(own).normal(size=(2, 1, 8, 2)) for own in people.values()]
    )
    return Source(
        labels=np.zeros(len(windows), np.int64),
        class_names=("a",),
        size_px=8,
        digest="",
        pixels=lambda index: windows[index].astype(np.float32),
        axes=1,
        channels=2,
        groups=np.repeat(list(people), 2),
    )


def test_a_person_of_whom_a_window_is_known_is_known_whole(tmp_path: Path) -> None:
    before = signals({1: 1, 2: 2, 3: 3})
    save_sample(tmp_path / "sample.npz", before, np.array([2]))
    assert np.flatnonzero(in_sample(tmp_path / "sample.npz", before)).tolist() == [2, 3]
    others = signals({1: 1, 2: 9, 3: 2})  # another study, whose third person happens to show the same
    assert np.flatnonzero(in_sample(tmp_path / "sample.npz", others)).tolist() == [4]
    assert np.flatnonzero(in_sample(tmp_path / "sample.npz", signals({2: 2}))).tolist() == [0]


@pytest.mark.parametrize(
    "digest", [np.zeros((2, 32), np.uint8), np.zeros((3, 16), np.uint8), np.zeros((3, 32), np.int64)]
)
def test_a_sample_whose_digests_are_none_is_refused(
    digest: np.ndarray, write_layout: WriteLayout, tmp_path: Path
) -> None:
    val = open_data(str(write_layout("tiny_imagenet"))).val
    save_sample(tmp_path / "sample.npz", val, np.arange(3))
    with np.load(tmp_path / "sample.npz") as arrays:
        np.savez(tmp_path / "bad.npz", **{**arrays, "digest": digest})
    with pytest.raises(DataError, match=r"bad.npz: digest is .*, not uint8 \(3, 32\)"):
        in_sample(tmp_path / "bad.npz", val)


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


@given(
    counts=st.lists(st.integers(0, 400), min_size=2, max_size=9).filter(any),
    most=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_proportional_indices_take_of_every_class_its_share(counts: list[int], most: int, seed: int) -> None:
    there = np.array(counts)
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(there)), there))
    indices = proportional_indices(labels, most, np.random.default_rng(seed), counts=there)
    assert len(set(indices.tolist())) == len(indices)
    taken = np.bincount(labels[indices], minlength=len(there))
    if len(labels) <= most:
        assert np.array_equal(taken, there)
    else:
        shares = min(1.0, (most + len(there) - 1) / len(labels)) * there
        assert ((taken > 0) == (there > 0)).all()
        assert (taken <= np.maximum(1.0, shares + 0.5)).all()
        assert (taken >= most / len(labels) * there - 0.5).all()


@given(
    classes=st.integers(2, 9),
    of_each=st.integers(2, 60),
    most=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_proportional_indices_of_classes_of_one_size_are_the_balanced_ones(
    classes: int, of_each: int, most: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), of_each))
    val = Source(labels, tuple("abcdefghi"[:classes]), 8, "", lambda _: np.zeros((8, 8, 3), np.uint8))
    half = labels[held_out_half(val)]
    per_class = -(-most // classes)
    found = proportional_indices(half, most, np.random.default_rng(seed), counts=np.bincount(labels))
    assert np.array_equal(found, balanced_indices(half, per_class, np.random.default_rng(seed)))


def test_samples_and_packs_do_without_torch() -> None:
    code = "import sys, ofa_nas.data.sample, ofa_nas.data.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
