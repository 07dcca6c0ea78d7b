"""What is told of a predictor, against what is known of made-up samples."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.accuracy import Halves
from ofa_nas.arrays import Floats
from ofa_nas.errors import CheckpointError
from ofa_nas.files import write_json
from ofa_nas.pipeline.predicting.left_out import LeftOut, leave_out
from ofa_nas.pipeline.predicting.predictor_fit import choose_kind, fit_predictor
from ofa_nas.pipeline.predicting.predictor_page import report_page
from ofa_nas.pipeline.predicting.predictor_report import PredictorReport, Score, report_predictor
from ofa_nas.predictors import Observations
from ofa_nas.scores import kendall_tau, rmse
from tests.predictors.worlds import LITE, observe, rugged_accuracy
from tests.small_supernet import SUBNETS, SmallSupernet


def tried(**predicted: Floats) -> list[LeftOut]:
    rng = np.random.default_rng(0)
    measured = rng.uniform(0.4, 0.7, 200)
    return [
        LeftOut(kind, (measured + error)[None], np.full((1, 200), 0.01), measured, 0.1)
        for kind, error in predicted.items()
    ]


def errors(size: float, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0.0, size, 200)


def test_the_sum_is_taken_unless_another_kind_is_clearly_better() -> None:
    same = errors(0.01, 1)
    chosen = choose_kind(tried(additive=same, additive_gp=0.98 * same, macs=errors(0.03, 2)))
    assert chosen[0] == "additive"
    assert "the errors of additive_gp are 2.0% smaller: too little" in chosen[1]
    chosen = choose_kind(tried(additive=same, additive_gp=0.8 * same, macs=errors(0.03, 2)))
    assert chosen[0] == "additive_gp"
    assert "20% smaller than those of additive" in chosen[1]
    by_luck = same.copy()
    by_luck[np.argmax(np.abs(same))] = 0.0
    lucky = np.where(np.arange(200) == np.argmax(np.abs(same)), 5.0, 1.0) * same
    assert choose_kind(tried(additive=lucky, mlp=by_luck, macs=errors(0.03, 2)))[0] == "additive"


def test_macs_alone_are_taken_where_nothing_beats_them() -> None:
    chosen = choose_kind(tried(additive=errors(0.02, 1), additive_gp=errors(0.02, 3), macs=errors(0.01, 2)))
    assert chosen == ("macs", "nothing else predicts these samples better than MACs do; collect more")


def test_what_is_left_out_is_not_fitted() -> None:
    rng = np.random.default_rng(1)
    genes = LITE.sample(60, rng)
    observations = observe(genes, rugged_accuracy(genes, seed=1), rng, images=2000)
    left_out = leave_out("additive", LITE, observations, seed=0, repeats=1)
    changed = observations.accuracies.copy()
    changed[7] = 0.2
    again = leave_out(
        "additive", LITE, Observations(genes, changed, observations.variances), seed=0, repeats=1
    )
    same = np.isclose(left_out.predicted, again.predicted, atol=1e-12)
    assert same[:, 7].all()
    assert same.mean() < 0.5
    assert left_out.rmse == rmse(left_out.predicted, observations.accuracies)
    assert left_out.tau == pytest.approx(
        np.mean([kendall_tau(row, observations.accuracies) for row in left_out.predicted])
    )
    assert 0.7 < left_out.coverage <= 1.0
    first, second = leave_out("macs", LITE, observations, seed=0).predicted
    assert (first != second).all()  # other folds, for this kind draws nothing else


def learns_luck(*, share: float) -> tuple[Floats, Halves, list[Floats]]:
    """True accuracies, halves of images, and predictions of them and of their mean.

    Each prediction is off by 0.01 of its own, and follows a share of the luck of the images of its fit.
    """
    rng = np.random.default_rng(0)
    truth, luck = rng.uniform(0.4, 0.7, 20_000), rng.normal(0.0, 0.02, (2, 20_000))
    own, even, odd = rng.normal(0.0, 0.01, 20_000), *luck
    predicted = [truth + own + share * one for one in (even, odd, (even + odd) / 2.0)]
    return truth, Halves(truth + even, truth + odd), predicted


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_luck_that_was_learnt_is_an_error_and_no_noise(share: float) -> None:
    truth, halves, (by_even, by_odd, by_both) = learns_luck(share=share)
    found = float(np.sqrt(halves.own_squares(by_even, by_odd).mean()))
    assert found == pytest.approx(rmse(by_both, truth), rel=0.03)
    measured = (halves.even + halves.odd) / 2.0
    seeming = rmse(by_both, measured) ** 2 - np.std(halves.even - halves.odd, ddof=1) ** 2 / 4.0
    assert (seeming < found**2 / 2.0) == (share > 0.0)


def test_a_kind_is_not_taken_for_the_luck_that_it_learnt() -> None:
    truth, halves, _ = learns_luck(share=0.0)
    kinds = []
    for kind, share, worse in (("additive", 0.0, 0.0), ("mlp", 1.0, 0.0), ("macs", 0.0, 0.05)):
        by_even, by_odd, by_both = (one + worse for one in learns_luck(share=share)[2])
        squares, measured = halves.own_squares(by_even, by_odd), (halves.even + halves.odd) / 2.0
        kinds.append(LeftOut(kind, by_both[None], np.ones((1, len(truth))), measured, 0.1, squares))
    assert kinds[1].rmse < 0.8 * kinds[0].rmse
    assert choose_kind(kinds)[0] == "additive"
    assert choose_kind([replace(one, own_squares=None) for one in kinds])[0] == "mlp"


def test_fitting_says_which_kinds_beat_macs_and_why_one_was_chosen(
    small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    fitted = fit_predictor(str(files.weights), kind="auto", seed=0)
    report = fitted.report
    assert fitted.path == files.predictor
    assert [one.kind for one in report.kinds] == ["additive", "additive_gp", "macs"]
    chosen = next(one for one in report.kinds if one.kind == report.kind)
    assert (report.tau, report.rmse) == (chosen.tau, chosen.rmse)
    assert report.reason


@pytest.fixture(scope="module")
def report(small: SmallSupernet) -> PredictorReport:
    *scores, last = report_predictor(small.name, seed=0)
    assert all(isinstance(score, Score) for score in scores)
    assert isinstance(last, PredictorReport)
    assert list(last.scores) == scores
    return last


def test_every_kind_is_judged_on_the_same_held_out_subnets(report: PredictorReport) -> None:
    assert report.kind == "additive"
    assert {(score.kind, score.samples, score.held_out) for score in report.scores} == {
        (kind, SUBNETS - SUBNETS // 3, held_out)
        for kind in ("additive", "additive_gp", "macs")
        for held_out in ("random", "late")
    }
    for score in report.scores:
        assert -1.0 <= score.tau <= 1.0
        assert score.top_10_regret <= score.top_1_regret
        assert score.true_rmse is not None
        assert 0.0 <= score.true_rmse < 0.5
        assert (score.tau_spread == 0.0) == (score.held_out == "late")


def test_noise_and_what_it_allows_are_told(report: PredictorReport) -> None:
    assert report.is_noise_known
    assert report.tau_ceiling is not None
    assert 0.0 < report.noise < np.sqrt(0.25 / 60)
    assert 0.0 < report.tau_ceiling < 1.0
    assert len(report.points) == SUBNETS == report.samples
    assert [one.macs for one in report.regrets] == sorted(one.macs for one in report.regrets)
    for one in report.regrets:
        assert one.perfect_top_1 is not None
        assert one.perfect_top_10 is not None
        assert 0.0 <= one.perfect_top_10 <= one.perfect_top_1 < 4.0 * report.noise
    assert report.regrets[-1].perfect_top_1


def test_the_page_holds_plots_and_tables_and_loads_nothing(report: PredictorReport) -> None:
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    page = report_page(report)
    Reader().feed(page)
    assert opened.count("svg") == 3
    assert opened.count("circle") >= SUBNETS
    assert opened.count("tr") == len(report.scores) + 1 + len(report.regrets) + 1
    assert "true accuracies" in page


def test_without_a_predictor_a_kind_must_be_named(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    files.predictor.unlink()
    with pytest.raises(
        CheckpointError, match="has no accuracy predictor; make one with ofa-nas predictor fit"
    ):
        next(report_predictor(str(files.weights), seed=0))
    score = next(report_predictor(str(files.weights), kind="macs", seed=0))
    assert isinstance(score, Score)
    assert score.kind == "macs"
    write_json(files.predictor, {})
    assert next(report_predictor(str(files.weights), kind="macs", seed=0)) == score
