"""The additive predictor against truths that are known."""

import numpy as np
import pytest

from ofa_nas.accuracy import bias, kendall_tau, rmse
from ofa_nas.predictors import additive, interval, macs
from tests.predictors.worlds import LITE, observe, rugged_accuracy


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
    monkeypatch.setattr(additive, "CEILINGS", ())
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


def test_left_out_residuals_agree_with_fitting_without_the_fold() -> None:
    rng = np.random.default_rng(7)
    genes = LITE.sample(60, rng)
    observations = observe(genes, rugged_accuracy(genes, seed=7), rng, images=2000)
    features = additive._Features.of(LITE)
    design = features.design(genes)
    fitted = additive._fit(additive._Prior.start(), design, features, observations, None)
    fold = np.arange(60) < 6
    closed = fitted.left_out_residuals([fold, ~fold])[fold]
    levels, variances = features.levels, fitted.solution.variances
    # The prior is scaled by the spread of the targets, so both fits must be given the same one.
    ratio = float(np.std(fitted.targets) / np.std(fitted.targets[~fold]))
    prior = additive._Prior(tuple(scale * ratio for scale in additive._Prior.start().scales))
    again = additive._solve(prior, design[~fold], levels, fitted.targets[~fold], variances[~fold])
    explicit = observations.accuracies[fold] - design[fold] @ again.coefficients
    assert closed == pytest.approx(explicit, abs=2e-4)


def test_equal_accuracies_are_predicted_as_they_are() -> None:
    genes = LITE.sample(30, np.random.default_rng(8))
    observations = observe(genes, np.full(30, 0.5), np.random.default_rng(8), images=10_000_000)
    predicted = additive.fit(LITE, observations, rng=np.random.default_rng(8)).predict(genes)
    assert predicted == pytest.approx(np.full(30, 0.5), abs=1e-3)
