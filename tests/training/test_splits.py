"""Splits that never mix."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.data import DataSet, Normalization, Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode, load_sample
from ofa_nas.pipeline.training.training_run import save_images
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.splits import SplitSizes, held_out_half, predictor_half, training_data
from tests.small_supernet import SmallSupernet


def source_of(labels: list[int]) -> Source:
    def pixels(index: int) -> np.ndarray:
        return np.full((8, 8, 3), index % 256, dtype=np.uint8)

    return Source(np.array(labels, np.int64), tuple("abcdef"), 8, "made up", pixels)


@given(labels=st.lists(st.integers(0, 5), max_size=80))
def test_the_halves_are_disjoint_cover_all_and_share_every_class(labels: list[int]) -> None:
    val = source_of(labels)
    first, second = predictor_half(val), held_out_half(val)
    assert sorted([*first, *second]) == list(range(len(labels)))
    counts = [np.bincount(val.labels[half], minlength=6) for half in (first, second)]
    assert (np.abs(counts[0] - counts[1]) <= 1).all()
    assert np.array_equal(first, predictor_half(source_of(labels)))


def encoded_images(source: Source) -> set[bytes]:
    assert source.encoded is not None
    return {source.encoded(index) for index in range(len(source))}


def test_no_seed_leaks_images_between_what_is_kept(small: SmallSupernet, tmp_path: Path) -> None:
    data = open_data(str(small.data))
    looked_at = encoded_images(data.val.subset(predictor_half(data.val)))
    drawn = []
    for seed in (0, 1):
        files = SupernetFiles(tmp_path / f"{seed}.safetensors")
        sizes = SplitSizes(calibration_sample=50, held_out_sample=50, seed=seed)
        save_images(files, data, sizes)
        held_out, calibration = load_sample(files.held_out), load_sample(files.calibration)
        assert np.bincount(held_out.labels).tolist() == [5] * 10
        assert encoded_images(calibration) < encoded_images(data.train)
        drawn.append(encoded_images(held_out))
        assert not drawn[-1] & looked_at
        assert not drawn[-1] & encoded_images(data.train)
    assert drawn[0] != drawn[1]


def test_held_out_images_have_the_classes_as_often_as_the_data_and_calibration_images_have_all_alike(
    tmp_path: Path,
) -> None:
    counts = np.array([900, 540, 300, 40, 18, 2])
    both = source_of(np.repeat(np.arange(6), counts).tolist())
    files = SupernetFiles(tmp_path / "supernet.safetensors")
    save_images(files, DataSet("some", both, both), SplitSizes(calibration_sample=60, held_out_sample=180))
    held_out, calibration = (load_sample(path).labels for path in (files.held_out, files.calibration))
    assert np.bincount(held_out).tolist() == [90, 54, 30, 4, 2, 1]
    assert np.bincount(calibration).tolist() == [10, 10, 10, 10, 10, 2]


def test_reports_and_calibration_are_drawn_by_the_seed() -> None:
    val, train = decode(source_of([0, 1, 2] * 20)), decode(source_of([3, 4] * 40))
    sizes = [SplitSizes(reports=10, calibration=7, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (training_data(train, val, size, normalization=Normalization()) for size in sizes)
    assert len(first.held_out) == 10
    assert set(first.held_out.labels) <= {0, 1, 2}
    assert first.calibration.shape == (7, 8, 8, 3)
    assert len(np.unique(first.calibration[:, 0, 0, 0])) == 7
    assert np.array_equal(first.held_out.images, again.held_out.images)
    assert not np.array_equal(first.held_out.images, other.held_out.images)
