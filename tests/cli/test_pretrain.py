"""`ofa-nas pretrain`, and that `ofa-nas train` starts from what it leaves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from tests.cli.conftest import Command
from tests.small_supernet import write_images

TINY = ["pretrain", "--space", "tiny", "--device", "cpu", "--threads", "1", "--batch-size", "8"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8))
    return path


def test_pretraining_leaves_a_supernet_that_training_starts_from(
    command: Command, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    printed = command(*TINY, "--data", images, "--output", output, "--epochs", "2", "--seed", "3", "--json")
    assert printed.status == 0
    assert printed.err.startswith("epoch 1.00 (")
    files = SupernetFiles(output / "supernet.safetensors")
    assert printed.document["supernet"] == str(files.weights)
    for report in printed.document["history"]:
        assert report["loss"] == pytest.approx(report["terms"]["align"] + report["terms"]["uniform"])
    supernet, card = load_supernet(files)
    assert card.space.classes == 10
    assert card.data == "images.npz"
    assert (card.made_by["loss"], card.made_by["recipe"]["seed"]) == ("align-uniform", 3)

    shapes = write_images(tmp_path / "shapes", train=2, val=2)
    flags = [
        "--from",
        files.weights,
        "--data",
        shapes,
        "--output",
        tmp_path / "trained",
        "--batch-size",
        "20",
    ]
    rate = ["--learning-rate", "1e-11", "--epochs", "1", "--batch-size", "20", "--device", "cpu"]
    assert command("train", *flags, *rate).status == 0
    trained, card = load_supernet(SupernetFiles(tmp_path / "trained" / "supernet.safetensors"))
    assert card.class_names[0] == "class_0"
    assert str(files.weights) in card.made_by["start"]
    before, after = supernet.state_dict(), trained.state_dict()
    weights = [name for name in before if name.endswith(".weight") and ".bn." not in name]
    assert all(
        torch.allclose(before[name], after[name], atol=1e-5) == ("classifier" not in name) for name in weights
    )


def test_images_that_are_not_square_can_be_seen_whole(command: Command, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(8):
        Image.new("RGB", (64, 32), (index, 90, 200)).save(tmp_path / "photos" / f"{index}.png")
    flags = ["--data", tmp_path / "photos", "--epochs", "1", "--fit"]
    assert command(*TINY, *flags, "pad", "--output", tmp_path / "pad").status == 0
    start = tmp_path / "pad" / "supernet.safetensors"
    assert SupernetCard.load(SupernetFiles(start).card).fit == "pad"


def test_people_are_told_what_to_do_next(command: Command, images: Path, tmp_path: Path) -> None:
    printed = command(*TINY, "--data", images, "--output", tmp_path / "run", "--epochs", "1")
    assert printed.status == 0
    assert f"supernet {tmp_path / 'run' / 'supernet.safetensors'}" in printed.text
    assert "ofa-nas train --from" in printed.text


def test_the_sandwich_recipe_and_a_start_are_taken(command: Command, images: Path, tmp_path: Path) -> None:
    first = [*TINY, "--data", images, "--output", tmp_path / "first", "--epochs", "1", "--recipe", "sandwich"]
    assert command(*first).status == 0
    start = tmp_path / "first" / "supernet.safetensors"
    again = ["--from", start, "--data", images, "--output", tmp_path / "again", "--epochs", "1"]
    assert command("pretrain", *again, "--batch-size", "8", "--device", "cpu", "--threads", "1").status == 0
    _, card = load_supernet(SupernetFiles(tmp_path / "again" / "supernet.safetensors"))
    assert str(start) in card.made_by["start"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--space", "nowhere"], "nowhere: no such search space"),
        (["--data", "no/such/folder"], "no such folder"),
        (["--data", "none.npz"], "none.npz: no such file"),
        (["--device", "abacus"], "--device abacus: expected auto, cpu, cuda or cuda:N"),
        (["--from", "nothing_such"], "nothing_such"),
        (["--loss", "contrast"], "there is no 'contrast'; there are align-uniform"),
        (["--recipe", "progressive"], "recipe 'progressive': there are largest, sandwich"),
        (["--batch-size", "25"], "24 training images are less than one batch of 25"),
        (["--epochs", "-1"], "--epochs -1.0: expected"),
        (["--learning-rate", "-0.1"], "--learning-rate -0.1: expected a number above 0"),
        (["--crop-scale", "0"], "--crop-scale 0.0: expected a share"),
        (["--resume"], "checkpoint.safetensors: nothing to resume: leave out --resume"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(
    flags: list[str], message: str, refused: Callable[..., str], images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert message in refused(*TINY, "--data", images, "--output", output, *flags)
    assert not output.exists()


@pytest.mark.parametrize(
    "line", ["divergence = 'alpha'", "label_smoothing = 0.1", "balance = 0.5", "saturation = 0.1"]
)
def test_a_recipe_that_speaks_of_labels_is_refused(
    line: str, refused: Callable[..., str], images: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.toml"
    phase = "[[phases]]\nname = 'a'\nteacher = 'none'\nepochs = 1.0\nlearning_rate = 0.1\n"
    recipe.write_text(f"{line}\n{phase}")
    shown = refused(*TINY, "--data", images, "--output", tmp_path / "run", "--recipe", recipe)
    assert f"{recipe}: {line.split(maxsplit=1)[0]}" in shown
