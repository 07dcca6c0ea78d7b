"""The store of measured accuracies: what was stored is read, whoever stores beside it or was killed."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ofa_nas.sample_store
from ofa_nas.accuracy import AccuracySample
from ofa_nas.errors import DataError
from ofa_nas.sample_store import SampleStore


def _sample(index: int, *, correct: int = 50, split: str = "holdout") -> AccuracySample:
    return AccuracySample(f"{24 + index}/3x2/5x3", correct, 100, split, "512 images, seed 0")


def test_what_is_stored_is_read_back_in_order(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "deep" / "samples.jsonl")
    assert store.read() == []
    samples = [_sample(index) for index in range(5)]
    for sample in samples:
        store.append(sample)
    assert store.read() == samples


def test_the_latest_of_an_architecture_counts_once_per_split(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    for sample in (_sample(1, correct=10), _sample(2), _sample(1, correct=20), _sample(1, split="other")):
        store.append(sample)
    assert store.read() == [_sample(1, correct=20), _sample(2), _sample(1, split="other")]


def test_measurements_of_other_weights_images_or_calibration_stand_beside_each_other(tmp_path: Path) -> None:
    store, first = SampleStore(tmp_path / "samples.jsonl"), replace(_sample(1), supernet="a", digest="1")
    others = [
        replace(first, supernet="b"),
        replace(first, images=200),
        replace(first, calibration="10 images"),
        replace(first, digest="2"),
    ]
    for sample in (first, *others):
        store.append(sample)
    assert store.read() == [first, *others]


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_torn_last_line_is_ignored_and_mended_by_the_next_append(tmp_path: Path, kept: int) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    store.append(_sample(1))
    whole = store.path.read_bytes()
    store.path.write_bytes(whole + whole[:kept])
    assert store.read() == [_sample(1)]
    store.append(_sample(2))
    assert store.read() == [_sample(1), _sample(2)]
    assert store.path.read_bytes().startswith(whole)


def test_a_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    store.append(_sample(1))
    store.path.write_bytes(store.path.read_bytes().rstrip())
    assert store.read() == [_sample(1)]
    store.append(_sample(2))
    assert store.read() == [_sample(1), _sample(2)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "not a JSON line"),
        ("[1]", "expected an object"),
        (json.dumps({"arch": "24/3x2", "correct": 1, "images": 2}), "expected an object"),
        (
            json.dumps({"arch": "24/3x2", "correct": "1", "images": 2, "split": "s"}),
            "correct: expected an integer",
        ),
        (
            json.dumps({"arch": "24/3x2", "correct": True, "images": 2, "split": "s"}),
            "correct: expected an integer",
        ),
        (json.dumps({"arch": "24/3x2", "correct": 3, "images": 2, "split": "s"}), "3 of 2 images"),
        (
            json.dumps({"arch": "24/3x2", "correct": 9, "images": 10, "split": "s", "correct_even": 6}),
            "correct_even: 6 of 9 cannot be those among every other image",
        ),
        (
            json.dumps({"arch": "24/3x2", "correct": 9, "images": 10, "split": "s", "correct_even": 1}),
            "correct_even: 1 of 9 cannot be those among every other image",
        ),
        (
            json.dumps({"arch": "24-3x2", "correct": 1, "images": 2, "split": "s"}),
            "expected RESOLUTION/STAGE",
        ),
    ],
)
def test_any_other_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    store.append(_sample(1))
    with store.path.open("a") as file:
        file.write(f"{line}\n")
    store.append(_sample(2))
    with pytest.raises(DataError, match=message) as caught:
        store.read()
    assert f"{store.path}:2" in str(caught.value)


def _append_many(path: Path, first: int) -> None:
    for index in range(first, first + 40):
        SampleStore(path).append(_sample(index))


def test_several_processes_may_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    context = get_context("fork")
    workers = [context.Process(target=_append_many, args=(path, 100 * worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expected = {str(_sample(100 * worker + index).arch) for worker in range(3) for index in range(40)}
    assert {sample.arch for sample in SampleStore(path).read()} == expected


def test_a_line_is_mended_and_written_alone_and_is_on_the_disk_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "samples.jsonl", []

    def mend(path: Path, _: int) -> None:
        with path.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setattr(ofa_nas.sample_store, "_mend_tail", mend)
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    for index in range(2):
        SampleStore(path).append(_sample(index))
        assert synced.pop() == path.read_bytes()
    assert len(SampleStore(path).read()) == 2


CLAIMER = """
import sys
from pathlib import Path
from typing import Any
from ofa_nas.accuracy import AccuracySample
from ofa_nas.sample_store import SampleStore
with SampleStore(Path(sys.argv[1])).claim(AccuracySample(sys.argv[2], 0, 10, "s")) as is_free:
    print(is_free, flush=True)
    sys.stdin.readline()
"""


def test_a_claim_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    store, sample = SampleStore(tmp_path / "samples.jsonl"), AccuracySample("24/3x2/5x3", 3, 10, "s")
    other = AccuracySample("32/3x2/5x3", 0, 10, "s")
    command = [sys.executable, "-c", CLAIMER, str(store.path), sample.arch]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as claimer:
        assert claimer.stdout
        assert claimer.stdout.readline() == "True\n"
        with store.claim(sample) as is_free:
            assert not is_free
        with store.claim(other) as is_free:
            assert is_free
        claimer.kill()
        claimer.wait()
    with store.claim(sample) as is_free:
        assert is_free
    store.append(sample)
    with store.claim(sample) as is_free:
        assert not is_free
    with store.claim(replace(sample, digest="0123")) as is_free:  # the stored one may be of these images
        assert not is_free
    store.append(replace(other, digest="4567"))
    with store.claim(replace(other, digest="0123")) as is_free:
        assert is_free


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_serves_one_process(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    with store.claim(_sample(1)) as is_free:
        assert is_free
    store.append(_sample(1))
    assert store.read() == [_sample(1)]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"correct": 101}, "101 of 100 images cannot be right"),
        ({"correct": 50.0}, "correct: expected an integer, got 50.0"),
        ({"correct": np.int64(50)}, "correct: expected an integer"),
        ({"arch": "zzz"}, "architecture 'zzz'"),
    ],
)
def test_what_could_not_be_read_again_is_not_stored(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    store = SampleStore(tmp_path / "samples.jsonl")
    store.append(_sample(0))
    with pytest.raises(DataError, match=told):
        store.append(replace(_sample(1), **wrong))
    assert store.read() == [_sample(0)]
