"""A pickle is read as data: nothing in it is imported or called, whatever it says."""

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.data.inert_pickle import NUMPY_NAMES, Inert, array_of, read_inert
from ofa_nas.errors import DataError
from tests.data.pickles import Call, array, pickled

NAMES = NUMPY_NAMES | {"__builtin__ slice"}


class Runs:
    """What a pickle of this would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({1: [Runs(tmp_path / "ran")]}, protocol)
    with pytest.raises(DataError, match=r"people\.pkl: a pickle"):
        read_inert(content, names=NAMES, where="people.pkl")
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)  # the test would fail if this ran nothing
    assert (tmp_path / "ran").exists()


def test_even_an_allowed_name_is_never_called() -> None:
    made = read_inert(pickled(Call("__builtin__ slice", (1, 2), "state")), names=NAMES, where="x")
    assert made == Inert("__builtin__ slice", (1, 2), "state")


@pytest.mark.parametrize("name", ["builtins eval", "os system", "numpy.core.multiarray scalar"])
def test_a_name_that_no_table_needs_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="could run code; it was not run"):
        read_inert(pickled(Call(name, ("1",))), names=NAMES, where="x")


def test_values_come_back() -> None:
    value = {1: [None, "é", (2, 3), b"\xff\x00"], "two": {}}
    assert read_inert(pickled(value), names=NAMES, where="x") == value


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_arrays_come_back(dtype: Any) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    made = read_inert(pickled(array(values)), names=NAMES, where="x")
    assert np.array_equal(array_of(made, "x"), values)


@pytest.mark.parametrize(
    "made",
    [
        array(["an", "object"]),
        array(np.zeros(2, dtype=np.float32)),
        Call("__builtin__ slice", (1,)),
        "text",
        Call(
            "numpy.core.multiarray _reconstruct",
            (),
            (1, (3,), Call("numpy dtype", ("f8",)), False, b"8bytes.."),
        ),
    ],
)
def test_what_is_no_plain_array_is_refused(made: Any) -> None:
    with pytest.raises(DataError, match="x: damaged"):
        array_of(read_inert(pickled(made), names=NAMES, where="x"), "x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02(.",
        b"\x80\x02t.",
        b"\x80\x02NR.",
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02K\x01(K\x02e.",
        b"\x80\x02h\x07.",
        b"\x80\x02X" + struct.pack("<I", 2**31) + b"short",
        b"\x80\x02r" + struct.pack("<I", 2**32 - 1),
        b"\x80\x02c\\u\nx\n.",
    ],
)
def test_a_damaged_pickle_is_one_clear_error(content: bytes) -> None:
    with pytest.raises(DataError, match="x: "):
        read_inert(content, names=NAMES, where="x")


@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_any_changed_byte_gives_a_value_or_that_error(place: int, byte: int) -> None:
    content = bytearray(pickled({1: [array(np.arange(3.0)), Call("__builtin__ slice", (0, 6, 1))]}))
    content[place % len(content)] = byte
    try:
        made = read_inert(bytes(content), names=NAMES, where="x")
        array_of(made, "x")
    except DataError:
        pass
