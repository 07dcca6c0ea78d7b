"""The Gaussian process beside the sum, against plain formulas and against the sum alone."""

import numpy as np
import pytest

from ofa_nas.arrays import Floats
from ofa_nas.link_regression import Scales
from ofa_nas.predictors import additive, additive_gp
from ofa_nas.scores import rmse
from ofa_nas.space.encoding import Genes
from tests.predictors.worlds import LITE, linear_accuracy, observe


def crossed_accuracy(genes: Genes) -> Floats:
    """Blocks of the late stages are worth much at small resolutions and nothing at large ones: no sum."""
    depth = (genes[:, 8:] > 0).sum(axis=1) / genes[:, 8:].shape[1]
    return np.asarray(linear_accuracy(genes) + 0.2 * (depth - 0.7) * (1.5 - genes[:, 0]))


def test_it_learns_what_is_no_sum() -> None:
    rng = np.random.default_rng(0)
    genes, held_out = LITE.sample(200, rng), LITE.sample(500, rng)
    observations = observe(genes, crossed_accuracy(genes), rng, images=10_000)
    alone, beside = (module.fit(LITE, observations, rng=rng) for module in (additive, additive_gp))
    truth = crossed_accuracy(held_out)
    assert rmse(beside.predict(held_out), truth) < 0.7 * rmse(alone.predict(held_out), truth)


@pytest.mark.parametrize("ceiling", [None, 0.9])
def test_it_is_the_process_that_the_books_describe(ceiling: float | None) -> None:
    rng = np.random.default_rng(1)
    genes, others = LITE.sample(40, rng), LITE.sample(7, rng)
    observations = observe(genes, crossed_accuracy(genes), rng, images=10_000)
    process = additive_gp._Process.of(additive.Features.of(LITE), genes, 1.0)
    scales = Scales((1.0, 0.1, 0.1, 0.1, 0.05, 0.05, 0.3))
    data = process.data(observations.accuracies, observations.variances)
    predictor = additive_gp.AdditiveGpPredictor.of(
        process, data, scales, ceiling=ceiling, sigma=0.01, widening=2.0
    )
    sizes = scales.of_features(data.levels, data.accuracies)
    count = len(process.features.levels)

    def kernel(first: Genes, second: Genes) -> Floats:
        linear = (process.features.design(first) * sizes[:count] ** 2) @ process.features.design(second).T
        places, centres, samples = (
            process.features.design(one, levels=(1, 3, 4)) for one in (first, second, genes)
        )
        differs = np.ptp(samples, axis=0) > 1e-6
        distances = ((places[:, None] - centres) / np.where(differs, samples.std(axis=0), np.inf)) ** 2
        near = np.exp(-0.5 * distances.sum(axis=2) / (2.0 * differs.sum()))
        return np.asarray(linear + sizes[-1] ** 2 * near)

    centre = float(np.average(data.accuracies, weights=1.0 / data.variances))
    noisy = kernel(genes, genes) + np.diag(data.variances)
    weights = np.linalg.solve(noisy, kernel(genes, others)).T
    sums = centre + weights @ (data.accuracies - centre)
    variances = np.diag(kernel(others, others) - weights @ kernel(genes, others))
    expected = sums if ceiling is None else ceiling - np.exp(-sums)
    slopes = 1.0 if ceiling is None else ceiling - expected
    assert predictor.predict(others) == pytest.approx(expected, abs=1e-5)
    assert predictor.half_widths(others) == pytest.approx(
        2.0 * np.sqrt(variances * slopes**2 + 1e-4), rel=1e-3
    )


def test_its_intervals_grow_away_from_the_samples() -> None:
    rng = np.random.default_rng(2)
    pool = LITE.sample(3000, rng)
    is_small = pool[:, 0] < 2
    genes = pool[is_small][:120]
    predictor = additive_gp.fit(LITE, observe(genes, crossed_accuracy(genes), rng, images=2000), rng=rng)
    near, far = predictor.half_widths(pool[is_small][200:]), predictor.half_widths(pool[~is_small])
    assert far.mean() > 1.15 * near.mean()


def test_genes_that_are_no_architecture_are_refused() -> None:
    rng = np.random.default_rng(3)
    genes = LITE.sample(30, rng)
    fitted = additive_gp.fit(LITE, observe(genes, linear_accuracy(genes), rng, images=2000), rng=rng)
    for key, value in (("genes", [[0, 0]]), ("genes", [[99] * LITE.length]), ("targets", [0.5])):
        with pytest.raises(ValueError, match=r"genes|targets of shape"):
            additive_gp.from_json(LITE, fitted.to_json() | {key: value})
