"""Real accuracies of subnets, and the predictor fitted to them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_nas.data import Normalization
from ofa_nas.data.dataset import ROOT_VARIABLE, open_data
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import decode, save_sample
from ofa_nas.errors import ArchitectureError, CheckpointError, ConfigError, DataError
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.pipeline.predicting.predictor_fit import fit_predictor
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.sample_store import SampleStore
from ofa_nas.space.points import named_architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.evaluate import accuracy_of, calibrated_subnet, count_correct
from ofa_nas.training.splits import predictor_half
from tests.small_supernet import SIZE_PX, SUBNETS, SmallSupernet, write_images


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
        Collection.plan(Bench.open(small.name), count=3, data=str(data), images=10, seed=0)


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
    plan = Collection.plan(
        Bench.open(str(files.weights)), count=1, data=str(small.data), images=10_000, seed=1
    )
    (sample,) = plan.samples()
    val = open_data(str(small.data)).val
    half = decode(val.subset(predictor_half(val)))
    supernet, card = load_supernet(files)
    arch = card.space.smallest
    subnet = calibrated_subnet(supernet, arch, images=small.calibration, normalization=Normalization())
    assert sample.images == len(half) == 100
    assert sample.correct == count_correct(subnet, half, normalization=Normalization())


def test_torch_may_count_in_place_of_onnx_runtime(small: SmallSupernet) -> None:
    """On a CPU here, as on a CUDA device."""
    by_file, by_torch = Bench.open(small.name), Bench.open(small.name, device=torch.device("cpu"))
    split = by_file.predictor_images(str(small.data), images=61, seed=0)
    for arch in (by_file.card.space.smallest, by_file.card.space.largest):
        subnet = calibrated_subnet(
            by_torch.supernet, arch, images=small.calibration, normalization=Normalization()
        )
        halves = [
            PackedImages(split.images[half::2], split.labels[half::2], split.class_names) for half in (0, 1)
        ]
        expected = tuple(count_correct(subnet, half, normalization=Normalization()) for half in halves)
        assert by_torch.count_halves(arch, split) == expected
        assert np.abs(np.subtract(by_file.count_halves(arch, split), expected)).max() <= 1


def test_a_digest_is_of_images_labels_and_calibration(small: SmallSupernet) -> None:
    bench = Bench.open(small.name)
    split = bench.predictor_images(str(small.data), images=20, seed=0)
    others = [
        (bench, split),
        (bench, replace(split, images=split.images[::-1])),
        (bench, replace(split, labels=split.labels[::-1])),
        (replace(bench, calibration=bench.calibration[::-1]), split),
    ]
    assert len({one.blank_sample(images, seed=0).digest for one, images in others}) == 4


def pixels_of(images: PackedImages) -> list[bytes]:
    return [image.tobytes() for image in images.images]


def add_image(data: Path) -> None:
    """One that comes before all others: every place behind it moves, and the halves are dealt anew."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data / "val" / "class_0" / "00.png")


def test_images_that_are_held_out_choose_nothing_when_others_come(
    small: SmallSupernet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench, data = Bench.open(small.name), tmp_path / "shapes"
    shutil.copytree(small.data, data)
    before = bench.predictor_images(str(data), images=1000, seed=0)
    assert len(before) == 100
    assert not caplog.records
    add_image(data)
    val = open_data(str(data)).val
    held_out = set(pixels_of(small.held_out))
    moved = sum(image in held_out for image in pixels_of(decode(val.subset(predictor_half(val)))))
    assert moved > 10
    left = pixels_of(bench.predictor_images(str(data), images=1000, seed=0))
    assert not held_out.intersection(left)
    assert len(left) == len(predictor_half(val)) - moved
    assert f"shapes: {moved} of the {moved + len(left)} validation images" in caplog.text


def test_where_all_images_are_held_out_a_training_is_asked_for(small: SmallSupernet, tmp_path: Path) -> None:
    val = open_data(str(small.data)).val
    files = small.copy_to(tmp_path / "run")
    save_sample(files.held_out, val, np.arange(len(val)))
    with pytest.raises(DataError, match=r"each of the 100 validation images .* held out .*: train anew"):
        Bench.open(str(files.weights)).predictor_images(str(small.data), images=10, seed=0)


@pytest.mark.skipif(not os.environ.get(ROOT_VARIABLE), reason=f"${ROOT_VARIABLE} names no real data")
def test_samples_that_ship_are_of_the_same_images_ever_after() -> None:
    bench, val = Bench.open("efficientnet_lite"), open_data("tiny_imagenet").val
    half = predictor_half(val)
    assert half.sum() == 24_806_159
    drawn = half[np.sort(np.random.default_rng([0, 4]).permutation(5000)[:2000])]
    found = bench.predictor_images("tiny_imagenet", images=2000, seed=0)
    assert np.array_equal(found.images, decode(val.subset(drawn)).images)
    assert np.array_equal(found.labels, val.labels[drawn])


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
    fitted = fit_predictor(str(files.weights), kind="additive", seed=0)
    assert fitted.report == small.fitted
    assert fitted.path == files.predictor


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
    *_, result = search_supernet(Estimators.load(name), [], seed=0)
    assert isinstance(result, SearchResult)
    front = {str(candidate.architecture) for candidate in result.front}
    bench = Bench.open(name)
    few, plan = (
        Collection.plan(bench, count=count, data=str(small.data), images=10, seed=0, near_front=True)
        for count in (2, 3)
    )
    assert few.archs == (result.front[0].architecture, result.front[-1].architecture)
    samples = list(plan.samples())
    assert 1 <= len(samples) <= 3
    assert {sample.arch for sample in samples} <= front
    again = Collection.plan(bench, count=3, data=str(small.data), images=10, seed=0, near_front=True)
    assert again.archs == ()
