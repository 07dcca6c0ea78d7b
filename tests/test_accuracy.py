"""The store of measured accuracies, and the figures that say how good a prediction of them is."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kendalltau, spearmanr

import ofa_nas.accuracy
from ofa_nas import scores
from ofa_nas.accuracy import (
    AccuracySample,
    Draw,
    SampleStore,
    of_one_data_set,
    one_of_each,
    own_noise,
    wilson_interval,
)
from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError, DataError
from ofa_nas.scores import (
    bias,
    kendall_deviation,
    kendall_tau,
    regret_floor,
    rmse,
    spearman_rho,
    top_k_regret,
)


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


def test_of_one_architecture_the_sample_on_most_images_counts() -> None:
    many, few, again = _sample(1), replace(_sample(1), images=60), replace(_sample(1), split="again")
    assert one_of_each([many, _sample(2), few]) == [many, _sample(2)]
    assert one_of_each([few, many, _sample(2), again]) == [again, _sample(2)]


def test_samples_on_other_data_are_left_aside() -> None:
    own = [replace(_sample(index), split="own/predictor, seed 0", digest="1") for index in range(3)]
    others = [replace(_sample(index), split="others/predictor, seed 0") for index in range(4)]
    of_that_name = [replace(sample, digest="2") for sample in own[:2]]
    untold = replace(_sample(9), split="own/predictor, seed 0")
    seeds = [replace(sample, split="own/predictor, seed 1", digest="3") for sample in own]
    mixed = [*others, *of_that_name, *own, untold, *seeds]
    assert of_one_data_set(mixed, "own") == [*own, untold, *seeds]
    assert of_one_data_set(mixed, "others") == others
    many_untold = [replace(untold, arch=f"{index}/3x2") for index in range(4)]
    assert of_one_data_set([*own, *many_untold], "own") == [*own, *many_untold]
    assert of_one_data_set([*others, *own], "neither") == others
    assert of_one_data_set([], "own") == []


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

    monkeypatch.setattr(ofa_nas.accuracy, "_mend_tail", mend)
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    for index in range(2):
        SampleStore(path).append(_sample(index))
        assert synced.pop() == path.read_bytes()
    assert len(SampleStore(path).read()) == 2


def test_the_variance_of_a_share_is_binomial_and_never_zero() -> None:
    assert AccuracySample("24/3x2", 5000, 10_000, "s").variance == pytest.approx(0.25 / 10_000)
    assert AccuracySample("24/3x2", 100, 100, "s").variance > 0.0


@given(st.integers(2, 60), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_rank_correlations_agree_with_scipy(count: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(levels, size=(2, count)).astype(float)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert kendall_tau(first, second) == spearman_rho(first, second) == 0.0
    else:
        assert kendall_tau(first, second) == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)
        assert spearman_rho(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_errors_have_closed_forms() -> None:
    measured, offsets = np.array([0.1, 0.5, 0.9, 0.7]), np.array([0.03, 0.03, -0.03, -0.03])
    assert rmse(measured + offsets, measured) == pytest.approx(0.03)
    assert bias(measured + 0.02, measured) == pytest.approx(0.02)
    predicted = np.array([0.2, 0.9, 0.3, 0.8])
    assert top_k_regret(predicted, measured, k=1) == pytest.approx(0.4)
    assert top_k_regret(predicted, measured, k=2) == pytest.approx(0.2)
    assert top_k_regret(predicted, measured, k=3) == 0.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize(
    "score",
    [kendall_tau, kendall_deviation, spearman_rho, rmse, bias, partial(top_k_regret, k=1)],
)
def test_scores_of_what_is_no_number_are_told(score: Callable[[Floats, Floats], float], wrong: float) -> None:
    good, bad = np.array([0.1, 0.2, 0.3]), np.array([0.1, wrong, 0.3])
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(ConfigError, match=rf"^scores: {wrong} in place 1; expected finite numbers$"):
            score(*pair)


def test_perfect_predictions_seem_to_lose_what_noise_makes_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "CEILING_DRAWS", 20_000)
    equals = np.array([0.6, 0.6])
    assert regret_floor(equals, 0.01, k=1) == pytest.approx(0.01 / np.sqrt(np.pi), rel=0.03)
    assert regret_floor(equals, 0.01, k=2) == 0.0
    assert regret_floor(np.array([0.5, 0.6]), 0.0, k=1) == 0.0


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(correct: int, images: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17(8), table I, method 3."""
    assert wilson_interval(correct, images, z=1.96) == pytest.approx((low, high), abs=6e-5)


@given(images=st.integers(1, 3000), data=st.data())
def test_wilson_intervals_are_those_of_the_reference(images: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, images))
    expected = binomtest(correct, images).proportion_ci(0.9, method="wilson")
    assert wilson_interval(correct, images) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_halves_tell_the_noise_that_subnets_do_not_share() -> None:
    rng = np.random.default_rng(0)
    images, subnets = 2000, 400
    truth, luck = (
        rng.uniform(0.5, 0.7, subnets),
        rng.normal(0.0, 0.05, 2),
    )  # both halves of images are unlucky
    own = rng.normal(0.0, 0.01, (subnets, 2))
    right = np.round((truth[:, None] + luck + own) * images / 2).astype(int)
    samples = [
        AccuracySample(str(index), int(even + odd), images, "s", correct_even=int(even))
        for index, (even, odd) in enumerate(right)
    ]
    noise = own_noise(samples)
    assert noise is not None
    assert noise == pytest.approx(0.01 / np.sqrt(2.0), rel=0.1)
    binomial = np.mean([sample.variance for sample in samples])
    draw = Draw.of(samples)
    assert (draw.images, draw.subnets) == (images, subnets)
    assert draw.own_share is not None
    assert draw.own_share == pytest.approx(noise**2 / binomial)
    (variance,) = draw.shared_variance(np.array([samples[0].accuracy]))
    assert variance == pytest.approx(samples[0].variance * (1.0 - draw.own_share))
    assert Draw.of([replace(samples[0], images=4000), samples[0]]).images == 2667
    unknown = [replace(sample, correct_even=-1) for sample in samples]
    assert own_noise(unknown) is None
    assert Draw.of(unknown).own_share is None
    assert Draw.of(unknown).shared_variance(np.array([samples[0].accuracy])) == pytest.approx(
        samples[0].variance
    )
    assert AccuracySample("a", 5, 7, "s", correct_even=3).halves == (3 / 4, 2 / 3)


def test_the_error_of_tau_is_that_of_drawing_again() -> None:
    rng = np.random.default_rng(1)
    taus, errors = [], []
    for _ in range(200):
        first = rng.normal(size=80)
        second = first + rng.normal(0.0, 0.5, 80)
        taus.append(kendall_tau(first, second))
        errors.append(kendall_deviation(first, second))
    assert np.mean(errors) == pytest.approx(float(np.std(taus)), rel=0.2)


CLAIMER = """
import sys
from pathlib import Path
from typing import Any
from ofa_nas.accuracy import AccuracySample, SampleStore
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
