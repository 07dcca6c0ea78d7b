"""The best candidates, really evaluated: what is ordered, by what, on which images."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.accuracy import Z_90, AccuracySample, Draw, binomial_variance
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.searching.contest import Contest, Evaluated, evaluate_contenders, pick_contenders, weigh
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.search.budgets import Budget
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, exact_table

LIMIT_MS = 5.0


@pytest.fixture(scope="module")
def result(small: SmallSupernet, tiny: SearchSpace) -> SearchResult:
    estimators = Estimators.load(small.name, exact_table(tiny))
    budgets = [Budget("latency", LIMIT_MS, "ms", "exact"), Budget("peak_memory", 40_000, "bytes")]
    *_, last = search_supernet(estimators, budgets, margin=0.1)
    assert isinstance(last, SearchResult)
    return last


def test_contenders_are_the_best_of_the_front_within_the_budgets(result: SearchResult) -> None:
    picked = pick_contenders(result)
    assert picked[0] == result.chosen
    assert len(picked) == len({one.architecture for one in picked}) == 8
    within = [one for one in result.front if one.latencies_ms["exact"] <= 0.9 * LIMIT_MS]
    assert any(one.latencies_ms["exact"] > 0.9 * LIMIT_MS for one in result.front)
    assert [one.accuracy for one in picked] == sorted((one.accuracy for one in within), reverse=True)[:8]
    assert pick_contenders(result, count=3) == picked[:3]
    alone = replace(result, front=())
    assert pick_contenders(alone) == [result.chosen]


@pytest.mark.slow
def test_contenders_are_evaluated_as_files_on_images_that_verification_never_sees(
    result: SearchResult, small: SmallSupernet
) -> None:
    picked = pick_contenders(result, count=3)
    *contenders, contest = evaluate_contenders(picked, small.name, data=str(small.data), images=50)
    assert isinstance(contest, Contest)
    assert [one.candidate for one in contenders if isinstance(one, Evaluated)] == picked
    assert sorted(map(id, contest.contenders)) == sorted(map(id, contenders))
    accuracies = [one.accuracy for one in contest.contenders]
    assert accuracies == sorted(accuracies, reverse=True)
    bench = Bench.open(small.name)
    split = bench.predictor_images(str(small.data), images=50, seed=0)
    for one in contest.contenders:
        assert one.sample.images == 50
        assert one.sample.correct == bench.count_correct(one.candidate.architecture, split)
        assert one.sample.arch == str(one.candidate.architecture)


def share_of_prediction(candidate: Candidate, *, error: float, draw: Draw, images: int = 2000) -> float:
    """What a prediction counts beside a measurement, with an interval as wide as its errors make it."""
    told = replace(candidate, accuracy=0.7)
    fitted_on = binomial_variance(0.7 * draw.images, draw.images)
    told = replace(told, half_width=Z_90 * float(np.sqrt(error**2 + fitted_on)))
    sample = AccuracySample("a", round(0.68 * images), images, "split")
    return (weigh(told, sample, draw).accuracy - 0.68) / 0.02


@pytest.mark.parametrize("error", [0.0015, 0.0025, 0.006])
def test_prediction_and_measurement_are_weighed_as_well_as_any_weight_does(
    error: float, result: SearchResult
) -> None:
    """Of eight contenders on the same images, the pick loses no more than by the best weight."""
    draw = Draw(2000, 100_000, 0.34)
    noise = np.sqrt(0.34 * binomial_variance(0.68 * 2000, 2000))
    rng = np.random.default_rng(1)
    truth = rng.normal(0.69, 0.004, (40_000, 8))
    predicted = truth + rng.normal(0.0, error, truth.shape) + rng.normal(0.0, 0.0085, (len(truth), 1))
    measured = truth + rng.normal(0.0, noise, truth.shape) + rng.normal(0.0, 0.0085, (len(truth), 1))

    def lost(share: float) -> float:
        picked = np.argmax(share * predicted + (1.0 - share) * measured, axis=1)
        return float(np.mean(truth.max(axis=1) - truth[np.arange(len(truth)), picked]))

    share = share_of_prediction(result.chosen, error=error, draw=draw)
    assert lost(share) <= 1.02 * min(map(lost, np.linspace(0.0, 1.0, 21)))


def test_no_prediction_is_surer_than_its_samples_can_tell(result: SearchResult) -> None:
    shares = [
        share_of_prediction(result.chosen, error=0.0, draw=Draw(2000, subnets, 0.34)) for subnets in (25, 400)
    ]
    assert shares == pytest.approx([1 / 1.4, 1 / 1.1], rel=0.02)
    sample = AccuracySample("a", 60, 100, "split")
    assert weigh(replace(result.chosen, half_width=0.0), sample, Draw(2000, 400, 0.34)).accuracy == 0.6
    assert weigh(result.chosen, sample, None).accuracy == 0.6


def test_what_cannot_be_evaluated_is_refused(result: SearchResult, small: SmallSupernet) -> None:
    candidates: list[Candidate] = [result.chosen]
    with pytest.raises(ConfigError, match="--images 0: expected 1 or more"):
        next(evaluate_contenders(candidates, small.name, data=str(small.data), images=0))
    with pytest.raises(ConfigError, match="data 'cifar11': no such folder"):
        next(evaluate_contenders(candidates, small.name, data="cifar11"))
