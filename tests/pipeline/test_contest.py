"""The best candidates, really evaluated: what is ordered, by what, on which images."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.accuracy import Z_90, AccuracySample
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.contest import Contest, Evaluated, evaluate_contenders, pick_contenders, weigh
from ofa_nas.pipeline.estimators import Candidate, Estimators
from ofa_nas.pipeline.evaluation import Bench
from ofa_nas.pipeline.search import SearchResult, search
from ofa_nas.search.budgets import Budget
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, exact_table

LIMIT_MS = 5.0


@pytest.fixture(scope="module")
def result(small: SmallSupernet, tiny: SearchSpace) -> SearchResult:
    estimators = Estimators.load(small.name, exact_table(tiny))
    budgets = [Budget("latency", LIMIT_MS, "ms", "exact"), Budget("peak_memory", 40_000, "bytes")]
    *_, last = search(estimators, budgets, margin=0.1)
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


def test_prediction_and_measurement_are_weighed_by_how_sure_they_are(result: SearchResult) -> None:
    sample = AccuracySample("a", 60, 100, "split")

    def together(half_width: float) -> float:
        return weigh(replace(result.chosen, accuracy=0.7, half_width=half_width), sample).accuracy

    sure = Z_90 * float(np.sqrt(sample.variance))
    assert together(sure) == pytest.approx(0.65)
    assert together(sure / 2) == pytest.approx((4 * 0.7 + 0.6) / 5)
    assert together(0.0) == 0.6  # nobody knows how sure the prediction is
    candidate = replace(result.chosen, accuracy=0.7, half_width=sure)
    assert weigh(candidate, sample, own=0.25).accuracy == pytest.approx((0.7 + 4 * 0.6) / 5)


def test_what_cannot_be_evaluated_is_refused(result: SearchResult, small: SmallSupernet) -> None:
    candidates: list[Candidate] = [result.chosen]
    with pytest.raises(ConfigError, match="--images 0: expected 1 or more"):
        next(evaluate_contenders(candidates, small.name, data=str(small.data), images=0))
    with pytest.raises(ConfigError, match="data 'cifar11': no such folder"):
        next(evaluate_contenders(candidates, small.name, data="cifar11"))
