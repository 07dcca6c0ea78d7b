"""Who evaluates what, and when it is enough."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.accuracy import AccuracySample
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.predicting import collecting
from ofa_nas.pipeline.predicting.collecting import (
    CHECK_EVERY,
    LEAST_TO_JUDGE,
    Aim,
    Collection,
    Standing,
    collect_until,
    judge,
    judge_predictions,
)
from ofa_nas.pipeline.predicting.predictor_fit import fit_predictor
from ofa_nas.pipeline.predicting.sample_set import SampleSet
from ofa_nas.predictors import Observations
from ofa_nas.sample_store import SampleStore
from ofa_nas.scores import kendall_tau
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from tests.predictors.worlds import LITE, rugged_accuracy
from tests.small_supernet import SUBNETS, SmallSupernet, write_images

IMAGES = 2000


def made_up(count: int, *, noise: float, seed: int = 0) -> list[AccuracySample]:
    """Samples of a rugged truth whose halves differ by noise."""
    rng = np.random.default_rng(seed)
    genes = LITE.sample(count, rng)
    halves = rugged_accuracy(genes, seed=seed)[:, None] + rng.normal(0.0, noise * np.sqrt(2.0), (count, 2))
    right = np.round(halves * IMAGES / 2).astype(int)
    return [
        AccuracySample(str(arch), int(even + odd), IMAGES, "s", "", "", int(even))
        for arch, (even, odd) in zip(LITE.decode(genes), right, strict=True)
    ]


def standing_of(samples: list[AccuracySample], aim: str) -> Standing:
    measured = SampleSet(
        SupernetFiles(Path("x.safetensors")),
        SupernetCard(LITE.space, "", (), (), (), "", {}),
        LITE,
        tuple(samples),
        Observations.of(LITE, samples),
    )
    return judge(Aim.parse(aim), measured, seed=0)


def test_the_aim_is_tau_or_points() -> None:
    assert Aim.parse("tau=0.95") == Aim("tau", 0.95)
    assert Aim.parse("rmse=0.8") == Aim("rmse", 0.008)
    for text in ("tau", "tau=1.5", "tau=0", "rmse=-1", "loss=0.5", "tau=nan", "rmse=", "tau=0.9=1"):
        with pytest.raises(ConfigError, match=r"expected tau=0.95 or, in points, rmse=0.8"):
            Aim.parse(text)


def test_the_worse_end_of_the_estimate_must_pass() -> None:
    few, many = made_up(40, noise=0.002), made_up(200, noise=0.002)
    first, last = standing_of(few, "tau=0.9"), standing_of(many, "tau=0.9")
    assert first.sure < first.value
    assert not first.is_reached
    assert last.is_reached
    assert last.value - last.sure < first.value - first.sure
    assert standing_of(many, "rmse=0.8").is_reached
    error = standing_of(many, "rmse=0.8")
    assert error.value < error.sure < 0.008
    assert not standing_of(many, f"rmse={50 * (error.value + error.sure)}").is_reached
    assert not standing_of(many, "rmse=0.3").is_reached


def share_of_false_stops(quantity: str, value: float, *, streams: int, most: int, deviation: float) -> float:
    """Of runs up to `most` samples whose predictions are just as good as the aim, those that stop before."""
    rng, aim = np.random.default_rng(4), Aim(quantity, value)
    stopped = 0
    for _ in range(streams):
        predicted = rng.uniform(0.5, 0.7, most)
        measured = predicted + rng.normal(0.0, deviation, most)
        looks = range(LEAST_TO_JUDGE, most + 1, CHECK_EVERY)
        stopped += any(
            judge_predictions(aim, predicted[:count], measured[:count], noise=None).is_reached
            for count in looks
        )
    return stopped / streams


def test_runs_that_are_no_better_than_the_aim_hardly_ever_stop_before_their_end() -> None:
    """They look every ten samples, and the first pass ends them."""
    assert share_of_false_stops("rmse", 0.012, streams=600, most=500, deviation=0.012) <= 0.05


@pytest.mark.slow
def test_so_do_runs_for_a_tau() -> None:
    predicted = np.random.default_rng(5).uniform(0.5, 0.7, 4000)
    measured = predicted + np.random.default_rng(6).normal(0.0, 0.012, 4000)
    tau = kendall_tau(predicted, measured)
    assert share_of_false_stops("tau", tau, streams=120, most=250, deviation=0.012) <= 0.06


@pytest.mark.parametrize(
    ("aim", "noise", "is_beyond"),
    [
        ("tau=0.97", 0.02, True),
        ("tau=0.97", 0.0005, False),
        ("rmse=0.8", 0.02, True),
        ("rmse=0.8", 0.001, False),
    ],
)
def test_an_aim_can_be_beyond_what_the_truth_would_show(aim: str, noise: float, *, is_beyond: bool) -> None:
    standing = standing_of(made_up(60, noise=noise), aim)
    assert standing.is_beyond_truth == is_beyond
    assert standing.best is not None
    if aim.startswith("rmse"):
        assert standing.best == pytest.approx(noise, rel=0.3)


def test_nobody_knows_the_noise_of_samples_without_halves() -> None:
    samples = [AccuracySample(one.arch, one.correct, IMAGES, "s") for one in made_up(60, noise=0.02)]
    standing = standing_of(samples, "rmse=0.8")
    assert (standing.best, standing.is_beyond_truth) == (None, False)


def stored(files: SupernetFiles, samples: Sequence[AccuracySample]) -> None:
    for sample in samples:
        SampleStore(files.samples).append(sample)


def test_a_subnet_that_was_measured_often_is_left_out_as_a_whole(
    small: SmallSupernet, tmp_path: Path
) -> None:
    files, rng = small.copy_to(tmp_path / "run"), np.random.default_rng(0)
    files.samples.unlink()
    card = SupernetCard.load(files.card)
    encoding = Encoding.of(card.space)
    archs = encoding.decode(np.unique(encoding.sample(100, rng), axis=0)[:60])
    shuffled = rng.integers(400, 1600, len(archs))
    stored(
        files,
        [
            AccuracySample(
                str(arch), int(correct), IMAGES, f"shapes/predictor, seed {seed}", supernet=card.sha256
            )
            for seed in range(6)
            for arch, correct in zip(archs, shuffled, strict=True)
        ],
    )
    fitted = fit_predictor(str(files.weights), kind="additive", seed=0)
    assert fitted.report.samples == len(archs)
    assert abs(fitted.report.tau) < 0.3
    assert f"{len(archs)} subnets" in json.loads(fitted.path.read_text())["description"]


def test_samples_of_other_weights_and_of_fewer_images_displace_none(
    small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    before = SampleSet.load(str(files.weights)).samples
    stored(files, [replace(one, supernet="f" * 64) for one in before])
    stored(files, [replace(one, correct=1, correct_even=0, images=10) for one in before])
    assert SampleSet.load(str(files.weights)).samples == before


def test_samples_on_other_data_are_left_aside_by_name(
    small: SmallSupernet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = small.copy_to(tmp_path / "run")
    before = SampleSet.load(str(files.weights)).samples
    others = [replace(one, split="others/predictor, seed 0", correct=1, correct_even=0) for one in before]
    stored(files, others[:5])
    report = fit_predictor(str(files.weights), kind="additive", seed=0).report
    assert (report.samples, report.tau) == (SUBNETS, small.fitted.tau)
    assert "5 samples of others/predictor, seed 0 are left aside" in caplog.text


@pytest.fixture
def other_data(tmp_path: Path) -> Path:
    """Other images of the same classes in a folder of the same name."""
    return write_images(tmp_path / "elsewhere" / "shapes", train=2)


def test_other_images_of_the_same_name_are_other_data(
    small: SmallSupernet, other_data: Path, tmp_path: Path
) -> None:
    def pending(data: Path) -> int:
        plan = Collection.plan(
            Bench.open(str(files.weights)), count=SUBNETS, data=str(data), images=60, seed=0
        )
        return len(plan.archs)

    files = small.copy_to(tmp_path / "run")
    assert (pending(small.data), pending(other_data)) == (0, SUBNETS)
    files.samples.write_text(re.sub(r', "digest": "\w+"', "", files.samples.read_text()))  # as it was once
    assert (pending(small.data), pending(other_data)) == (0, 0)
    card = SupernetCard.load(files.card)
    shutil.copytree(other_data, renamed := other_data.with_name("others"))
    assert card.data == "shapes"
    assert pending(renamed) == SUBNETS


def test_collecting_stops_when_it_is_enough(
    small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LEAST_TO_JUDGE", 12)
    files = small.copy_to(tmp_path / "run")
    samples = SampleStore(files.samples).read()
    assert len(samples) == SUBNETS
    taken: list[AccuracySample] = []

    def stream() -> Iterator[AccuracySample]:
        for sample in samples:
            taken.append(sample)
            SampleStore(files.samples).append(sample)
            yield sample

    files.samples.unlink()
    records = list(collect_until(Aim("rmse", 0.9), stream(), str(files.weights), seed=0))
    standings = [record for record in records if isinstance(record, Standing)]
    assert [one.samples for one in standings] == [20]
    assert standings[0].is_reached
    assert len(taken) == 20 < SUBNETS
    again = list(collect_until(Aim("rmse", 0.9), stream(), str(files.weights), seed=0))
    assert [type(record) for record in again] == [Standing]
    never = list(collect_until(Aim("tau", 0.9999), iter(samples[:10]), str(files.weights), seed=0))
    assert [isinstance(record, Standing) for record in never] == [True] + [False] * CHECK_EVERY + [True]


@pytest.mark.slow
def test_two_workers_share_the_work(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    files.samples.unlink()
    command = [sys.executable, "-m", "ofa_nas", "predictor", "collect", "--supernet", str(files.weights)]
    command += [
        "--data",
        str(small.data),
        "--count",
        str(SUBNETS),
        "--images",
        "60",
        "--threads",
        "1",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    collected = [json.loads(worker.communicate(timeout=300)[0])["collected"] for worker in workers]
    lines = files.samples.read_text().splitlines()
    assert sum(collected) == len(lines) == len({json.loads(line)["arch"] for line in lines}) == SUBNETS
