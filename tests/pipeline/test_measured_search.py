"""Search by real evaluations: what is measured, in which order, and what is chosen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from ofa_nas.accuracy import AccuracySample, Top1
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode
from ofa_nas.errors import CheckpointError, ConfigError, StudyError
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.measured.measured_search import (
    ROUND_TRIALS,
    MeasuredResult,
    MeasuredSetup,
    TrialBegun,
    measured_search,
)
from ofa_nas.pipeline.measured.proposals import Planner, propose, refit
from ofa_nas.pipeline.measured.trials import (
    PLANNER,
    MeasuredTrial,
    choices,
    params,
    proposal_notes,
    read_trial,
    round_of,
)
from ofa_nas.pipeline.predicting.predictor_fit import fit_predictor
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.promise import Place
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.sample_store import SampleStore
from ofa_nas.search.budgets import KINDS, Budget
from ofa_nas.search.storage import open_storage
from ofa_nas.search.study import Notes, State, Study, Trial
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.splits import predictor_half
from tests.pipeline.simulated_board import ADDRESS, NOISE, simulated_table, true_ms
from tests.small_supernet import SmallSupernet, write_images

DEVICE, LIMIT_MS = "simulated", 1.8
IMAGES = 40


@pytest.fixture(scope="module")
def estimators(small: SmallSupernet) -> Estimators:
    return Estimators.load(small.name, simulated_table())


def searched(
    estimators: Estimators, *, limit_ms: float = LIMIT_MS, margin: float | None = None
) -> SearchResult:
    *_, result = search_supernet(estimators, [Budget("latency", limit_ms, "ms", DEVICE)], margin=margin)
    assert isinstance(result, SearchResult)
    return result


@pytest.fixture
def setup(small: SmallSupernet, tmp_path: Path) -> MeasuredSetup:
    return MeasuredSetup(
        storage=str(tmp_path / "study.log"), study="mine", data=str(small.data), trials=3, images=IMAGES
    )


def result_of(estimators: Estimators, setup: MeasuredSetup, **options: float) -> MeasuredResult:
    *_, result = measured_search(estimators, searched(estimators, **options), setup)
    assert isinstance(result, MeasuredResult)
    return result


def archs_of(result: MeasuredResult) -> list[Architecture]:
    return [one.candidate.architecture for one in result.trials]


def test_it_begins_at_the_predicted_front(estimators: Estimators, setup: MeasuredSetup) -> None:
    predicted = searched(estimators)
    result = result_of(estimators, setup)
    assert archs_of(result)[0] == predicted.chosen.architecture
    assert set(archs_of(result)) <= {one.architecture for one in predicted.front}
    assert all(one.candidate.latencies_ms[DEVICE] <= LIMIT_MS for one in result.trials)
    assert result.trials[0].candidate == predicted.chosen
    (first,) = result_of(estimators, replace(setup, trials=1, study="with a margin"), margin=0.1).trials
    assert first.candidate == searched(estimators, margin=0.1).chosen
    assert first.candidate.latencies_ms[DEVICE] <= 0.9 * LIMIT_MS


def test_a_trial_is_the_accuracy_of_the_file_on_images_that_verification_never_sees(
    small: SmallSupernet, estimators: Estimators, setup: MeasuredSetup
) -> None:
    result = result_of(estimators, replace(setup, trials=1, images=10_000))
    (trial,) = result.trials
    val = open_data(str(small.data)).val
    half = decode(val.subset(predictor_half(val)))
    bench = Bench.open(small.name)
    arch = trial.candidate.architecture
    assert trial.top_1 == Top1(bench.count_correct(arch, half), len(half))
    assert result.held_out
    assert result.held_out == Top1(bench.count_correct(arch, small.held_out), len(small.held_out))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 0),
        ("images", True),
        ("images right", 41),
        ("images right", -1),
        (f"latency on {DEVICE} [ms]", float("nan")),
        (f"latency on {DEVICE} [ms]", "1.5"),
        ("predicted top-1", float("nan")),
        ("round", "one"),
    ],
)
def test_notes_that_say_nonsense_are_those_of_somebody_else(
    name: str, value: object, estimators: Estimators
) -> None:
    (chosen,) = estimators.candidates(estimators.encoding.encode([estimators.encoding.space.smallest]))
    notes = proposal_notes(chosen, number=1, planner="me")
    notes |= {"images": IMAGES, "images right": 30, f"latency on {DEVICE} [ms]": 1.5}
    trial = Trial(4, State.COMPLETE, str(chosen.architecture), {}, (), notes)
    assert read_trial(trial, estimators).top_1 == Top1(30, IMAGES)
    with pytest.raises(StudyError, match="trial 4 of the study was not made by this version"):
        read_trial(replace(trial, notes={**notes, name: value}), estimators)


def test_a_round_that_is_no_number_is_told_before_anything_is_proposed() -> None:
    assert round_of(Trial(4, State.WAITING, "24/3x2/3x2", {}, (), {})) == 0
    with pytest.raises(StudyError, match=r"trial 4 of the study was not made by this version .*round: 'one'"):
        round_of(Trial(4, State.WAITING, "24/3x2/3x2", {}, (), {"round": "one"}))


def test_going_on_is_the_same_as_going_through(
    estimators: Estimators, setup: MeasuredSetup, tmp_path: Path
) -> None:
    total = ROUND_TRIALS + 3  # the last three by a predictor that was fitted anew
    through = result_of(estimators, replace(setup, trials=total, storage=f"{tmp_path}/through.log"))
    for trials in (2, ROUND_TRIALS, total):
        gone_on = result_of(estimators, replace(setup, trials=trials))
    assert len(through.trials) == len(set(archs_of(through))) == total
    assert archs_of(gone_on) == archs_of(through)
    assert [one.round for one in through.trials] == [1] * ROUND_TRIALS + [2] * 3
    assert result_of(estimators, replace(setup, trials=1)).trials == gone_on.trials


@pytest.mark.slow
@pytest.mark.parametrize("enqueued", [1, ROUND_TRIALS + 1])
def test_a_round_that_was_enqueued_in_part_is_gone_on_with(
    enqueued: int,
    estimators: Estimators,
    setup: MeasuredSetup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = replace(setup, trials=ROUND_TRIALS + 3)
    through = result_of(estimators, replace(setup, storage=f"{tmp_path}/through.log"))
    enqueue, count = Study.enqueue, 0

    def stop(study: Study, key: str, params: Any, notes: Notes) -> None:
        nonlocal count
        count += 1
        if count > enqueued:
            raise KeyboardInterrupt
        enqueue(study, key, params, notes)

    with monkeypatch.context() as patched:
        patched.setattr(Study, "enqueue", stop)
        with pytest.raises(KeyboardInterrupt):
            result_of(estimators, setup)
    gone_on = result_of(estimators, setup)
    assert archs_of(gone_on) == archs_of(through)
    assert [one.round for one in gone_on.trials] == [one.round for one in through.trials]


def test_what_was_measured_too_late_is_not_told(
    estimators: Estimators, setup: MeasuredSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Study.complete
    put_back: list[bool] = []

    def after_it_was_put_back(study: Study, trial: Trial, values: Sequence[float], notes: Notes) -> bool:
        if not put_back:
            put_back.append(study._put_back(trial, "no sign of life"))
        return complete(study, trial, values, notes)

    monkeypatch.setattr(Study, "complete", after_it_was_put_back)
    *records, result = measured_search(estimators, searched(estimators), replace(setup, trials=1))
    assert isinstance(result, MeasuredResult)
    told = [one.number for one in records if isinstance(one, MeasuredTrial)]
    assert (put_back, told) == ([True], [one.number for one in result.trials])


def test_another_seed_looks_at_other_images(
    estimators: Estimators, setup: MeasuredSetup, tmp_path: Path
) -> None:
    first = result_of(estimators, replace(setup, images=30))
    other = result_of(estimators, replace(setup, images=30, seed=1, storage=f"{tmp_path}/other.log"))
    assert first.split != other.split
    assert [one.top_1 for one in first.trials] != [one.top_1 for one in other.trials]


def test_the_most_accurate_as_measured_is_chosen(estimators: Estimators, setup: MeasuredSetup) -> None:
    result = result_of(estimators, replace(setup, trials=5))
    assert result.chosen
    assert result.chosen.top_1.accuracy == max(one.top_1.accuracy for one in result.trials)
    assert result.search.chosen.architecture == result.chosen.candidate.architecture
    costs = [one.first_cost for one in result.front]
    accuracies = [one.top_1.accuracy for one in result.front]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    assert not any(
        other.first_cost < one.first_cost and other.top_1.accuracy > one.top_1.accuracy
        for one in result.front
        for other in result.trials
    )


@pytest.mark.parametrize(("speed", "told"), [(1.025, 1.0), (1.3, 1.3)])
def test_latencies_are_measured_at_the_speed_of_the_table_unless_it_is_stale(
    speed: float, told: float, estimators: Estimators, setup: MeasuredSetup
) -> None:
    slow = replace(setup, trials=2, places={DEVICE: Place(f"{ADDRESS}speed={speed}")})
    result = result_of(estimators, slow)
    for one in result.trials:
        true = told * true_ms(one.candidate.architecture)
        assert one.latencies_ms[DEVICE] == pytest.approx(true, rel=5 * NOISE)
        assert one.first_cost == one.latencies_ms[DEVICE] != one.candidate.latencies_ms[DEVICE]


def test_a_measured_latency_decides_where_there_is_one(estimators: Estimators, setup: MeasuredSetup) -> None:
    trial = result_of(estimators, replace(setup, trials=1)).trials[0]
    predicted_ms = trial.candidate.latencies_ms[DEVICE]
    budget = Budget("latency", predicted_ms / 0.95, "ms", DEVICE, margin=0.1)
    assert not trial.keeps(budget)  # within the limit, but not within the margin
    assert replace(trial, latencies_ms={DEVICE: budget.limit}).keeps(budget)
    assert not replace(trial, latencies_ms={DEVICE: 1.01 * budget.limit}).keeps(budget)


def test_where_nothing_measured_keeps_the_budget_nothing_is_chosen(
    estimators: Estimators, setup: MeasuredSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {DEVICE: Place(f"{ADDRESS}speed=1")}
    monkeypatch.setattr("tests.pipeline.simulated_board.true_ms", _slow_but_for_references)
    result = result_of(estimators, replace(setup, trials=2, places=places))
    assert result.chosen is None
    assert result.held_out is None
    assert len(result.trials) == 2


def _slow_but_for_references(arch: Architecture) -> float:
    space = SearchSpace.load("tiny")
    is_reference = arch in (space.smallest, space.middle, space.largest)
    return true_ms(arch) * (1.0 if is_reference else 10.0)


def test_optuna_shows_genes_in_words_and_figures_with_names(
    estimators: Estimators, setup: MeasuredSetup
) -> None:
    result = result_of(estimators, replace(setup, trials=2))
    study = optuna.load_study(study_name="mine", storage=open_storage(setup.storage))
    assert study.metric_names == ["top-1", "latency on simulated [ms]"]
    (shown, _) = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    trial = result.trials[0]
    arch = trial.candidate.architecture
    assert shown.params["resolution"] == arch.resolution
    assert shown.params["stage 1 block 1"] == str(arch.stages[0][0])
    assert shown.values == [trial.top_1.accuracy, trial.candidate.latencies_ms[DEVICE]]
    attributes = shown.user_attrs
    assert (attributes["architecture"], attributes["predicted top-1"]) == (
        str(arch),
        trial.candidate.accuracy,
    )
    assert Top1(attributes["images right"], attributes["images"]) == trial.top_1
    assert attributes["MACs"] == trial.candidate.macs


def test_parameters_tell_architectures_apart(encoding: Encoding) -> None:
    values = choices(encoding)
    archs = encoding.decode(np.unique(encoding.sample(300, np.random.default_rng(0)), axis=0))
    found = [params(encoding, arch) for arch in archs]
    assert all(one[name] in values[name] for one in found for name in values)
    assert len({tuple(one.values()) for one in found}) == len(archs)


def test_what_another_worker_enqueued_meanwhile_is_not_enqueued_again(
    estimators: Estimators, setup: MeasuredSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue, enqueued = Study.enqueue, []

    def interrupted(study: Study, key: str, *rest: Any) -> None:
        enqueue(study, key, *rest)
        enqueued.append(key)
        if len(enqueued) == 1:  # in the middle of a round, another worker goes all the way
            result_of(estimators, setup)

    monkeypatch.setattr(Study, "enqueue", interrupted)
    result_of(estimators, setup)
    assert len(enqueued) == len(set(enqueued)) == ROUND_TRIALS


def test_a_round_that_another_worker_is_enqueuing_is_waited_for(
    estimators: Estimators, setup: MeasuredSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, enqueue = Planner.plan, Study.enqueue
    planned: list[Candidate] = []
    studies: list[Study] = []
    sleeps: list[float] = []

    def noted(planner: Planner, *arguments: Any, **options: Any) -> list[Candidate]:
        found = plan(planner, *arguments, **options)
        planned.extend(() if planned else found)
        return found

    def by_another(study: Study, key: str, shown: Any, notes: Any) -> None:
        enqueue(study, key, shown, {**notes, PLANNER: "another"})
        studies.append(study)

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 2:
            for one in planned[1:]:
                shown = params(estimators.encoding, one.architecture)
                notes = proposal_notes(one, number=1, planner="another")
                enqueue(studies[0], str(one.architecture), shown, notes)

    monkeypatch.setattr(Planner, "plan", noted)
    monkeypatch.setattr(Study, "enqueue", by_another)
    monkeypatch.setattr("ofa_nas.pipeline.measured.measured_search.time", SimpleNamespace(sleep=sleep))
    found = result_of(estimators, replace(setup, trials=ROUND_TRIALS))
    assert [one.round for one in found.trials] == [1] * ROUND_TRIALS
    assert len(sleeps) == 2


def test_closing_puts_the_trial_back(estimators: Estimators, setup: MeasuredSetup) -> None:
    stream: Iterator[object] = measured_search(estimators, searched(estimators), setup)
    begun = next(stream)
    assert isinstance(begun, TrialBegun)
    stream.close()  # type: ignore[attr-defined]
    study = optuna.load_study(study_name="mine", storage=open_storage(setup.storage))
    assert [one.state.name for one in study.trials].count("RUNNING") == 0
    assert begun.candidate.architecture in archs_of(result_of(estimators, setup))


def test_a_study_of_other_weights_is_refused_by_name(estimators: Estimators, setup: MeasuredSetup) -> None:
    result_of(estimators, replace(setup, trials=1))
    others = replace(estimators, card=replace(estimators.card, sha256="f" * 64))
    study = optuna.load_study(study_name="mine", storage=open_storage(setup.storage))
    told = study.user_attrs["ofa-nas"]
    study.set_user_attr("ofa-nas", told | {"the supernet weights": others.card.sha256[:12]})
    digest = estimators.card.sha256[:12]
    with pytest.raises(
        StudyError, match=f"'mine' was made for the supernet weights ffffffffffff, not {digest}: give another"
    ):
        result_of(estimators, setup)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"images": 20}, "made for the images 40 of shapes/predictor, seed 0.*, not 20 of"),
        ({"seed": 1}, "not 40 of shapes/predictor, seed 1"),
    ],
)
def test_a_study_with_other_settings_is_refused_by_what_differs(
    changed: dict[str, int], told: str, estimators: Estimators, setup: MeasuredSetup
) -> None:
    result_of(estimators, replace(setup, trials=1))
    with pytest.raises(StudyError, match=told):
        result_of(estimators, replace(setup, **changed))  # type: ignore[arg-type]
    with pytest.raises(
        StudyError, match=r"made for the budgets latency on simulated ≤ 1\.8 ms .*, not .* ≤ 1\.7 ms "
    ):
        result_of(estimators, setup, limit_ms=1.7)


def test_a_study_is_refused_to_whoever_would_plan_otherwise(
    small: SmallSupernet, setup: MeasuredSetup, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    own = Estimators.load(str(files.weights), simulated_table())
    result_of(own, replace(setup, trials=1))
    with pytest.raises(StudyError, match="made for the method the strongest, not evolution"):
        list(measured_search(own, searched(own), setup, method="evolution"))
    samples = files.samples.read_bytes()
    files.samples.write_bytes(b"".join(samples.splitlines(keepends=True)[1:]))
    with pytest.raises(StudyError, match=r"made for the samples 24 \w{8}, not 23 "):
        result_of(own, setup)
    fit_predictor(str(files.weights), kind="additive", seed=0)
    files.samples.write_bytes(samples)
    with pytest.raises(StudyError, match=r"made for the predictor additive \w{8}, not additive "):
        result_of(Estimators.load(str(files.weights), simulated_table()), setup)


def test_a_study_on_other_images_of_the_same_name_is_refused(
    estimators: Estimators, setup: MeasuredSetup, tmp_path: Path
) -> None:
    result_of(estimators, replace(setup, trials=1))
    others = write_images(tmp_path / "elsewhere" / "shapes", train=2)
    with pytest.raises(StudyError, match=r"made for the images 40 of shapes/predictor, seed 0.*, not 40 of"):
        result_of(estimators, replace(setup, data=str(others)))


def test_samples_on_other_data_than_the_trials_are_told(
    setup: MeasuredSetup, estimators: Estimators, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result_of(estimators, replace(setup, trials=1, images=60))
    assert not caplog.text
    others = write_images(tmp_path / "elsewhere" / "shapes", train=2)
    for name in ("shapes", "others"):
        others = others.rename(others.with_name(name))
        caplog.clear()
        result_of(estimators, replace(setup, trials=1, images=60, data=str(others), study=name))
        assert "24 samples of shapes/predictor, seed 0 are on other data than the trials" in caplog.text


def test_a_sample_that_was_measured_as_trials_are_is_not_measured_again(
    small: SmallSupernet, setup: MeasuredSetup, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    own = Estimators.load(str(files.weights), simulated_table())
    bench = Bench.open(str(files.weights))
    blank = bench.blank_sample(bench.predictor_images(setup.data, images=IMAGES, seed=0), seed=0)
    best = searched(own).chosen.architecture
    SampleStore(files.samples).append(replace(blank, arch=str(best), correct=1))
    for trials, told in ((1, {Top1(1, IMAGES)}), (2, {Top1(1, IMAGES)})):
        found = result_of(own, replace(setup, trials=trials)).trials
        assert {one.top_1 for one in found if one.candidate.architecture == best} == told
    other = replace(setup, seed=1, study="other")
    assert result_of(own, replace(other, trials=1)).trials[0].top_1.correct > 1


def test_numbers_without_sense_and_a_supernet_without_samples_are_refused(
    small: SmallSupernet, estimators: Estimators, setup: MeasuredSetup, tmp_path: Path
) -> None:
    for changed, told in (
        (replace(setup, trials=0), "--trials 0: expected 1 or more"),
        (replace(setup, images=-1), "--images -1: expected 1 or more"),
        (replace(setup, every_s=0.0), "--heartbeat 0: expected seconds"),
        (replace(setup, every_s=float("nan")), "--heartbeat nan: expected seconds"),
    ):
        with pytest.raises(ConfigError, match=told):
            result_of(estimators, changed)
    files = small.copy_to(tmp_path / "run")
    files.samples.unlink()
    with pytest.raises(CheckpointError, match="no samples of these weights"):
        result_of(Estimators.load(str(files.weights), simulated_table()), setup)


@pytest.fixture
def planner(small: SmallSupernet, estimators: Estimators) -> Planner:
    blank = replace(SampleStore(small.files.samples).read()[0], arch="", correct=0, split="trials")
    return Planner.open(estimators, searched(estimators), blank, seed=0, method=None, margin=None)


def measured(planner: Planner, accuracy: float) -> list[AccuracySample]:
    """The whole predicted front as if it had that accuracy."""
    blank = replace(planner.blank, images=1000, correct=round(1000 * accuracy))
    return [replace(blank, arch=str(one.architecture)) for one in planner.searched.front]


def test_the_predictor_learns_from_trials(planner: Planner) -> None:
    before = planner.searched.chosen
    genes = planner.estimators.encoding.encode([before.architecture])
    known, _ = planner.search(measured(planner, 0.02))
    lower = known.candidates(genes)[0].accuracy
    known, _ = planner.search(measured(planner, 0.98))
    higher = known.candidates(genes)[0].accuracy
    assert lower < before.accuracy < higher
    assert planner.search([]) == (planner.estimators, planner.searched)


def test_an_architecture_is_fitted_once(planner: Planner) -> None:
    known = planner.samples[3]
    fewer = replace(known, images=10, correct=0, correct_even=0)
    again, _ = planner.search([fewer])
    genes = planner.estimators.encoding.sample(20, np.random.default_rng(0))
    without = refit(planner.estimators, planner.samples, kind=planner.kind, seed=0)
    assert np.array_equal(again.predictor.predict(genes), without.predictor.predict(genes))


def test_the_order_of_trials_does_not_matter(planner: Planner) -> None:
    trials = measured(planner, 0.5)
    first = planner.plan(trials, (), number=2, count=4)
    assert planner.plan(trials[::-1], (), number=2, count=4) == first


def test_proposals_are_new_and_within_budgets_and_the_best_first(estimators: Estimators) -> None:
    result = searched(estimators)
    rng = np.random.default_rng(0)
    first = propose(estimators, result, (), count=4, rng=rng)
    (budget,) = result.budgets
    within = [one for one in result.front if one.cost(budget.key) <= budget.searched_limit]
    assert len(within) > 5
    assert first == [*within[:-4:-1], within[0]]  # the best half, and both ends of the others
    assert first[0] == result.chosen
    known = {str(one.architecture) for one in first}
    again = propose(estimators, result, known, count=4, rng=rng)
    assert len(again) == 4
    assert not known & {str(one.architecture) for one in again}
    assert all(one.cost(budget.key) <= budget.searched_limit for one in first + again)


def test_neighbours_serve_where_the_front_is_known(estimators: Estimators) -> None:
    result = searched(estimators)
    known = {str(one.architecture) for one in result.front}
    found = propose(estimators, result, known, count=6, rng=np.random.default_rng(0))
    assert len({one.architecture for one in found}) == 6
    assert not known & {str(one.architecture) for one in found}
    (budget,) = result.budgets
    assert all(one.cost(budget.key) <= budget.searched_limit for one in found)
    assert found == sorted(found, key=lambda one: one.accuracy, reverse=True)


def test_trials_know_what_they_cost(estimators: Estimators, setup: MeasuredSetup) -> None:
    (trial,) = result_of(estimators, replace(setup, trials=1)).trials
    assert isinstance(trial, MeasuredTrial)
    for name, amount in (
        ("macs", trial.candidate.macs),
        ("model_size", trial.candidate.weight_bytes),
        ("peak_memory", trial.candidate.peak_activation_bytes),
    ):
        assert trial.cost(Budget(name, 1.0, KINDS[name].unit)) == amount
