"""A user's own recordings: what is read, and the one clear error for each way in which they can be wrong."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.data import check_input
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import open_pack, pack
from ofa_nas.data.sample import load_images, save_sample
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.space.search_space import SearchSpace


def write(folder: Path, name: str = "signals.npz", **changes: Any) -> Path:
    """Six people with two recordings of 40 samples each, some arrays changed; None leaves one out."""
    rng = np.random.default_rng(3)
    arrays = {
        "x": rng.standard_normal((12, 3, 40)),
        "y": np.arange(12) % 2,
        "person": np.arange(12) // 2,
        "class_names": np.array(["still", "moving"]),
    } | changes
    folder.mkdir(exist_ok=True)
    np.savez(folder / name, **{key: value for key, value in arrays.items() if value is not None})
    return folder


def test_a_row_is_a_window_and_people_are_cut_apart(tmp_path: Path) -> None:
    data = open_data(str(write(tmp_path / "own")))
    assert data.name == "signals"
    assert data.class_names == ("still", "moving")
    assert (data.train.size_px, data.train.channels) == (40, 3)
    assert len(data.train) + len(data.val) == 12
    assert data.train.groups is not None
    assert data.val.groups is not None
    assert not set(data.train.groups) & set(data.val.groups)
    stored = np.load(tmp_path / "own" / "signals.npz")
    row = int(np.flatnonzero(stored["person"] == data.val.groups[0])[0])
    assert np.array_equal(data.val.pixels(0)[0].T, stored["x"][row].astype(np.float32))


def test_rows_are_cut_where_windows_are_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "own")
    data = open_data(f"{folder}@20")
    assert data.name == "signals@20"
    assert len(data.train) + len(data.val) == 12 * 3  # at 0, 10 and 20
    assert data.train.size_px == 20
    assert len(open_data(f"{folder}@/10").train) == len(open_data(str(folder)).train)


def test_a_label_a_sample_keeps_windows_within_one(tmp_path: Path) -> None:
    labels = np.repeat([[0] * 15 + [-1] * 10 + [1] * 15], 12, axis=0)
    data = open_data(f"{write(tmp_path / 'own', y=labels)}@15/15")
    assert len(data.train) + len(data.val) == 24
    assert data.train.labels.tolist()[:2] == [0, 1]


def test_two_files_are_the_splits(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", "train.npz", person=None)
    write(folder, "test.npz", person=None, class_names=None)
    data = open_data(str(folder))
    assert (len(data.train), len(data.val)) == (12, 12)
    assert data.val.class_names == ("still", "moving")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((12, 40))}, "x is float64 (12, 40), not numbers (n, channels, length)"),
        ({"x": np.full((12, 3, 40), np.nan)}, "x holds a value that is not finite"),
        ({"x": np.full((12, 3, 40), np.inf, np.float16)}, "x holds a value that is not finite"),
        ({"x": np.full((12, 3, 40), -3e30)}, "x holds a value that is not finite, or beyond 1e+30"),
        ({"x": np.full((12, 3, 40), 1e300)}, "x holds a value that is not finite, or beyond 1e+30"),
        ({"x": np.array([["a"]])}, "x is <U1 (1, 1), not numbers"),
        ({"y": np.zeros(11, int)}, "y is int64 (11,), not integers (12,)"),
        ({"y": np.zeros(12)}, "y is float64 (12,), not integers"),
        ({"y": np.full(12, 2)}, "label 2 is out of range 0 to 1"),
        ({"y": np.full(12, -2)}, "label -2 is out of range 0 to 1"),
        ({"y": np.full(12, 20240101), "class_names": None}, "y holds the label 20240101, and no class_names"),
        ({"y": np.full(12, -1)}, "y is -1 everywhere: nothing is labelled"),
        ({"y": np.full(12, -1), "class_names": None}, "y is -1 everywhere: nothing is labelled"),
        ({"y": None}, "no array 'y'"),
        ({"person": np.zeros(3, int)}, "person is int64 (3,), not integers (12,)"),
        ({"person": None}, "expected an array `person` (n,) with 2 people or more"),
        ({"person": np.zeros(12, int)}, "with 2 people or more"),
        ({"class_names": np.array([1, 2])}, "class names are int64"),
    ],
)
def test_a_wrong_file_is_named_with_what_would_be_right(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path / "own", **changes)
    with pytest.raises(DataError) as refusal:
        open_data(str(folder))
    assert message in str(refusal.value)
    assert str(folder / "signals.npz") in str(refusal.value)


def test_labels_that_never_occur_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_data(str(write(tmp_path / "whole")))
    assert not caplog.messages
    folder = write(tmp_path / "own", y=1 + np.arange(12) % 2, class_names=None)
    for _ in range(2):
        assert open_data(str(folder)).class_names == ("0", "1", "2")
    (told,) = caplog.messages
    assert f"{folder}: no window has the label 0 (class '0'): labels count from 0, and" in told


def test_a_person_on_both_sides_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", "train.npz")
    write(folder, "test.npz")
    with pytest.raises(DataError, match=r"person 0 is in both train\.npz and test\.npz"):
        open_data(str(folder))


def test_objects_in_a_file_are_not_unpickled(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", x=np.array([[["a", None]]], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        open_data(str(folder))


def test_images_have_no_windows(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"windows \(@20\) are cut from signals, and these are images"):
        open_data(f"{tmp_path / 'photos'}@20")


def test_a_sample_and_a_pack_hold_the_windows_as_they_are(tmp_path: Path) -> None:
    source = open_data(f"{write(tmp_path / 'own')}@20/20").train
    save_sample(tmp_path / "sample.npz", source, np.array([3, 0]))
    sample = load_images(tmp_path / "sample.npz")
    packed = pack(source, tmp_path / "pack", size_px=20)
    for images, index in ((sample.images[0], 3), (sample.images[1], 0), (packed.images[3], 3)):
        assert np.array_equal(images, source.pixels(index))
    assert sample.labels.tolist() == source.labels[[3, 0]].tolist()
    assert packed.images.dtype == np.float32
    assert packed.size_px == sample.size_px == 20
    assert np.array_equal(open_pack(tmp_path / "pack").images, packed.images)


def test_a_pack_of_another_length_is_interpolated(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(40.0), (12, 3, 40))
    source = open_data(str(write(tmp_path / "own", x=ramp))).train
    packed = pack(source, tmp_path / "pack", size_px=20)
    assert packed.images.shape[1:] == (1, 20, 3)
    assert np.allclose(packed.images[0, 0, :, 0], np.arange(20) * 2 + 0.5)


@pytest.mark.parametrize(
    ("shape", "windows", "count", "length"), [((12, 40, 98), "", 12, 98), ((4, 3, 6400), "@1600", 28, 1600)]
)
def test_bands_of_sound_and_axes_of_vibration_are_signals(
    tmp_path: Path, shape: tuple[int, int, int], windows: str, count: int, length: int
) -> None:
    """The examples of docs/signals.md: utterances as they are, and recordings that are cut."""
    rng, rows = np.random.default_rng(0), np.arange(shape[0])
    write(tmp_path / "own", x=rng.standard_normal(shape), y=rows % 2, person=rows // 2)
    found = open_data(f"{tmp_path / 'own'}{windows}")
    assert len(found.train) + len(found.val) == count
    assert (found.train.size_px, found.train.channels) == (length, shape[1])
    check_input(found.train, SearchSpace.load("conv1d").with_channels(shape[1]))


def test_the_python_of_the_page_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "signals.md").read_text(encoding="utf-8")
    block, _ = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "signals.md", "exec"), {})
    data = open_data(f"{tmp_path}@100")
    assert data.class_names == ("rest", "move")
    assert len(data.train) + len(data.val) == 8 * 9
