"""Images that are not square: whoever looks at them later sees them as the supernet did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.data import Source
from ofa_nas.data.packed import GREY, PackedImages
from ofa_nas.data.sample import decode, load_images
from ofa_nas.errors import ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.pipeline.adapting.transfer import TransferPlan, TransferredSubnet, transfer_subnet
from ofa_nas.pipeline.adapting.transfer_source import open_subnet
from ofa_nas.pipeline.delivery.contenders import contender_of_file
from ofa_nas.pipeline.evaluating import judging
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.training.learning import TrainedSupernet, train_supernet
from ofa_nas.pipeline.training.starting import bootstrap_supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.splits import SplitSizes
from ofa_nas.transfer.adapt import transfer_recipe
from tests.pipeline.test_learning import BRIEF, CPU, write_folder
from tests.small_supernet import plan


def outside(images: np.ndarray) -> set[int]:
    """Values of the top row, which is grey of padded images and nothing else."""
    return set(np.unique(images[:, 0]).tolist())


def spied(monkeypatch: pytest.MonkeyPatch) -> list[PackedImages]:
    """What `evaluate` will have looked at."""
    seen: list[PackedImages] = []

    def decoded(source: Source) -> PackedImages:
        seen.append(decode(source))
        return seen[-1]

    monkeypatch.setattr(judging, "decode", decoded)
    return seen


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedSupernet]:
    """Images of 64 x 32 px, and a supernet that was trained on them with a border above and below."""
    folder = tmp_path_factory.mktemp("padded")
    photos = write_folder(folder / "photos", (20, 20), side_px=32, width_px=64)
    padding = replace(plan(photos, folder / "run", recipe=replace(BRIEF, batch_size=8)), fit="pad")
    *_, trained = train_supernet(padding, device=CPU)
    assert isinstance(trained, TrainedSupernet)
    return photos, trained


def test_a_supernet_sees_all_images_by_the_fit_that_it_was_trained_with(
    padded: tuple[Path, TrainedSupernet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, trained = padded
    seen = spied(monkeypatch)
    list(evaluate(trained.files.weights, ["smallest"], data=str(photos)))
    assert outside(seen[0].images) == {GREY}
    started = bootstrap_supernet(
        str(trained.files.weights), output=tmp_path / "again.safetensors", data=str(photos)
    )
    for files in (trained.files, started.files):
        assert SupernetCard.load(files.card).fit == "pad"
        bench = Bench.open(str(files.weights))
        for images in (
            np.asarray(bench.calibration),
            bench.held_out_images(images=None, seed=0).images,
            bench.predictor_images(str(photos), images=2, seed=0).images,
            decode(bench.open_data(str(photos)).val).images,
        ):
            assert images.shape[1:3] == (64, 64)
            assert outside(images) == {GREY}


def test_another_fit_may_be_asked_for(padded: tuple[Path, TrainedSupernet], tmp_path: Path) -> None:
    photos, trained = padded
    cropped = bootstrap_supernet(
        str(trained.files.weights), output=tmp_path / "cropped.safetensors", data=str(photos), fit="crop"
    )
    assert SupernetCard.load(cropped.files.card).fit == "crop"
    assert outside(load_images(cropped.files.calibration).images) != {GREY}
    with pytest.raises(ConfigError, match=r"--fit crop is how .*: give --data"):
        bootstrap_supernet(
            str(trained.files.weights), output=tmp_path / "x.safetensors", data=None, fit="crop"
        )


def test_a_transfer_takes_the_fit_of_its_subnet_and_its_file_tells_it(
    padded: tuple[Path, TrainedSupernet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, trained = padded
    moving = TransferPlan(
        subnet="smallest",
        supernet=str(trained.files.weights),
        data=str(photos),
        recipe=transfer_recipe("last", batch_size=8),
        sizes=SplitSizes(reports=2),
        folder=tmp_path / "run",
    )
    *_, moved = transfer_subnet(moving, device=CPU)
    assert isinstance(moved, TransferredSubnet)
    assert SupernetCard.load(moved.files.card).fit == "pad"
    assert outside(load_images(moved.files.calibration).images) == {GREY}
    path = moved.delivery.path
    card = ModelCard.from_model(read_model(path), path)
    assert card.fit == "pad"
    assert open_subnet(str(path), "").fit == "pad"
    against = replace(card, fit="crop")
    baseline = contender_of_file("it", path, card, kind="exported", against=against)
    assert baseline.unknown == "it sees images that are not square by --fit pad, the file by crop"

    seen = spied(monkeypatch)
    list(evaluate("no/such/supernet", [str(path)], data=str(photos)))
    assert outside(seen[0].images) == {GREY}
    cropped = bootstrap_supernet(
        str(trained.files.weights), output=tmp_path / "cropped.safetensors", data=str(photos), fit="crop"
    )
    with pytest.raises(ConfigError, match="by different fits, crop and pad: judge them one by one, with"):
        list(evaluate(cropped.files.weights, [str(path), "smallest"], data=str(photos)))
    with pytest.raises(ConfigError, match="by different fits, crop and pad"):
        list(evaluate(cropped.files.weights, [str(path)]))
