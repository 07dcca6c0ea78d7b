"""What every predictor owes, whatever its kind."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.accuracy import AccuracySample, Draw
from ofa_nas.errors import CheckpointError, DataError, OfaNasError
from ofa_nas.plugins import plugin_names
from ofa_nas.predictor_file import load_predictor, save_predictor
from ofa_nas.predictors import (
    Observations,
    PopulationPredictor,
    Predictor,
    conformal_half_width,
    load_module,
    promised,
)
from ofa_nas.provenance import record_provenance
from ofa_nas.scores import kendall_tau, rmse
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from tests.predictors.worlds import LITE, interval, linear_accuracy, observe

KINDS = plugin_names("predictors")
_RNG = np.random.default_rng(0)
_FIT = LITE.sample(150, _RNG)
_TEST = LITE.sample(500, _RNG)
LIMITS = {"mlp": (0.75, 0.012)}  # of tau and RMSE, where 150 samples are too few for the kind
OBSERVATIONS = observe(_FIT, linear_accuracy(_FIT), _RNG, images=100_000)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def fitted(kind: str) -> Predictor:
    return load_module(kind).fit(LITE, OBSERVATIONS, rng=np.random.default_rng(1))


def test_there_are_the_additive_model_and_its_baseline() -> None:
    assert {"additive", "macs"} <= set(KINDS)


def test_it_learns_a_function_linear_in_log_macs(kind: str) -> None:
    predictor = fitted(kind)
    predicted = predictor.predict(_TEST)
    assert predicted.shape == (500,)
    least, most = LIMITS.get(kind, (0.95, 0.002))
    assert kendall_tau(predicted, linear_accuracy(_TEST)) > least
    assert rmse(predicted, linear_accuracy(_TEST)) < most


def test_the_same_seed_gives_the_same_predictor(kind: str) -> None:
    first, second = fitted(kind), load_module(kind).fit(LITE, OBSERVATIONS, rng=np.random.default_rng(1))
    assert first.predict(_TEST).tolist() == second.predict(_TEST).tolist()
    assert first.half_widths(_TEST).tolist() == second.half_widths(_TEST).tolist()


def test_its_additive_form_says_the_same(kind: str) -> None:
    predictor = fitted(kind)
    form = predictor.additive(LITE)
    if form is not None:
        sums = form.worth.total(_TEST)
        assert np.allclose(form.link(sums), predictor.predict(_TEST), rtol=0.0, atol=1e-12)
        assert (np.diff(form.link(np.sort(sums))) >= 0.0).all()


def test_its_intervals_cover_about_nine_tenths_of_new_measurements(kind: str) -> None:
    predictor = fitted(kind)
    measured = observe(_TEST, linear_accuracy(_TEST), np.random.default_rng(2), images=100_000).accuracies
    low, high = interval(predictor, _TEST).T
    assert 0.8 < np.mean((low <= measured) & (measured <= high)) < 0.97


def test_it_is_read_back_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    predictor = PopulationPredictor(fitted(kind), Draw(2000, 150, 0.34))
    path = tmp_path / "predictor.json"
    provenance = record_provenance(seed=1)
    save_predictor(
        path, predictor, kind=kind, encoding=LITE, weights="abc", description="made up", provenance=provenance
    )
    loaded = load_predictor(path, LITE, weights="abc")
    assert loaded.predictor.draw == predictor.draw
    assert (loaded.kind, loaded.description) == (kind, "made up")
    assert loaded.provenance == provenance.to_json()
    assert loaded.predictor.predict(_TEST).tolist() == predictor.predict(_TEST).tolist()
    assert loaded.predictor.half_widths(_TEST).tolist() == predictor.half_widths(_TEST).tolist()


def test_a_file_that_does_not_tell_its_images_has_no_interval(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "predictor.json"
    save_predictor(
        path,
        fitted(kind),
        kind=kind,
        encoding=LITE,
        weights="",
        description="top-1",
        provenance=record_provenance(seed=1),
    )
    found = load_predictor(path, LITE, weights="")
    assert not found.predictor.half_widths(_TEST).any()
    assert found.description.startswith("top-1; no interval until ofa-nas predictor fit")


def test_a_predictor_of_another_space_or_other_weights_is_refused(kind: str, tmp_path: Path) -> None:
    predictor = fitted(kind)
    path = tmp_path / "predictor.json"
    provenance = record_provenance(seed=1)
    save_predictor(
        path, predictor, kind=kind, encoding=LITE, weights="abc", description="", provenance=provenance
    )
    with pytest.raises(CheckpointError, match="'efficientnet_lite', not for this tiny"):
        load_predictor(path, Encoding.of(SearchSpace.load("tiny")), weights="abc")
    with pytest.raises(CheckpointError, match="fitted to other weights than those that now lie beside it"):
        load_predictor(path, LITE, weights="def")


@pytest.mark.parametrize("key", ["kind", "parameters", "description", "provenance"])
def test_a_file_that_lacks_something_is_refused(kind: str, key: str, tmp_path: Path) -> None:
    predictor = fitted(kind)
    path = tmp_path / "predictor.json"
    provenance = record_provenance(seed=1)
    save_predictor(
        path, predictor, kind=kind, encoding=LITE, weights="abc", description="", provenance=provenance
    )
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"{path}: .* is missing|{path}: a value is missing or wrong"):
        load_predictor(path, LITE, weights="abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3: made by a newer ofa-nas; this one reads 2: update ofa-nas$"),
        ({"version": 1}, "version 1: made by an older ofa-nas; .*: fit it again: ofa-nas predictor fit$"),
        ({"format": "a poem"}, "no predictor: expected format 'ofa-nas accuracy predictor'$"),
    ],
)
def test_a_file_of_another_version_says_which(
    kind: str, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "predictor.json"
    provenance = record_provenance(seed=1)
    save_predictor(
        path, fitted(kind), kind=kind, encoding=LITE, weights="abc", description="", provenance=provenance
    )
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=rf"predictor\.json: {message}"):
        load_predictor(path, LITE, weights="abc")


def test_few_or_foreign_samples_are_refused() -> None:
    samples = [AccuracySample(str(arch), 5, 10, "s") for arch in LITE.decode(_FIT[:20])]
    assert len(Observations.of(LITE, samples)) == 20
    with pytest.raises(DataError, match="7 accuracy samples: a predictor needs 8 or more"):
        Observations.of(LITE, samples[:7])
    with pytest.raises(DataError, match="is not in tiny"):
        Observations.of(Encoding.of(SearchSpace.load("tiny")), samples)
    alone = LITE.space.only(LITE.space.middle)
    with pytest.raises(
        DataError, match=r"has 1 of the 8 architectures .*: evaluate them \(ofa-nas evaluate\)"
    ):
        Observations.of(Encoding.of(alone), [AccuracySample(str(alone.smallest), 5, 10, "s")])


def test_the_conformal_half_width_is_a_rank_of_the_residuals() -> None:
    assert conformal_half_width(np.arange(-9.0, 10.0)) == 9.0
    assert conformal_half_width(np.arange(1.0, 100.0)) == 90.0
    assert conformal_half_width(np.array([-3.0, 1.0])) == 3.0


def test_nobody_is_promised_more_than_all() -> None:
    """Where most subnets are right about everything, a sum says more of the best."""
    genes = LITE.sample(80, np.random.default_rng(1))
    accuracies = np.minimum(1.0, 0.9 + 3.0 * (linear_accuracy(genes) - linear_accuracy(genes).min()))
    observations = observe(genes, accuracies, np.random.default_rng(3), images=10_000)
    found = load_module("additive").fit(LITE, observations, rng=np.random.default_rng(4))
    everybody = LITE.sample(2000, np.random.default_rng(2))
    assert found.predict(everybody).max() > 1.0
    assert promised(found, everybody).max() == 1.0


@pytest.mark.parametrize(
    ("scale", "variance", "columns", "told"),
    [
        (100.0, 1e-4, LITE.length, "an accuracy is no fraction from 0 to 1"),
        (np.nan, 1e-4, LITE.length, "an accuracy is no fraction"),
        (1.0, 0.0, LITE.length, "a variance is no number above 0"),
        (1.0, 1e-4, 5, "expected an array of integers"),
    ],
)
def test_what_are_no_observations_is_refused(
    kind: str, scale: float, variance: float, columns: int, told: str
) -> None:
    rng = np.random.default_rng(0)
    genes = LITE.sample(20, rng)[:, :columns]
    with pytest.raises(OfaNasError, match=told):
        load_module(kind).fit(
            LITE, Observations(genes, scale * rng.uniform(0.5, 0.7, 20), np.full(20, variance)), rng=rng
        )


def test_arrays_of_unequal_length_are_no_observations() -> None:
    with pytest.raises(DataError, match=r"arrays \(20, 17\), \(19,\), \(20,\); expected"):
        Observations(LITE.sample(20, np.random.default_rng(0)), np.full(19, 0.5), np.full(20, 1e-4))
