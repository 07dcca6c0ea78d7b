"""The additive predictor against truths that are known."""

import numpy as np
import pytest

from ofa_nas import link_regression
from ofa_nas.predictors import additive, macs
from ofa_nas.scores import bias, kendall_tau, rmse
from tests.predictors.worlds import LITE, interval, observe, rugged_accuracy


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_hundred_noisy_samples_rank_a_rugged_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genes, held_out = LITE.sample(200, rng), LITE.sample(1000, rng)
    truth = rugged_accuracy(held_out, seed=seed)
    observations = observe(genes, rugged_accuracy(genes, seed=seed), rng, images=10_000)
    predictor = additive.fit(LITE, observations, rng=rng)
    predicted = predictor.predict(held_out)
    assert kendall_tau(predicted, truth) >= 0.9
    assert rmse(predicted, truth) <= 0.01
    baseline = macs.fit(LITE, observations, rng=rng).predict(held_out)
    assert kendall_tau(predicted, truth) > kendall_tau(baseline, truth) + 0.05
    measured = observe(held_out, truth, rng, images=10_000).accuracies
    low, high = interval(predictor, held_out).T
    assert 0.8 <= np.mean((low <= measured) & (measured <= high)) <= 0.97


def test_the_link_keeps_predictions_for_the_best_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    pool = LITE.sample(20_000, rng)
    genes, best = pool[:200], pool[np.argsort(rugged_accuracy(pool, seed=5))[-50:]]
    observations = observe(genes, rugged_accuracy(genes, seed=5), rng, images=100_000)
    linked = additive.fit(LITE, observations, rng=rng)
    monkeypatch.setattr(link_regression, "CEILINGS", ())
    unlinked = additive.fit(LITE, observations, rng=rng)
    assert linked.ceiling is not None
    assert unlinked.ceiling is None
    assert abs(bias(linked.predict(best), rugged_accuracy(best, seed=5))) < 0.008
    assert bias(unlinked.predict(best), rugged_accuracy(best, seed=5)) > 0.02


def test_accuracies_rise_with_the_sums_and_stay_below_the_ceiling() -> None:
    rng = np.random.default_rng(6)
    genes = LITE.sample(150, rng)
    predictor = additive.fit(LITE, observe(genes, rugged_accuracy(genes, seed=6), rng, images=2000), rng=rng)
    sums, predicted = predictor.sums(genes), predictor.predict(genes)
    assert np.argsort(sums).tolist() == np.argsort(predicted).tolist()
    worths = sum(predictor.table[gene, value] for gene, value in enumerate(genes[0]))
    assert sums[0] == pytest.approx(worths)
    assert predictor.ceiling is None or predicted.max() < predictor.ceiling


def test_intervals_grow_away_from_the_samples() -> None:
    rng = np.random.default_rng(7)
    pool = LITE.sample(4000, rng)
    is_small = pool[:, 0] < 2
    genes = pool[is_small][:150]
    predictor = additive.fit(LITE, observe(genes, rugged_accuracy(genes, seed=7), rng, images=2000), rng=rng)
    near, far = pool[is_small][200:], pool[~is_small]
    assert predictor.half_widths(far).mean() > 1.3 * predictor.half_widths(near).mean()
    assert predictor.half_widths(near).std() > 0.0


def test_a_file_of_intervals_of_one_width_is_read_and_says_the_same() -> None:
    genes = LITE.sample(60, np.random.default_rng(9))
    observations = observe(genes, rugged_accuracy(genes, seed=9), np.random.default_rng(9), images=2000)
    predictor = additive.fit(LITE, observations, rng=np.random.default_rng(9))
    parameters = {"table": predictor.table.tolist(), "ceiling": None, "sigma": 0.005, "half_width": 0.011}
    loaded = additive.from_json(LITE, parameters)
    assert loaded.sums(genes).tolist() == predictor.sums(genes).tolist()
    assert loaded.half_widths(genes) == pytest.approx(np.full(60, 0.011))


def test_equal_accuracies_are_predicted_as_they_are() -> None:
    genes = LITE.sample(30, np.random.default_rng(8))
    observations = observe(genes, np.full(30, 0.5), np.random.default_rng(8), images=10_000_000)
    predicted = additive.fit(LITE, observations, rng=np.random.default_rng(8)).predict(genes)
    assert predicted == pytest.approx(np.full(30, 0.5), abs=1e-3)
