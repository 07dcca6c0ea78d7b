"""The regression behind the additive predictors, against fitting again and against plain formulas."""

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.link_regression import Data, Scales, _Evidence, fit_ceiling, fit_linked, solve
from ofa_nas.predictors import Observations
from ofa_nas.predictors.additive import START_SCALES, Features
from tests.predictors.worlds import LITE, observe, rugged_accuracy

START = Scales(START_SCALES)


def rugged_data(count: int, *, seed: int, images: int = 2000) -> tuple[Observations, Data]:
    rng = np.random.default_rng(seed)
    genes = LITE.sample(count, rng)
    observations = observe(genes, rugged_accuracy(genes, seed=seed), rng, images=images)
    return observations, Features.of(LITE).data(observations)


def kernel(data: Data, scales: Scales, targets: Floats) -> Floats:
    weighted = data.design * scales.of_features(data.levels, targets)
    return np.asarray(weighted @ weighted.T)


@pytest.mark.parametrize("ceiling", [None, 0.9])
def test_what_is_left_out_is_predicted_as_if_it_had_not_been_fitted(ceiling: float | None) -> None:
    _, data = rugged_data(60, seed=7)
    fitted = fit_ceiling(data, START, ceiling)
    fold = np.arange(60) < 6
    residuals, deviations = fitted.left_out([fold, ~fold])
    # A Gaussian process with the same prior, fitted to the others around the same centre.
    gram = kernel(data, START, fitted.targets)
    centre = float(np.average(fitted.targets, weights=1.0 / fitted.variances))
    noisy = gram[np.ix_(~fold, ~fold)] + np.diag(fitted.variances[~fold])
    weights = np.linalg.solve(noisy, gram[np.ix_(~fold, fold)]).T
    sums = centre + weights @ (fitted.targets[~fold] - centre)
    spread = np.diag(gram[np.ix_(fold, fold)] - weights @ gram[np.ix_(~fold, fold)]) + fitted.variances[fold]
    predicted = sums if ceiling is None else ceiling - np.exp(-sums)
    slopes = 1.0 if ceiling is None else ceiling - predicted
    assert residuals[fold] == pytest.approx(data.accuracies[fold] - predicted, abs=1e-9)
    assert deviations[fold] == pytest.approx(np.sqrt(spread) * slopes, rel=1e-6)


def test_the_factor_is_the_posterior_of_the_coefficients() -> None:
    _, data = rugged_data(80, seed=3)
    variances = START.variances(data)
    solution = solve(data, START, data.accuracies, variances)
    prior = START.of_features(data.levels, data.accuracies)
    precision = data.design.T @ (data.design / variances[:, None]) + np.diag(prior**-2)
    assert solution.factor @ solution.factor.T == pytest.approx(np.linalg.inv(precision), rel=1e-6, abs=1e-12)


def test_tuning_raises_the_evidence_and_keeps_the_noise_below_the_binomial() -> None:
    _, data = rugged_data(150, seed=4)
    folds = [np.arange(150) % 10 == fold for fold in range(10)]
    tuned = fit_linked(data, START, folds)
    untuned = fit_ceiling(data, START, tuned.ceiling)
    assert _Evidence(tuned).of(tuned.scales) > _Evidence(untuned).of(untuned.scales)
    assert 0.0 < tuned.scales.noise <= 1.0


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_noise_is_found_that_tells_subnets_apart(shared: float) -> None:
    """Subnets measured on the same images share a part of the luck; the rest is what the fit must expect."""
    observations, _ = rugged_data(250, seed=5, images=1_000_000)
    rng = np.random.default_rng(5)
    variances = observations.accuracies * (1.0 - observations.accuracies) / 1000
    own = np.sqrt((1.0 - shared) * variances) * rng.standard_normal(250)
    noisy = Observations(observations.genes, observations.accuracies + 0.02 + own, variances)
    tuned = fit_linked(
        Features.of(LITE).data(noisy), START, [np.arange(250) % 5 == fold for fold in range(5)]
    )
    assert tuned.unexplained == pytest.approx(float(np.std(own)), rel=0.35)
