"""Measured accuracies and their noise, and the figures that say how good a prediction of them is."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kendalltau, spearmanr

from ofa_nas import scores
from ofa_nas.accuracy import (
    AccuracySample,
    Draw,
    of_one_data_set,
    one_of_each,
    own_noise,
    wilson_interval,
)
from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
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
