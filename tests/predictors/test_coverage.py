"""Intervals hold what they promise: on random subnets, and on those that a search chose for being best."""

from collections.abc import Callable

import numpy as np
import pytest

from ofa_nas.accuracy import Draw
from ofa_nas.arrays import Floats
from ofa_nas.pipeline.predicting.left_out import leave_out
from ofa_nas.predictors import Observations, PopulationPredictor, Predictor, load_module, macs
from ofa_nas.search.methods import load_method
from ofa_nas.search.problem import Problem, Tables, Worth
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Genes
from ofa_nas.training.collect import stratified_sample
from tests.predictors.worlds import LITE, evaluate, interval, linear_accuracy, observe, rugged_accuracy

IMAGES = 10_000
WORLDS = 6


def front(predictor: Predictor) -> Genes:
    """The exact front of an additive predictor and MACs."""
    macs: CostTable = tabulate(LITE, layer_macs)
    form = predictor.additive(LITE)
    assert form
    link: Callable[[Floats], Floats] = form.link
    problem = Problem(
        space=LITE,
        predict=lambda genes: 1.0 - predictor.predict(genes),
        costs=lambda genes: macs.total(genes)[:, None].astype(np.float64),
        limits=np.array([np.inf]),
        names=("MACs",),
        tables=Tables((macs,), Worth(form.worth, lambda sums: 1.0 - link(sums))),
    )
    *_, last = load_method("exact").search(problem, rng=np.random.default_rng(0))
    return last.front.genes


def measured(genes: Genes, seed: int, rng: np.random.Generator) -> Observations:
    return observe(genes, rugged_accuracy(genes, seed=seed), rng, images=IMAGES)


def covers(predictor: Predictor, observations: Observations) -> float:
    low, high = interval(predictor, observations.genes).T
    return float(np.mean((low <= observations.accuracies) & (observations.accuracies <= high)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["additive", "additive_gp"])
def test_nine_tenths_are_covered_at_random_and_near_the_front(kind: str) -> None:
    """As `predictor collect` works: spread over MACs, then near the front, then a new search."""
    at_random, searched = [], []
    for seed in range(WORLDS):
        rng = np.random.default_rng([9, seed])
        first = measured(LITE.encode(stratified_sample(LITE, 120, rng)), seed, rng)
        genes = front(load_module("additive").fit(LITE, first, rng=rng))
        near = measured(genes[np.linspace(0, len(genes) - 1, 40).round().astype(int)], seed, rng)
        both = Observations(
            np.concatenate([first.genes, near.genes]),
            np.concatenate([first.accuracies, near.accuracies]),
            np.concatenate([first.variances, near.variances]),
        )
        predictor = load_module(kind).fit(LITE, both, rng=rng)
        chosen = front(load_module("additive").fit(LITE, both, rng=rng))
        at_random.append(covers(predictor, measured(LITE.sample(500, rng), seed, rng)))
        searched.append(covers(predictor, measured(chosen, seed, rng)))
    assert 0.87 <= np.mean(at_random) <= 0.93
    assert 0.87 <= np.mean(searched) <= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["additive", "additive_gp"])
def test_a_dozen_samples_know_how_little_they_say(kind: str) -> None:
    """What is tuned on all of them flatters those that are left out; of so few, much."""
    covered = []
    for seed in range(5):
        rng = np.random.default_rng([12, seed])
        predictor = load_module(kind).fit(LITE, measured(LITE.sample(12, rng), seed, rng), rng=rng)
        covered.append(covers(predictor, measured(LITE.sample(300, rng), seed, rng)))
    assert 0.84 <= np.mean(covered) <= 0.96


@pytest.mark.parametrize("kind", ["additive", "additive_gp"])
def test_intervals_that_are_right_in_proportion_belong_to_the_same_predictions(kind: str) -> None:
    genes, module = LITE.sample(50, np.random.default_rng(1)), load_module(kind)
    seen = measured(genes[:24], 1, np.random.default_rng(2))
    whole = module.fit(LITE, seen, rng=np.random.default_rng(3))
    plain = module.fit_unwidened(LITE, seen, rng=np.random.default_rng(3))
    assert np.array_equal(whole.predict(genes), plain.predict(genes))
    ratio = whole.half_widths(genes) / plain.half_widths(genes)
    assert np.ptp(ratio) < 1e-9 < abs(ratio[0] - 1.0)


@pytest.mark.slow
def test_what_is_left_out_of_few_samples_is_covered_as_new_samples_are() -> None:
    told = []
    for seed in range(5):
        rng = np.random.default_rng([24, seed])
        told.append(leave_out("additive", LITE, measured(LITE.sample(24, rng), seed, rng), seed=0).coverage)
    assert 0.85 <= np.mean(told) <= 0.97


@pytest.mark.campaign
def test_other_images_than_those_that_all_subnets_were_fitted_on_are_covered() -> None:
    """Images are hard or easy for all subnets: a lucky draw lifts all of them, which no residual shows."""
    rng = np.random.default_rng(3)
    genes, others = LITE.sample(60, rng), LITE.sample(20, rng)
    as_fitted, widened = [], []
    for _ in range(200):
        samples = evaluate(genes, linear_accuracy(genes), rng, images=400)
        fitted = macs.fit(LITE, Observations.of(LITE, samples), rng=rng)
        elsewhere = evaluate(others, linear_accuracy(others), rng, images=4000)
        again = Observations.of(LITE, elsewhere)
        as_fitted.append(covers(fitted, again))
        widened.append(covers(PopulationPredictor(fitted, Draw.of(samples)), again))
    assert np.mean(as_fitted) < 0.75
    assert 0.88 <= np.mean(widened) <= 0.97
