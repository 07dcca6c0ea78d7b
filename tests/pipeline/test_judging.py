"""Subnets and files on images of the user's own: which are looked at, and which of them are told wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.data.dataset import open_data
from ofa_nas.errors import ConfigError, DataError, FileError
from ofa_nas.pipeline.delivery.deliver import deliver
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.searching.promise import Promise
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, write_tests


@pytest.fixture(scope="module")
def file(small: SmallSupernet, tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "largest.onnx"
    list(deliver(small.files, tiny.largest, Promise(figures={}), output=path))
    return path


@pytest.fixture
def tests_folder(tmp_path: Path) -> Path:
    return write_tests(tmp_path)


def test_a_file_is_judged_as_the_subnet_that_it_came_from(small: SmallSupernet, file: Path) -> None:
    subnet, alone = evaluate(small.name, ["largest", str(file)], data=str(small.data))
    assert (subnet.file, alone.file) == (None, file)
    assert alone.architecture == subnet.architecture
    assert alone.macs == subnet.macs
    assert np.array_equal(alone.confusion.counts, subnet.confusion.counts)
    assert alone.mistakes == subnet.mistakes


def test_a_file_needs_no_supernet_but_its_own_data(
    small: SmallSupernet, file: Path, tests_folder: Path
) -> None:
    (found,) = evaluate("no/such/supernet", [str(file)], data=str(tests_folder), split="all")
    assert found.top_1.images == 10 * 6 - 5
    (beside,) = evaluate(small.name, [str(file)])
    assert beside.top_1.images == len(small.held_out)


def test_all_images_of_a_folder_of_test_images_are_looked_at(
    small: SmallSupernet, file: Path, tests_folder: Path
) -> None:
    (some,) = evaluate(small.name, [str(file)], data=str(tests_folder))
    (every,) = evaluate(small.name, [str(file)], data=str(tests_folder), split="all")
    assert some.top_1.images < every.top_1.images == 55
    assert every.confusion.images.tolist() == [6, 6, 6, 1, 6, 6, 6, 6, 6, 6]
    names = every.confusion.class_names
    for one in every.mistakes:
        assert Path(one.place).parent == tests_folder / one.label
        assert one.predicted in set(names) - {one.label}
    assert len({one.place for one in every.mistakes}) == 55 - every.top_1.correct > 0


def test_test_images_may_lack_a_class(small: SmallSupernet, file: Path, tests_folder: Path) -> None:
    (every,) = evaluate(small.name, [str(file)], data=str(tests_folder), split="all")
    shutil.rmtree(tests_folder / "class_0")
    (found,) = evaluate(small.name, [str(file)], data=str(tests_folder), split="all")
    assert found.confusion.class_names == every.confusion.class_names
    assert found.confusion.images[0] == 0
    assert np.array_equal(found.confusion.counts[1:], every.confusion.counts[1:])


def test_the_splits_of_a_data_set_are_joined(small: SmallSupernet) -> None:
    data = open_data(str(small.data))
    whole = data.whole
    assert len(whole) == len(data.val) + len(data.train)
    for index, (source, own) in enumerate(((data.val, 0), (data.train, len(data.train) - 1))):
        row = (0, len(whole) - 1)[index]
        assert np.array_equal(whole.pixels(row), source.pixels(own))
        assert whole.content(row) == source.content(own)
        assert whole.place_of(row) == source.place_of(own)
        assert whole.labels[row] == source.labels[own]


def test_wrong_calls_are_refused(small: SmallSupernet, file: Path, tests_folder: Path) -> None:
    with pytest.raises(ConfigError, match="--split all chooses among the images of a data set: add --data"):
        list(evaluate(small.name, [str(file)], split="all"))
    with pytest.raises(ConfigError, match="--split both: expected val or all"):
        list(evaluate(small.name, [str(file)], data=str(small.data), split="both"))
    (tests_folder / "class_1").rename(tests_folder / "zebra")
    with pytest.raises(DataError, match="they must be the same"):
        list(evaluate(small.name, [str(file)], data=str(tests_folder)))
    with pytest.raises(FileError, match="cannot be read"):
        list(evaluate(small.name, ["no.onnx"], data=str(small.data)))


def test_images_without_files_are_numbered(small: SmallSupernet, file: Path) -> None:
    (found,) = evaluate(small.name, [str(file)])
    numbers = {int(one.place.removeprefix("#")) for one in found.mistakes}
    assert len(numbers) == found.top_1.images - found.top_1.correct > 0
    assert numbers < set(range(found.top_1.images))
