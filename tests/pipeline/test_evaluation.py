"""Real accuracies of subnets, and the predictor fitted to them."""

from pathlib import Path

import numpy as np
import pytest

from ofa_nas.accuracy import SampleStore
from ofa_nas.data import Normalization
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode
from ofa_nas.errors import ArchitectureError, CheckpointError, ConfigError, DataError
from ofa_nas.pipeline.evaluating.evaluation import evaluate, named_architecture
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.pipeline.predicting.predictor_fit import fit_predictor
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.evaluate import accuracy_of, calibrated_subnet, count_correct
from ofa_nas.training.splits import predictor_half
from tests.small_supernet import SUBNETS, SmallSupernet, write_images


def test_evaluation_is_the_accuracy_of_the_calibrated_subnet(small: SmallSupernet, tiny: SearchSpace) -> None:
    names = ["smallest", "32/5x2/3x3.3x2"]
    found = list(evaluate(small.name, names, data=None, images=None, seed=0))
    supernet, _ = load_supernet(small.files)
    for one, name in zip(found, names, strict=True):
        assert one.architecture == named_architecture(tiny, name)
        assert one.top_1.images == 100
        expected = accuracy_of(
            supernet,
            one.architecture,
            calibration=small.calibration,
            split=small.held_out,
            normalization=Normalization(),
        )
        assert one.top_1.accuracy == expected


@pytest.mark.parametrize("what", ["calibration", "held-out"])
def test_missing_images_are_named_as_an_export_names_them(
    what: str, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    (files.calibration if what == "calibration" else files.held_out).unlink()
    with pytest.raises(CheckpointError, match=f"the supernet's {what} images are missing; ofa-nas train"):
        list(evaluate(str(files.weights), ["smallest"], data=None, images=None, seed=0))


def test_images_are_drawn_by_the_seed(small: SmallSupernet) -> None:
    def accuracies(seed: int) -> list[float]:
        found = evaluate(small.name, ["smallest", "middle"], data=str(small.data), images=37, seed=seed)
        return [one.top_1.accuracy for one in found if one.top_1.images == 37]

    assert accuracies(0) == accuracies(0)
    assert len({tuple(accuracies(seed)) for seed in range(4)}) > 1


def test_data_with_other_classes_are_refused(small: SmallSupernet, tmp_path: Path) -> None:
    data = write_images(tmp_path / "others", train=2, val=2)
    (data / "train" / "class_4").rename(data / "train" / "zebra")
    (data / "val" / "class_4").rename(data / "val" / "zebra")
    with pytest.raises(DataError, match="they must be the same"):
        list(evaluate(small.name, ["smallest"], data=str(data), images=None, seed=0))
    with pytest.raises(DataError, match="they must be the same"):
        Collection.plan(small.name, count=3, data=str(data), images=10, seed=0)


def test_what_is_no_architecture_is_refused(small: SmallSupernet) -> None:
    with pytest.raises(ArchitectureError, match="32/9x9/3x2"):
        list(evaluate(small.name, ["32/9x9/3x2"], data=None, images=None, seed=0))


def test_samples_tell_where_they_came_from(small: SmallSupernet, tiny: SearchSpace) -> None:
    samples = SampleStore(small.files.samples).read()
    assert len(samples) == small.fitted.samples == SUBNETS
    assert [samples[0].arch, samples[1].arch] == [str(tiny.smallest), str(tiny.largest)]
    assert {sample.split for sample in samples} == {"shapes/predictor, seed 0"}
    assert {sample.supernet for sample in samples} == {SupernetCard.load(small.files.card).sha256}
    assert all(sample.images == 60 for sample in samples)


def test_samples_are_of_the_half_that_verification_never_sees(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    plan = Collection.plan(str(files.weights), count=1, data=str(small.data), images=10_000, seed=1)
    (sample,) = plan.samples()
    val = open_data(str(small.data)).val
    half = decode(val.subset(predictor_half(val)))
    supernet, card = load_supernet(files)
    arch = card.space.smallest
    subnet = calibrated_subnet(supernet, arch, images=small.calibration, normalization=Normalization())
    assert sample.images == len(half) == 100
    assert sample.correct == count_correct(subnet, half, normalization=Normalization())


def test_the_predictor_fits_what_was_measured(small: SmallSupernet) -> None:
    estimators = Estimators.load(small.name)
    samples = SampleStore(small.files.samples).read()
    genes = estimators.encoding.encode([estimators.encoding.space.parse(one.arch) for one in samples])
    measured = np.array([sample.accuracy for sample in samples])
    half_widths = estimators.predictor.half_widths(genes)
    inside = np.abs(estimators.predictor.predict(genes) - measured) <= half_widths
    assert inside.mean() >= 0.8
    assert small.fitted.half_width == half_widths.mean()
    assert small.fitted.rmse < 0.15


def test_fitting_is_the_same_for_the_same_seed(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    report, path = fit_predictor(str(files.weights), kind="additive", seed=0)
    assert report == small.fitted
    assert path == files.predictor


def test_too_few_samples_or_none_of_these_weights_are_refused(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    lines = files.samples.read_bytes().splitlines(keepends=True)
    before = files.predictor.read_bytes()
    files.samples.write_bytes(b"".join(lines[:5]))
    with pytest.raises(DataError, match="5 accuracy samples: a predictor needs 8 or more"):
        fit_predictor(str(files.weights), kind="additive", seed=0)
    digest = SupernetCard.load(files.card).sha256
    files.samples.write_bytes(b"".join(lines).replace(digest.encode(), b"f" * 64))
    with pytest.raises(CheckpointError, match="no samples of these weights; make some with ofa-nas"):
        fit_predictor(str(files.weights), kind="additive", seed=0)
    with pytest.raises(ConfigError, match="there is no 'oracle'"):
        fit_predictor(small.name, kind="oracle", seed=0)
    assert files.predictor.read_bytes() == before


def test_samples_near_the_front_are_of_the_predicted_front(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    name = str(files.weights)
    *_, result = search(Estimators.load(name), [], seed=0)
    assert isinstance(result, SearchResult)
    front = {str(candidate.architecture) for candidate in result.front}
    plan = Collection.plan(name, count=3, data=str(small.data), images=10, seed=0, near_front=True)
    samples = list(plan.samples())
    assert 1 <= len(samples) <= 3
    assert {sample.arch for sample in samples} <= front
