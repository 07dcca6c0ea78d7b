"""What a training leaves in its folder, and what each file says."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackProgress
from ofa_nas.data.sample import load_sample
from ofa_nas.errors import ConfigError, DataError, SpaceError
from ofa_nas.pipeline.adapting.prune import PrunePlan, prune_recipe, prune_subnet
from ofa_nas.pipeline.adapting.transfer import TransferPlan, transfer_subnet
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.training.learning import TrainedSupernet, train_supernet
from ofa_nas.pipeline.training.starting import bootstrap_supernet
from ofa_nas.pipeline.training.training_run import warn_of_size
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.loop import StepReport
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.splits import SplitSizes
from ofa_nas.transfer.adapt import transfer_recipe
from tests.small_supernet import RECIPE, SANDWICH, SmallSupernet, plan, write_images

CPU = torch.device("cpu")
BRIEF = Recipe("brief", (replace(SANDWICH, epochs=0.2, random_subnets=0),), batch_size=20)


def test_the_card_tells_what_made_the_weights(small: SmallSupernet) -> None:
    _, card = load_supernet(small.files)
    assert card.data == "shapes"
    assert card.class_names == tuple(f"class_{index}" for index in range(10))
    assert card.made_by["recipe"] == json.loads(json.dumps(recipe_document(RECIPE)))
    assert card.made_by["start"] == "random weights"
    assert card.made_by["provenance"]["seed"] == RECIPE.seed
    assert card.made_by["history"] == [asdict(report) for report in small.trained.history]
    assert len(load_sample(small.files.calibration)) == 200
    assert len(load_sample(small.files.held_out)) == 100


def test_a_run_folder_holds_what_the_files_name(small: SmallSupernet) -> None:
    names = {path.name for path in small.files.weights.parent.iterdir()}
    assert names == {
        "checkpoint.safetensors",
        "history.jsonl",
        "supernet.safetensors",
        "supernet.json",
        "supernet.calibration.npz",
        "supernet.heldout.npz",
        "supernet.samples.jsonl",
        "supernet.predictor.json",
        ".supernet.samples.jsonl.claims",  # locks of those that collect
    }
    json.loads(small.files.predictor.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("counts", "seen", "held_out"), [((2, 1), 1, 0), ((1, 2), 0, 1), ((20, 1), 1, 0), ((2, 1, 2), 2, 0)]
)
def test_images_that_cannot_be_halved_are_refused_before_anything_begins(
    counts: tuple[int, ...], seen: int, held_out: int, tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "few", counts)
    with pytest.raises(DataError) as refused:
        next(train_supernet(plan(data, tmp_path / "run", recipe=BRIEF), device=CPU))
    assert str(refused.value) == (
        f"data few: of {seen + held_out} validation images {seen} are for reports and predictors, and "
        f"{held_out} for verification, and each needs at least one; two of one class are enough, which a "
        "folder that is not split has where every class has two images or more"
    )
    assert not (tmp_path / "run").exists()


def transfer(small: SmallSupernet, folder: Path) -> TransferPlan:
    recipe, sizes = transfer_recipe("last", batch_size=2), SplitSizes(reports=2)
    data = str(small.data)
    return TransferPlan(
        subnet="smallest", supernet=small.name, data=data, recipe=recipe, sizes=sizes, folder=folder
    )


def test_one_folder_takes_one_training_at_a_time(small: SmallSupernet, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = train_supernet(plan(small.data, folder, recipe=BRIEF), device=CPU)
    while not isinstance(next(first), StepReport):
        pass
    for second in (
        train_supernet(plan(small.data, folder, recipe=BRIEF), device=CPU),
        train_supernet(replace(plan(small.data, folder, recipe=BRIEF), resume=True), device=CPU),
        transfer_subnet(transfer(small, folder), device=CPU),
        prune_subnet(
            PrunePlan(
                subnet="smallest",
                supernet=small.name,
                data=str(small.data),
                method="imp",
                recipe=prune_recipe(),
                sizes=SplitSizes(),
                folder=folder,
            ),
            device=CPU,
        ),
    ):
        with pytest.raises(ConfigError, match="run: another training is at work here; wait for it, or give"):
            next(second)
    assert {path.name for path in folder.iterdir()} == {".training.lock", "history.jsonl"}
    first.close()
    assert {path.name for path in folder.iterdir()} == {"checkpoint.safetensors", "history.jsonl"}
    next(train_supernet(replace(plan(small.data, folder, recipe=BRIEF), resume=True), device=CPU))


@pytest.mark.parametrize("recipe", [BRIEF, replace(BRIEF, phases=(SANDWICH,))])
def test_a_recipe_that_leaves_some_subnets_untrained_is_told(
    recipe: Recipe, small: SmallSupernet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = train_supernet(plan(small.data, tmp_path / "run", recipe=recipe), device=CPU)
    while not isinstance(next(training), StepReport):
        pass
    training.close()
    told = "recipe brief: no phase draws random_subnets of the whole space (all its resolutions, "
    assert (told in caplog.text) == (recipe is BRIEF)


@pytest.mark.parametrize("counts", [(2, 2), (20, 2), (2, 2, 2)])
def test_two_images_of_every_class_are_enough(counts: tuple[int, ...], tmp_path: Path) -> None:
    data = write_folder(tmp_path / "few", counts)
    recipe = replace(BRIEF, batch_size=2)
    *_, trained = train_supernet(plan(data, tmp_path / "run", recipe=recipe), device=CPU)
    assert isinstance(trained, TrainedSupernet)
    assert len(load_sample(trained.files.held_out)) >= 1


@pytest.mark.parametrize(("image_size", "size_px"), [(None, 256), (280, 280), (64, 256)])
def test_what_is_trained_on_large_images_is_judged_on_large_ones(
    image_size: int | None, size_px: int, tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "photos", (20, 20), side_px=300)
    recipe = replace(BRIEF, batch_size=8)
    large = replace(plan(data, tmp_path / "run", recipe=recipe), image_size=image_size)
    *_, trained = train_supernet(large, device=CPU)
    assert isinstance(trained, TrainedSupernet)
    assert SupernetCard.load(trained.files.card).made_by.get("image_size") == image_size
    started = bootstrap_supernet(
        str(trained.files.weights), output=tmp_path / "again.safetensors", data=str(data)
    )
    for files in (trained.files, started.files):
        bench = Bench.open(str(files.weights))
        assert bench.calibration.shape[1] == size_px
        assert bench.held_out_images(images=2, seed=0).size_px == size_px
        assert bench.predictor_images(str(data), images=2, seed=0).size_px == size_px


@pytest.mark.parametrize(
    ("resolution", "image_size", "warned"),
    [(320, None, True), (256, None, False), (320, 300, False), (320, 320, False), (320, 128, True)],
)
def test_a_resolution_that_images_are_not_packed_for_is_told(
    resolution: int, image_size: int | None, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = open_data(str(write_folder(tmp_path / "photos", (3, 3), side_px=300))).train
    warn_of_size(train, image_size, resolution)
    taken = image_size or 256
    told = f"the images have 300 px and are taken at {taken}, and the largest resolution is {resolution}"
    assert (told in caplog.text) == warned == ("are taken at" in caplog.text)
    if warned:
        assert "--image-size 300 " in caplog.text


def test_small_images_that_are_enlarged_are_told_to_nobody(
    small: SmallSupernet, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_size(open_data(str(small.data)).train, None, 320)
    assert "are taken at" not in caplog.text


@pytest.mark.parametrize(
    ("width_px", "told"),
    [
        (64, ""),
        (85, ""),  # 4 : 3
        (114, "of the median image (114 x 64 px) only the central square is seen, 56 % of it: "),
        (32, "of the median image (32 x 64 px) only the central square is seen, 50 % of it: "),
    ],
)
def test_edges_that_are_never_seen_are_told(
    width_px: int, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_folder(tmp_path / "photos", (3, 3), side_px=64, width_px=width_px)
    warn_of_size(open_data(str(photos)).train, None, 64)
    assert ("central square" in caplog.text) == bool(told)
    assert told in caplog.text


def test_a_few_longish_images_among_square_ones_are_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_folder(tmp_path / "photos", (6, 6), side_px=64)
    Image.new("RGB", (640, 64)).save(photos / "a" / "0.png")
    warn_of_size(open_data(str(photos)).train, None, 64)
    assert "central square" not in caplog.text


def write_folder(
    root: Path, counts: tuple[int, ...], *, side_px: int = 32, width_px: int | None = None
) -> Path:
    """A folder of so many images of each class, not split; square unless they have another width."""
    for name, count in zip("abc", counts, strict=False):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (width_px or side_px, side_px), (40 * index % 256, 90, 200)).save(
                root / name / f"{index}.png"
            )
    return root


def test_files_that_are_no_images_are_named_together(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "photos", (4, 4))
    for content, path in zip((b"", b"\x89PNG", b"text", b""), sorted((data / "a").iterdir()), strict=True):
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"3 of 6 images cannot be read: .*a/\d\.png: corrupt .*a/\d\.png: "):
        list(train_supernet(plan(data, tmp_path / "run"), device=CPU))


def test_images_are_decoded_once(tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=4, val=2)
    first = list(train_supernet(plan(data, tmp_path / "a", recipe=BRIEF), device=CPU))
    second = list(train_supernet(plan(data, tmp_path / "b", recipe=BRIEF), device=CPU))
    decoding = [
        [record for record in records if isinstance(record, PackProgress) and record.packed is None]
        for records in (first, second)
    ]
    assert decoding[0]
    assert decoding[1] == []
    assert isinstance(second[-1], TrainedSupernet)
    assert (tmp_path / "a" / "supernet.safetensors").read_bytes() == (
        tmp_path / "b" / "supernet.safetensors"
    ).read_bytes()


def test_wrong_plans_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=2, val=2)
    good = plan(data, tmp_path / "run", recipe=BRIEF)
    with pytest.raises(SpaceError, match="nowhere: no such search space"):
        list(train_supernet(replace(good, space="nowhere"), device=CPU))
    with pytest.raises(ConfigError, match="no such folder"):
        list(train_supernet(replace(good, data=str(tmp_path / "nowhere")), device=CPU))
    with pytest.raises(DataError, match="20 training images are less than one batch of 40"):
        list(train_supernet(replace(good, recipe=replace(BRIEF, batch_size=40)), device=CPU))
    with pytest.raises(ConfigError, match="nothing_such"):
        list(train_supernet(replace(good, start="nothing_such"), device=CPU))
    assert not (tmp_path / "run").exists()
    (data / "train" / "class_3" / "1.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"class_3/1\.png"):
        list(train_supernet(good, device=CPU))
    assert not (tmp_path / "run").exists()
