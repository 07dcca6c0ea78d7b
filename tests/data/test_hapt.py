"""HAPT's pickle of tables: what is read of it, and what is refused."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.data.dataset import open_data
from ofa_nas.data.sources import hapt
from ofa_nas.errors import DataError
from tests.data.pickles import COLUMNS, SAMPLES, pickled, pickled_people, table


def write(folder: Path, content: bytes) -> Path:
    (folder / "res").mkdir(parents=True)
    (folder / "res" / "HAPT.pkl.gz").write_bytes(gzip.compress(content))
    return folder


def test_signals_labels_and_people_are_those_of_the_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    signals, labels = rng.standard_normal((SAMPLES, 6)), np.full(SAMPLES, 3)
    labels[200:] = 7  # a transition
    people = {person: [table(signals * person, labels)] for person in range(1, 31)}
    data = open_data(str(write(tmp_path / "data", pickled(people))))
    assert data.name == "hapt"
    assert data.val.groups is not None
    assert sorted(set(data.val.groups)) == list(hapt.TEST_PEOPLE)
    assert len(data.val) == 2 * len(hapt.TEST_PEOPLE)  # at 0 and 64 of 200 samples
    assert set(data.val.labels) == {2}
    assert np.allclose(data.val.pixels(1)[0], 2 * signals[64:192])
    longer = open_data(f"{tmp_path / 'data'}@200/1")
    assert len(longer.val) == len(hapt.TEST_PEOPLE)


class Opens:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", pickle.dumps({1: [Opens(tmp_path / "ran")]}, protocol=2))
    with pytest.raises(DataError, match="could run code; it was not run"):
        open_data(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled_people(np.random.default_rng(0), ["time", *COLUMNS[1:]]), "no column acc-x"),
        (pickled({1: 2}), "damaged"),
        (pickled([1, 2]), "damaged"),
        (pickled({1: ["text"]}), "not the table of a pandas pickle"),
        (pickled({}), "expected people 1 to 30; 1 is too much or missing"),
        (b"text", "damaged"),
    ],
)
def test_a_wrong_pickle_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    folder = write(tmp_path / "data", content)
    with pytest.raises(DataError, match=message) as refusal:
        open_data(str(folder))
    assert str(folder / "res" / "HAPT.pkl.gz") in str(refusal.value)


def test_a_truncated_file_is_one_clear_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", pickled_people(np.random.default_rng(0)))
    path = folder / "res" / "HAPT.pkl.gz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="not a whole gzip file"):
        open_data(str(folder))
