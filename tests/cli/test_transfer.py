"""A transfer from end to end: to a user's folder, from an architecture and from a file, and checked."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_nas.errors import ConfigError
from ofa_nas.export.card import read_model
from ofa_nas.pipeline.adapting.transfer_source import SourceSubnet, named_subnet, open_subnet
from ofa_nas.pipeline.delivery.file_verification import Delivery, verify_file
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.evaluate import calibrated_subnet
from ofa_nas.transfer.methods import METHODS
from ofa_nas.transfer.network import TransferNetwork, transfer_space
from tests.cli.conftest import Command
from tests.small_supernet import LICENCE, SmallSupernet

Refused = Callable[..., str]
CLASSIFIER = "layers.classifier.linear.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's images, 3 classes that the supernet does not know."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(6)
    for label, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir()
        for index in range(24):
            pixels = rng.integers(0, 120, (40, 40, 3))
            pixels[..., label] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    return root


def transfer(
    command: Command, small: SmallSupernet, folder: Path, output: Path, *more: object
) -> dict[str, Any]:
    printed = command(
        "transfer", "--from", "smallest", "--supernet", small.name, "--data", folder, "--output", output,
        "--epochs", 3, "--json", "--threads", 1, *more,
    )  # fmt: skip
    assert printed.status == 0, printed.err
    return printed.document


def test_a_users_folder_is_learnt_exported_and_verified(
    command: Command, refused: Refused, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    own = ("--learning-rate", 0.01, "--balance", 0.5, "--flip", "none")
    document = transfer(command, small, folder, tmp_path / "run", *own)
    assert document["is_met"]
    assert not document["keeps_classifier"]
    assert document["classes"] == 3
    assert document["measured"]["accuracy"] > 0.6
    assert len(document["epochs"]) == 3
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line for line in lines if line["kind"] == "epoch"] == [
        {"kind": "epoch", **epoch} for epoch in document["epochs"]
    ]
    names = {node.output[0] for node in read_model(Path(document["file"])).graph.node}
    assert {"s0b0/lite_conv", "s0b0/lite_grow", "s1b0/lite_add"} <= names
    files = SupernetFiles(Path(document["subnet"]))
    supernet, card = load_supernet(files)
    assert card.class_names == ("blue", "green", "red")
    assert card.made_by["transfer"] == "lite+bias"
    assert card.licence == LICENCE
    assert (card.made_by["recipe"]["balance"], card.made_by["recipe"]["flip"]) == (0.5, "none")
    assert card.space.cardinality == 1
    records = list(verify_file(Path(document["file"]), supernet=document["subnet"], device=None, budgets=()))
    assert isinstance(records[-1], Delivery)
    assert records[-1].is_met
    printed = command("evaluate", "largest", "--supernet", document["subnet"], "--json")
    assert printed.document["results"][0]["accuracy"] == pytest.approx(document["measured"]["accuracy"])
    told = refused("search", "--supernet", document["subnet"], "--macs", "1M")
    assert (
        "1 of the 8 architectures that a predictor needs, too few to search: evaluate them (ofa-nas" in told
    )
    images = np.zeros((3, 24, 24, 3), np.uint8)
    normalization = records[-1].card.normalization
    before = supernet.extract(card.space.largest).state_dict()
    after = calibrated_subnet(
        supernet, card.space.largest, images=images, normalization=normalization
    ).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "calibration changes nothing"


@pytest.mark.slow
def test_the_subnet_may_be_chosen_for_the_task(
    command: Command, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    """Feature-extractor adaptation, as docs/transfer.md tells it: to an architecture that the task chose."""
    own = tmp_path / "own" / "supernet.safetensors"
    on_task = ("--supernet", own, "--json")
    train = ("--recipe", "shrink", "--epochs", 2, "--batch-size", 16, "--threads", 1, "--output", own.parent)
    printed = command("train", "--from", small.name, "--data", folder, *train, "--json")
    assert printed.status == 0, printed.err
    collect = ("--data", folder, "--count", 12)
    for stage in (("predictor", "collect", *collect), ("predictor", "fit"), ("search", "--macs", "250k")):
        printed = command(*stage, *on_task)
        assert printed.status == 0, printed.err
    chosen = printed.document["architecture"]
    document = transfer(command, small, folder, tmp_path / "run", "--from", chosen, "--supernet", own)
    assert document["is_met"]
    subnet = SupernetFiles(Path(document["subnet"]))
    own_blocks = load_supernet(subnet)[1].space.largest.stages  # each a stage of its own
    assert [block for (block,) in own_blocks] == [
        block for stage in Architecture.parse(chosen).stages for block in stage
    ]
    assert document["measured"]["accuracy"] > 0.6


@pytest.mark.parametrize("method", ["bn", "full"])
def test_trained_scales_and_weights_are_in_the_file(
    method: str, command: Command, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    document = transfer(command, small, folder, tmp_path / "run", "--method", method, "--epochs", 1)
    assert document["is_met"]
    names = {node.output[0] for node in read_model(Path(document["file"])).graph.node}
    assert not any("lite" in name for name in names)


def test_a_file_starts_a_transfer_as_its_architecture_does(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    file = tmp_path / "subnet.onnx"
    assert command("export", "smallest", "--supernet", small.name, "--output", file, "--json").status == 0
    by_file, by_text = open_subnet(str(file), ""), open_subnet("smallest", small.name)
    assert by_file.arch == by_text.arch
    assert by_file.normalization == by_text.normalization
    assert by_file.licence == by_text.licence == LICENCE
    method = METHODS["lite+bias"]
    space = transfer_space(by_file.space, by_file.arch, classes=3, method=method)
    networks = []
    for source in (by_file, by_text):
        own = TransferNetwork(space, method)
        own.load_folded(
            source.weights, list(source.space.layers(source.arch)), where=source.name, rows=[2, 0, 1]
        )
        own.initialise(torch.Generator().manual_seed(0))
        networks.append(own.state_dict())
    for key, value in networks[0].items():
        torch.testing.assert_close(value, networks[1][key], rtol=0, atol=1e-6)


def test_a_fresh_transfer_computes_what_the_subnet_does(small: SmallSupernet) -> None:
    source = open_subnet("largest", small.name)
    supernet, _ = load_supernet(small.files)
    subnet = calibrated_subnet(
        supernet, source.arch, images=small.calibration, normalization=source.normalization
    )
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = subnet(x)
        for rows in (list(range(10)), [7, 0, 9]):
            found = begun(source, classes=len(rows), rows=rows)(x)
            torch.testing.assert_close(found, expected[:, rows], rtol=1e-4, atol=1e-4)
        assert not begun(source, classes=10, rows=None)(x).any()


def begun(source: SourceSubnet, *, classes: int, rows: list[int] | None) -> TransferNetwork:
    """A network before its first step."""
    method = METHODS["lite+bias"]
    own = TransferNetwork(transfer_space(source.space, source.arch, classes=classes, method=method), method)
    own.load_folded(source.weights, list(source.space.layers(source.arch)), where="here", rows=rows)
    own.initialise(torch.Generator().manual_seed(0))
    return own


@pytest.mark.parametrize("method", ["last", "lite+bias"])
def test_the_classifier_of_known_classes_is_kept(
    method: str, command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    hardly = ("--epochs", 0.1, "--learning-rate", 1e-9, "--method", method)
    document = transfer(command, small, small.data, tmp_path / "run", *hardly)
    assert document["keeps_classifier"]
    assert document["classes"] == 10
    (before,) = command("evaluate", "smallest", "--supernet", small.name, "--json").document["results"]
    assert before["accuracy"] > 0.3
    assert document["measured"]["accuracy"] == pytest.approx(before["accuracy"], abs=0.011)


def test_some_of_the_known_classes_keep_their_rows_and_one_unknown_class_keeps_none(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    for split in ("train", "val"):
        for name in ("class_3", "class_1"):
            shutil.copytree(small.data / split / name, some / split / name)
    base = ("transfer", "--from", "smallest", "--supernet", small.name, "--data", some, "--threads", 1)
    hardly = ("--epochs", 0.1, "--learning-rate", 1e-9, "--method", "last")
    printed = command(*base, *hardly, "--output", tmp_path / "run")
    assert "classes   2; classifier kept: the subnet knew them all" in printed.out
    assert f"licence   {LICENCE}" in printed.out
    rows = load_supernet(small.files)[0].state_dict()[CLASSIFIER][[1, 3]]
    kept = load_supernet(SupernetFiles(tmp_path / "run" / "subnet.safetensors"))[0].state_dict()[CLASSIFIER]
    torch.testing.assert_close(kept, rows, rtol=1e-3, atol=1e-5)
    for split in ("train", "val"):
        (some / split / "class_1").rename(some / split / "others")
    printed = command(*base, *hardly, "--output", tmp_path / "new")
    assert "classes   2; classifier new" in printed.out
    new = load_supernet(SupernetFiles(tmp_path / "new" / "subnet.safetensors"))[0].state_dict()[CLASSIFIER]
    assert new.abs().max() < 1e-6


def test_a_subnet_with_lite_residuals_is_no_start(
    command: Command, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    document = transfer(command, small, folder, tmp_path / "run", "--epochs", 0.5)
    with pytest.raises(ConfigError, match="was transferred with lite residual modules already"):
        named_subnet(document["file"], "")


def test_wrong_inputs_are_one_clear_error(
    refused: Refused, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    base = ("transfer", "--supernet", small.name, "--data", folder, "--output", tmp_path / "run")
    assert "none.onnx: cannot be read" in refused(*base, "--from", tmp_path / "none.onnx")
    assert "96/3x9 is not in tiny" in refused(*base, "--from", "96/3x9")
    assert "--batch-size 0: expected 1 or more" in refused(*base, "--from", "smallest", "--batch-size", 0)
    assert "--epochs 0.0: expected a number above 0" in refused(*base, "--from", "smallest", "--epochs", 0)
    assert "sub-folders" in refused(
        "transfer", "--supernet", small.name, "--data", tmp_path, "--from", "smallest", "--output", tmp_path
    )
    assert "checkpoint.safetensors: nothing to resume" in refused(*base, "--from", "smallest", "--resume")
    assert "--batch 0: expected 1 or more" in refused("memory", "smallest", "--batch", 0)
    assert "--methods sgd: expected one of" in refused("memory", "smallest", "--methods", "sgd")
    assert "GB; give a smaller batch" in refused("memory", "smallest", "--batch", 10**7)


def test_a_run_folder_is_not_overwritten(
    command: Command, refused: Refused, small: SmallSupernet, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    transfer(command, small, folder, output, "--epochs", 0.5)
    base = ("transfer", "--from", "smallest", "--supernet", small.name, "--data", folder, "--output", output)
    assert "holds a transfer: --resume continues it" in refused(*base)
    assert "epochs = 0.5, now it is 5.0" in refused(*base, "--resume")
    base = (*base[:-1], small.copy_to(tmp_path / "training").weights.parent)
    told = refused(*base, "--resume")  # of a training, not of a transfer
    assert "made with recipe.name = small, now it is transfer; recipe.phases.0.name = sandwich, " in told
    assert re.search(r" = [^;]*, now it is [^;]*; …; resume with the same settings", told)
    again = transfer(command, small, folder, output, "--epochs", 0.5, "--resume")
    assert again["is_met"]


def test_memory_is_told_where_the_system_does_not_tell_how_much_it_has(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.sysconf")
    monkeypatch.setattr("ofa_nas.pipeline.adapting.transfer_memory.training_growth", lambda *_, **__: None)
    few = ("--batch", 2, "--methods", "last", "--json")
    (row,) = command("memory", "24/3x2/3x2", "--space", "tiny", *few).document["bytes"]
    assert row["growth"] == {"ours": None, "torch": None}


@pytest.mark.campaign
@pytest.mark.slow
def test_memory_is_told_twice(command: Command) -> None:
    printed = command(
        "memory", "24/3x2/3x2", "--space", "tiny", "--batch", 2, "--methods", "last,lite+bias", "--json"
    )
    document = printed.document
    assert document["architecture"] == "24/3x2/3x2"
    assert [row["method"] for row in document["bytes"]] == ["last", "lite+bias"]
    last, lite = document["bytes"]
    assert last["account"] < lite["account"]
    assert last["kept"]["ours"] == last["kept"]["torch"] < lite["kept"]["ours"] < lite["kept"]["torch"]
