"""`ofa-nas train`; that a killed training resumes is in tests/training/test_train.py."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from ofa_nas.cli import build_parser
from ofa_nas.data import Flip
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetFiles
from tests.cli.conftest import Command
from tests.small_supernet import write_images

TINY = [
    "train",
    "--space",
    "tiny",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--batch-size",
    "20",
    "--epochs",
    "1",
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "shapes", train=4, val=2)


def test_training_leaves_a_supernet_and_its_history(command: Command, shapes: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    printed = command(*TINY, "--data", shapes, "--output", output, "--seed", "3", "--json")
    assert printed.status == 0
    found, told = printed.err.splitlines()
    assert found == "40 images of 10 classes, and 20 held out"
    assert told.startswith("epoch 1.00 (sandwich)  loss ")
    assert printed.document["supernet"] == str(output / "supernet.safetensors")
    (report,) = printed.document["history"]
    assert report.keys() == {"step", "epoch", "loss", "smallest", "middle", "largest", "elapsed_s", "phase"}
    assert report["step"] == 2
    _, card = load_supernet(SupernetFiles(output / "supernet.safetensors"))
    assert card.made_by["recipe"]["seed"] == 3
    assert card.made_by["recipe"]["batch_size"] == 20


def test_people_are_told_where_the_supernet_lies(command: Command, shapes: Path, tmp_path: Path) -> None:
    printed = command(*TINY, "--data", shapes, "--output", tmp_path / "run")
    assert printed.status == 0
    assert printed.text == f"supernet {tmp_path / 'run' / 'supernet.safetensors'}"


def test_a_training_is_not_overwritten_by_another(
    command: Command, refused: Callable[..., str], shapes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert command(*TINY, "--data", shapes, "--output", output).status == 0
    before = (output / "checkpoint.safetensors").read_bytes()
    shown = refused(*TINY, "--data", shapes, "--output", output, "--seed", "5")
    assert f"{output} holds a training: --resume continues it" in shown
    assert (output / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("recipe", ["progressive", "shrink", "refine"])
def test_another_recipe_is_trained_by_name(
    recipe: str, command: Command, shapes: Path, tmp_path: Path
) -> None:
    printed = command(*TINY, "--data", shapes, "--output", tmp_path / "run", "--recipe", recipe)
    assert printed.status == 0
    _, card = load_supernet(SupernetFiles(tmp_path / "run" / "supernet.safetensors"))
    assert card.made_by["recipe"]["name"] == recipe


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--space", "nowhere"], "nowhere: no such search space"),
        (["--data", "no/such/folder"], "no such folder"),
        (["--device", "abacus"], "--device abacus: expected auto, cpu, cuda or cuda:N"),
        (["--from", "nothing_such"], "nothing_such"),
        (["--recipe", "cake"], "recipe 'cake': there are progressive, refine, sandwich, shrink"),
        (["--recipe", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--batch-size", "41"], "40 training images are less than one batch of 41"),
        (["--batch-size", "0"], "--batch-size 0: expected"),
        (["--epochs", "nan"], "--epochs nan: expected"),
        (["--epochs", "-1"], "--epochs -1.0: expected"),
        (["--random-subnets", "-1"], "--random-subnets -1: expected a number from 0 to 64"),
        (["--learning-rate", "-0.1"], "--learning-rate -0.1: expected a number above 0"),
        (["--crop-scale", "0"], "--crop-scale 0.0: expected a share"),
        (["--balance", "nan"], "--balance nan: expected a number from 0"),
        (["--checkpoint-minutes", "nan"], "--checkpoint-minutes nan: expected 0.0 or more"),
        (["--image-size", "1000000"], "--image-size 1000000: expected 4096 or less"),
        (["--image-size", "7"], "--image-size 7: expected 8 or more"),
        (["--resume"], "checkpoint.safetensors: nothing to resume: leave out --resume"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(
    flags: list[str], message: str, refused: Callable[..., str], shapes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert message in refused(*TINY, "--data", shapes, "--output", output, *flags)
    assert not output.exists()


def test_flips_colours_and_balance_are_trained_with_and_stand_in_the_card(
    command: Command, shapes: Path, tmp_path: Path
) -> None:
    own = ["--flip", "both", "--brightness", "0.2", "--saturation", "0", "--balance", "0.5"]
    start = [*TINY, "--data", shapes, "--output", tmp_path / "run"]
    assert command(*start, *own).status == 0
    _, card = load_supernet(SupernetFiles(tmp_path / "run" / "supernet.safetensors"))
    recipe = card.made_by["recipe"]
    told = [recipe[name] for name in ("flip", "brightness", "saturation", "balance")]
    assert told == ["both", 0.2, 0.0, 0.5]


def test_the_flips_of_the_command_line_are_those_of_a_recipe() -> None:
    for command in ("train", "pretrain", "transfer", "prune"):
        parser = build_parser([command])
        for flip in get_args(Flip):
            needed = ["--data", "x"] + (["--from", "x"] if command in ("transfer", "prune") else [])
            assert parser.parse_args([command, *needed, "--flip", flip]).flip == flip


def test_a_resume_at_another_rate_is_told_and_stands_in_the_card(
    command: Command, shapes: Path, tmp_path: Path
) -> None:
    start = [*TINY, "--data", shapes, "--output", tmp_path / "run"]
    assert command(*start, "--learning-rate", "0.02").status == 0
    again = command(*start, "--resume", "--learning-rate", "0.001")
    assert again.status == 0
    assert "peak learning rate 0.001 from step 3 on, 0.02 before" in again.err
    _, card = load_supernet(SupernetFiles(tmp_path / "run" / "supernet.safetensors"))
    assert card.made_by["rates"] == [{"step": 3, "before": 0.02, "learning_rate": 0.001}]
    assert card.made_by["recipe"]["phases"][0]["learning_rate"] == 0.001
    assert [report["step"] for report in card.made_by["history"]] == [2]


def test_a_training_that_diverges_tells_step_and_rate(command: Command, shapes: Path, tmp_path: Path) -> None:
    flags = ["--data", shapes, "--output", tmp_path / "run", "--epochs", "40", "--learning-rate", "1e30"]
    printed = command(*TINY, *flags)
    assert printed.status == 1
    assert "the loss is nan at step" in printed.err
    assert "lower --learning-rate" in printed.err
    assert not (tmp_path / "run" / "supernet.safetensors").exists()
