"""Recordings are cut into windows of one label, and people are never on both sides."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.data import DataSet
from ofa_nas.data.dataset import fitted, open_data
from ofa_nas.data.sources import hapt
from ofa_nas.data.windows import Recording, Windows, split_windows, window_source, windows_like, with_windows
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.splits import held_out_half, predictor_half

NAMES = ("still", "moving")


def recording(labels: list[int], person: int = 1) -> Recording:
    """Signals that tell where they come from: person and time."""
    times = np.arange(len(labels), dtype=np.float32)
    signals = np.stack([np.full(len(labels), person, dtype=np.float32), times], axis=1)
    return Recording(signals, np.array(labels), person)


def test_windows_lie_in_one_stretch_of_one_label() -> None:
    first = recording([0] * 5 + [-1] * 3 + [1] * 7, person=1)
    source = window_source(
        [first, recording([1] * 4, person=2)], Windows(4, 2), class_names=NAMES, digest="d", where="x"
    )
    windows = [source.pixels(index) for index in range(len(source))]
    assert all(window.shape == (1, 4, 2) for window in windows)
    assert [(int(window[0, 0, 0]), int(window[0, 0, 1])) for window in windows] == [
        (1, 0),
        (1, 8),
        (1, 10),
        (2, 0),
    ]
    assert source.labels.tolist() == [0, 1, 1, 1]
    assert source.groups is not None
    assert source.groups.tolist() == [1, 1, 1, 2]
    assert (source.axes, source.channels, source.size_px) == (1, 2, 4)


def test_windows_longer_than_every_stretch_are_refused() -> None:
    with pytest.raises(DataError, match=r"x: no stretch of one label is 6 samples long.*--window"):
        window_source([recording([0] * 5)], Windows(6, 3), class_names=NAMES, digest="d", where="x")


@pytest.mark.parametrize(
    ("window", "hop", "text"),
    [(256, 128, "hapt@256/128"), (256, None, "hapt@256"), (None, 32, "hapt@/32"), (None, None, "hapt")],
)
def test_window_and_hop_stand_behind_the_name_of_the_data(
    window: int | None, hop: int | None, text: str
) -> None:
    assert with_windows("hapt", window, hop) == text
    assert split_windows(text) == ("hapt", Windows(window or 0, hop or 0))


def test_windows_are_those_of_the_supernet_unless_others_are_named() -> None:
    assert windows_like("hapt", card_of("hapt@256/64")) == "hapt@256/64"
    assert windows_like("hapt@100", card_of("hapt@256/64")) == "hapt@100"
    assert windows_like("hapt", card_of("hapt")) == "hapt"


def test_images_from_a_folder_called_like_windows_give_none_to_others() -> None:
    assert windows_like("photos", card_of("at@2024", space="tiny")) == "photos"


def card_of(data: str, *, space: str = "conv1d") -> SupernetCard:
    return SupernetCard(SearchSpace.load(space), data, (), (), (), "", {})


def test_signals_have_no_fit() -> None:
    source = window_source([recording([0] * 8)], Windows(4, 2), class_names=NAMES, digest="d", where="x")
    assert fitted(source, replace(card_of("photos", space="tiny"), fit="pad")).fit == "crop"
    with pytest.raises(DataError, match="--fit pad is how images become square, and the data are signals"):
        fitted(source, None, fit="pad")


@pytest.mark.parametrize("text", ["me@home", "a@b/c", "@5", "folder@", "x@1/2/3"])
def test_other_names_with_an_at_sign_are_names(text: str) -> None:
    assert split_windows(text) == (text, Windows())


def test_windows_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="--hop 0: expected 1 or more samples"):
        with_windows("hapt", 5, 0)
    with pytest.raises(ConfigError, match="leave one of them out"):
        with_windows("hapt@5", 6, None)


def test_a_half_of_the_people_is_held_out_whole() -> None:
    people = [recording([0] * 8 + [1] * 8, person=person) for person in range(5)]
    source = window_source(people, Windows(4, 2), class_names=NAMES, digest="d", where="x")
    assert source.groups is not None
    seen, held_out = (source.groups[half(source)] for half in (predictor_half, held_out_half))
    assert set(seen) == {0, 2, 4}
    assert set(held_out) == {1, 3}
    assert len(seen) + len(held_out) == len(source)


@pytest.fixture(scope="module")
def real() -> DataSet:
    """HAPT itself."""
    try:
        return open_data("hapt")
    except ConfigError as error:
        pytest.skip(f"HAPT is not here: {error}")


@pytest.mark.slow
def test_nobody_in_hapt_is_on_both_sides(real: DataSet) -> None:
    assert real.train.groups is not None
    assert real.val.groups is not None
    assert set(real.val.groups) == set(hapt.TEST_PEOPLE)
    assert set(real.train.groups) == set(range(1, 31)) - set(hapt.TEST_PEOPLE)
    assert (len(real.train), len(real.val)) == (7415, 2996)
    assert set(real.train.labels) == set(real.val.labels) == set(range(6))


@pytest.mark.slow
def test_gravity_tells_lying_from_standing_in_hapt(real: DataSet) -> None:
    """The columns are what they are called: upright, x bears gravity [g]; lying, it does not."""
    upright, lying = (
        np.mean(
            [
                real.train.pixels(int(index))[0, :, 0].mean()
                for index in np.flatnonzero(real.train.labels == label)
            ]
        )
        for label in (4, 5)
    )
    assert upright > 0.9
    assert lying < 0.5
