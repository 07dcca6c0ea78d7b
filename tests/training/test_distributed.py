"""Two processes that `torchrun` starts train what one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ofa_nas
from ofa_nas.errors import ConfigError
from ofa_nas.supernet.checkpoint import read_tensors
from ofa_nas.training.distributed import Ranks
from tests.small_supernet import write_images

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def train(output: Path, data: Path, *, launcher: list[str], recipe: str) -> list[dict[str, float]]:
    """Train by the command line; returns the reports of the steps and epochs."""
    root = Path(ofa_nas.__file__).parents[1]
    space = output.parent / "dropping.toml"  # what is dropped may not depend on the processes either
    tiny = (root / "search_spaces" / "tiny.toml").read_text(encoding="utf-8")
    space.write_text(tiny.replace("dropout = 0.0", "dropout = 0.3"), encoding="utf-8")
    settings = ["-m", "ofa_nas", "train", "--space", str(space), "--device", "cpu", "--recipe", recipe]
    settings += ["--epochs", "5", "--batch-size", "20", "--learning-rate", "0.1", "--random-subnets", "1"]
    command = [sys.executable, *launcher, *settings, "--data", str(data), "--output", str(output)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sandwich", "progressive"])
def test_two_processes_have_the_loss_curve_of_one(recipe: str, tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=8, val=4)
    one = train(tmp_path / "one", data, launcher=[], recipe=recipe)
    two = train(tmp_path / "two", data, launcher=TORCHRUN, recipe=recipe)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    assert len({line["loss"] for line in one}) > 3  # it does learn something
    for alone, together in zip(one, two, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    weights = [read_tensors(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3, msg=name)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigError, match="--batch-size 21: 2 processes share it equally, 2 images or more"):
        Ranks(0, 2).check(21)
    with pytest.raises(ConfigError, match="--batch-size 2: 2 processes"):
        Ranks(0, 2).check(2)
    Ranks(0, 2).check(4)


def test_shares_of_a_batch_are_all_of_it() -> None:
    rows = list(range(12))
    assert [rows[Ranks(rank, 3).share(12)] for rank in range(3)] == [rows[:4], rows[4:8], rows[8:]]
    assert rows[Ranks().share(12)] == rows
