"""A pruning from end to end: channels are cut or tickets drawn, from an architecture or a file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from ofa_nas.export.card import read_model
from ofa_nas.pipeline.adapting.prune_start import dense_supernet
from ofa_nas.pipeline.adapting.transfer_source import open_subnet
from ofa_nas.pipeline.delivery.file_verification import Delivery, verify_file
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.elastic import ElasticConvolution
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.evaluate import batches
from tests.cli.conftest import Command
from tests.small_supernet import LICENCE, SmallSupernet

Refused = Callable[..., str]
SHORT = ("--epochs", 0.4, "--batch-size", 40, "--threads", 1)


def prune(command: Command, small: SmallSupernet, output: Path, *more: object) -> dict[str, Any]:
    printed = command(
        "prune", "--from", "largest", "--supernet", small.name, "--data", small.data, "--output", output,
        *SHORT, "--json", *more,
    )  # fmt: skip
    assert printed.status == 0, printed.err
    return printed.document


def weights_of(file: str) -> dict[str, np.ndarray]:
    initializers = read_model(Path(file)).graph.initializer
    return {one.name: numpy_helper.to_array(one) for one in initializers if len(one.dims) > 1}


def test_channels_are_cut_the_rest_is_trained_and_every_command_takes_it(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    document = prune(command, small, tmp_path / "run", "--epochs", 2, "--keep", 0.7)
    assert document["is_met"]
    assert document["measured"]["accuracy"] > 0.3, "ten classes"
    assert [one["step"] for one in document["epochs"]] == [10, 20]
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("step", 10), ("epoch", 10), ("step", 20), ("epoch", 20),
    ]  # fmt: skip
    assert document["after"]["macs"] < 0.85 * document["before"]["macs"]
    assert document["rounds"] == []
    files = SupernetFiles(Path(document["subnet"]))
    _, card = load_supernet(files)
    assert card.space.cardinality == 1
    assert card.made_by["prune"] == {"method": "channel", "keep": 0.7}
    shapes = {name: value.shape for name, value in weights_of(document["file"]).items()}
    for layer in card.space.layers(card.space.largest):
        if f"{layer.name}/expand.weight" in shapes:
            assert shapes[f"{layer.name}/expand.weight"][0] == layer.mid_channels
            assert shapes[f"{layer.name}/depthwise.weight"][0] == layer.mid_channels
            assert shapes[f"{layer.name}/project.weight"][1] == layer.mid_channels
    records = list(verify_file(Path(document["file"]), supernet=document["subnet"], device=None, budgets=()))
    assert isinstance(records[-1], Delivery)
    assert records[-1].is_met
    printed = command("evaluate", "largest", "--supernet", document["subnet"], "--json")
    assert printed.document["results"][0]["accuracy"] == pytest.approx(document["measured"]["accuracy"])
    exported = tmp_path / "again.onnx"
    assert command("export", "largest", "--supernet", document["subnet"], "--output", exported).status == 0
    shown = command("show", exported)
    assert shown.status == 0
    again = command(
        "prune", "--from", document["file"], "--data", small.data, "--output", tmp_path / "twice", "--json",
        *SHORT,
    )  # fmt: skip
    assert again.document["after"]["macs"] < document["after"]["macs"], "from a file, and once more"
    assert again.document["is_met"]


@pytest.mark.parametrize("method", ["channel", "imp"])
def test_the_card_tells_the_size_of_the_images_and_the_licence_of_the_start(
    method: str, command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    document = prune(command, small, tmp_path / "run", "--method", method, "--image-size", 24)
    card = SupernetCard.load(SupernetFiles(Path(document["subnet"])).card)
    assert (card.image_size, card.licence) == (24, LICENCE)


@pytest.mark.parametrize(("scope", "share", "least"), [("global", 0.2, 0.36), ("layer", 0.5, 0.6)])
def test_pruned_weights_are_exactly_0_in_the_file_and_the_rounds_are_told(
    scope: str, share: float, least: float, command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    more = ("--method", "imp", "--rounds", 2, "--share", share, "--rewind", 1, "--scope", scope)
    document = prune(command, small, tmp_path / "run", *more)
    assert document["is_met"]
    rounds = document["rounds"]
    assert [one["round"] for one in rounds] == [0, 1, 2]
    weights = rounds[0]["weights"]
    assert rounds[0]["remaining"] == weights
    pruned = weights - rounds[2]["remaining"]
    assert pruned >= least * weights, "by layer, the classifier loses half the share"
    tensors = weights_of(document["file"])
    assert sum(value.size for value in tensors.values()) == weights
    assert document["zeros"] == sum(int((value == 0.0).sum()) for value in tensors.values())
    assert pruned <= document["zeros"] <= pruned + 5, "a weight may be too small for half precision"
    assert document["after"] == document["before"]
    assert document["gzip_bytes"] < 0.7 * Path(document["file"]).stat().st_size


@pytest.mark.campaign
def test_tickets_go_on_between_rounds_to_the_same_end(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    more = ("--method", "imp", "--from-scratch", "--scope", "layer", "--rounds")
    whole = prune(command, small, tmp_path / "whole", *more, 2)
    prune(command, small, tmp_path / "parts", *more, 1)
    parts = prune(command, small, tmp_path / "parts", *more, 2, "--resume")
    assert parts["rounds"] == whole["rounds"]
    first, second = weights_of(whole["file"]), weights_of(parts["file"])
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_what_people_see_says_that_zeros_are_no_faster(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    base = ("prune", "--from", "smallest", "--supernet", small.name, "--data", small.data, *SHORT)
    text = command(*base, "--method", "imp", "--rounds", 1, "--output", tmp_path / "imp").text
    assert "zeros make the download smaller and nothing faster" in text
    assert "compressed by gzip" in text
    assert "80.0%" in text
    printed = command(*base, "--from", "largest", "--output", tmp_path / "channel")
    assert printed.status == 0, printed.err
    text = printed.text
    assert "nothing faster" not in text
    assert "before" in text


def test_a_network_gets_its_batch_norms_back(small: SmallSupernet) -> None:
    source = open_subnet("largest", small.name)
    assert source.subnet is not None
    file = replace(source, subnet=None)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for start in (source, file):
        inputs = batches(
            small.calibration, 32, normalization=source.normalization, device=torch.device("cpu")
        )
        dense = dense_supernet(start, inputs)
        with torch.inference_mode():
            wanted = source.subnet(x)
            torch.testing.assert_close(dense(x, dense.space.largest), wanted, rtol=1e-4, atol=1e-4)
    for module in dense.modules():
        if isinstance(module, ElasticConvolution) and module.bn is not None:
            output = module.bn.running_var
            assert output is not None
            assert torch.equal(output, torch.ones_like(output)), "outputs of variance 1"


def test_wrong_inputs_are_one_clear_error(refused: Refused, small: SmallSupernet, tmp_path: Path) -> None:
    base = ("prune", "--supernet", small.name, "--data", small.data, "--output", tmp_path / "run")
    start = (*base, "--from", "largest")
    assert "--keep 0.0: expected a share of the channels" in refused(*start, "--keep", 0)
    assert "--keep 0.99: cuts no channel of tiny" in refused(*start, "--keep", 0.99)
    assert "--rounds only applies to --method imp" in refused(*start, "--rounds", 3)
    assert "--tensorboard only applies to --method channel" in refused(
        *start, "--method", "imp", "--tensorboard"
    )
    assert "--keep only applies to --method channel" in refused(*start, "--method", "imp", "--keep", 0.5)
    assert "--share 1.0: expected a share" in refused(*start, "--method", "imp", "--share", 1)
    assert "--rewind 99: expected a step before the end" in refused(
        *start, *SHORT, "--method", "imp", "--rewind", 99
    )
    assert "none.onnx: cannot be read" in refused(*base, "--from", tmp_path / "none.onnx")
    assert "96/3x9 is not in tiny" in refused(*base, "--from", "96/3x9")
    assert "--epochs 0.0: expected a number above 0" in refused(*start, "--epochs", 0)
    assert "checkpoint.safetensors: nothing to resume" in refused(*start, "--resume")
    assert "ticket.safetensors: nothing to resume" in refused(*start, "--resume", "--method", "imp")
    assert "less than one batch of 1000; lower --batch-size" in refused(
        *start, "--method", "imp", "--batch-size", 1000
    )
    folders = tmp_path / "photos"
    for name in ("a", "b"):
        (folders / name).mkdir(parents=True)
        for index in range(4):
            (folders / name / f"{index}.png").write_bytes(
                next((small.data / "train" / "class_0").iterdir()).read_bytes()
            )
    assert "2 classes, a first; the subnet knows 10, class_0 first; ofa-nas transfer" in refused(
        "prune",
        "--supernet",
        small.name,
        "--from",
        "largest",
        "--data",
        folders,
        "--output",
        tmp_path / "run",
    )
    assert not (tmp_path / "run").exists(), "nothing is left of what was refused"


def test_a_run_folder_is_not_overwritten(
    command: Command, refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    prune(command, small, output, "--method", "imp", "--rounds", 1)
    base = ("prune", "--from", "largest", "--supernet", small.name, "--data", small.data, "--output", output)
    tickets = (*base, *SHORT, "--method", "imp")
    assert "holds a pruning: --resume continues it" in refused(*tickets)
    assert "lottery.share = 0.2, now it is 0.3" in refused(*tickets, "--resume", "--share", 0.3)
    assert "holds a pruning by --method imp: resume with that" in refused(*base, *SHORT, "--resume")
    more = prune(command, small, output, "--method", "imp", "--rounds", 2, "--resume")
    assert len(more["rounds"]) == 3
    assert "--rounds 1: " in refused(*tickets, "--resume", "--rounds", 1)


def test_tickets_that_diverge_are_begun_anew_elsewhere_as_the_advice_says(
    refused: Refused, command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    base = ("prune", "--from", "largest", "--supernet", small.name, "--data", small.data, *SHORT)
    tickets = (*base, "--method", "imp", "--rounds", 1, "--output")
    advice = "begin anew with a lower --learning-rate and another --output"
    assert advice in command(*tickets, output, "--learning-rate", 1e30).err
    prune(command, small, output, "--method", "imp", "--rounds", 1)
    assert "learning_rate = 0.0125, now it is 0.01" in refused(
        *tickets, output, "--resume", "--learning-rate", 0.01
    )
