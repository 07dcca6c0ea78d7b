"""`ofa-nas bootstrap`: what exists becomes a supernet that the other commands take at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_nas.assets import asset_folder
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import load_sample
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.supernet.bootstrap import open_start, start_supernet
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.pretrained import imagenet_class_ids
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.splits import held_out_half
from tests.cli.conftest import Command
from tests.small_supernet import LICENCE, SmallSupernet, write_images


def started(command: Command, tmp_path: Path, *arguments: object) -> SupernetFiles:
    """Bootstrap into a folder of the test's own."""
    path = tmp_path / "out" / "first.safetensors"
    printed = command("bootstrap", *arguments, "--output", path, "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document["supernet"] == str(path)
    return SupernetFiles(path)


def test_the_file_computes_what_the_pretrained_network_does(command: Command, tmp_path: Path) -> None:
    files = started(command, tmp_path, "--from", "efficientnet_lite0")
    assert {path.name for path in files.weights.parent.iterdir()} == {"first.safetensors", "first.json"}
    supernet, card = load_supernet(files)
    assert (card.data, card.class_names) == ("imagenet", imagenet_class_ids())
    assert (card.made_by["start"], card.made_by["provenance"]["seed"]) == ("efficientnet_lite0", 0)
    exact = start_supernet(
        open_start("efficientnet_lite0"),
        class_ids=(),
        class_names=card.class_names,
        generator=torch.Generator().manual_seed(0),
    )
    arch = card.space.largest
    x = torch.randn(1, 3, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = exact(x, arch)
        error = (supernet(x, arch) - expected).abs().max()
    # Half precision is off by up to 2^-11 = 4.9e-4 a weight; over fifty layers errors partly cancel.
    assert error < 5e-3 * expected.abs().max()


def test_evaluate_and_export_work_on_it_at_once(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = started(command, tmp_path, "--from", small.name, "--data", small.data, "--seed", "4")
    assert files.predictor.read_bytes() == small.files.predictor.read_bytes()
    assert len(load_sample(files.calibration)) == 400
    (result,) = command("evaluate", "largest", "--supernet", files.weights, "--json").document["results"]
    assert result["images"] == len(load_sample(files.held_out)) == 100
    assert result["accuracy"] > 0.5
    subnet = tmp_path / "subnet.onnx"
    exported = command("export", "middle", "--supernet", files.weights, "--output", subnet, "--json")
    assert exported.status == 0
    assert exported.document["predicted"].keys() == {
        "accuracy",
        "peak_activation_bytes",
        "weight_bytes",
        "macs",
        "accuracy_half_width",
        "latency_ms",
    }
    assert ModelCard.from_model(read_model(subnet), subnet).supernet == "first"


def test_a_training_goes_on_from_it_in_its_space_and_normalisation(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    other = small.copy_to(tmp_path / "other")
    replace(SupernetCard.load(other.card), input_mean=(126.0, 127.0, 128.0)).save(other.card)
    files = started(command, tmp_path, "--from", other.weights)
    run = tmp_path / "run"
    flags = ("--epochs", "0.1", "--device", "cpu", "--batch-size", "40", "--learning-rate", "1e-6")
    trained = command(
        "train", "--from", files.weights, "--data", small.data, "--output", run, *flags, "--json"
    )
    assert trained.status == 0
    assert trained.document["history"][-1]["largest"] > 0.5
    cards = [
        SupernetCard.load(files.card),
        SupernetCard.load(SupernetFiles(run / "supernet.safetensors").card),
    ]
    assert [card.input_mean for card in cards] == [(126.0, 127.0, 128.0)] * 2
    assert [card.licence for card in cards] == [LICENCE] * 2
    card = cards[-1]
    assert card.space.name == "tiny"
    assert card.made_by["start"].startswith(f"{files.weights} (weights ")


def write_larger(path: Path) -> Path:
    """A copy of the space `tiny` with resolutions of its own."""
    text = (asset_folder("search_spaces") / "tiny.toml").read_text()
    path.write_text(text.replace("[24, 32]", "[40, 48]"))
    return path


def test_a_start_is_searched_and_exported_at_resolutions_that_it_never_saw(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    space = write_larger(tmp_path / "larger.toml")
    files = started(command, tmp_path, "--from", small.name, "--data", small.data, "--space", space)
    card = SupernetCard.load(files.card)
    assert (card.space.name, card.space.resolutions) == ("larger", (40, 48))
    assert not files.predictor.exists()  # the start's knows other resolutions
    flags = ("--supernet", files.weights, "--data", small.data, "--count", "12", "--images", "20")
    assert command("predictor", "collect", *flags).status == 0
    assert command("predictor", "fit", "--supernet", files.weights).status == 0
    subnet = tmp_path / "subnet.onnx"
    printed = command("search", "--supernet", files.weights, "--macs", "1M", "--export", subnet, "--json")
    assert printed.status == 0
    assert ModelCard.from_model(read_model(subnet), subnet).arch.resolution in (40, 48)


def test_a_training_goes_on_from_a_start_at_other_resolutions(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    space, run = write_larger(tmp_path / "larger.toml"), tmp_path / "run"
    flags = ("--epochs", "0.1", "--device", "cpu", "--batch-size", "40", "--output", run)
    printed = command("train", "--space", space, "--from", small.name, "--data", small.data, *flags)
    assert printed.status == 0
    assert f"licence {LICENCE} supernet {run}" in printed.text
    assert SupernetCard.load(SupernetFiles(run / "supernet.safetensors").card).space.resolutions == (40, 48)


def test_people_are_told_what_is_still_missing(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    output = tmp_path / "first.safetensors"
    printed = command("bootstrap", "--from", small.name, "--output", output)
    assert printed.status == 0
    assert printed.text == f"classes 10; classifier kept licence {LICENCE} supernet {output}"
    assert printed.err == "no images lie beside it: evaluate and export need those that --data brings\n"
    data = write_images(tmp_path / "others", train=2, val=2)
    for split in ("train", "val"):
        (data / split / "class_3").rename(data / split / "class_33")
    printed = command("bootstrap", "--from", small.name, "--output", output, "--data", data)
    assert printed.status == 0
    assert printed.text == f"classes 10; classifier random, to be trained licence {LICENCE} supernet {output}"
    assert printed.err == ""


def test_a_predictor_stays_behind_when_the_weights_change(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    data = write_images(tmp_path / "others", train=2, val=2)
    for split in ("train", "val"):
        (data / split / "class_3").rename(data / split / "class_33")
    files = started(command, tmp_path, "--from", small.name, "--data", data)
    assert not files.predictor.exists()


def test_data_that_break_half_way_leave_nothing(
    refused: Callable[..., str], small: SmallSupernet, tmp_path: Path
) -> None:
    data = write_images(tmp_path / "others", train=2, val=2)
    last = held_out_half(open_data(str(data)).val)[-1]
    image = sorted((data / "val").rglob("*.png"))[last]
    image.write_bytes(image.read_bytes()[:-200])
    folder = tmp_path / "out"
    output = folder / "first.safetensors"
    line = refused("bootstrap", "--from", small.name, "--data", data, "--output", output)
    assert f"{image.parent.name}/{image.name}: corrupt image" in line
    assert list(folder.iterdir()) == []


def test_every_file_that_it_writes_is_checked_first(
    refused: Callable[..., str], small: SmallSupernet, tmp_path: Path
) -> None:
    (tmp_path / "a.heldout.npz").mkdir()
    line = refused("bootstrap", "--from", small.name, "--output", tmp_path / "a.safetensors")
    assert "a.heldout.npz: cannot be written: it is a folder" in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.heldout.npz"]


def write_few_images(root: Path) -> None:
    for name in ("a/0", "a/1", "b/0"):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)


def write_signals(root: Path) -> None:
    root.mkdir()
    for split, first in (("train", 0), ("test", 4)):
        people = np.arange(first, first + 4)
        np.savez(root / f"{split}.npz", x=np.ones((4, 2, 40)), y=people % 2, person=people)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "nothing_such"], "--from nothing_such: no such start; supernets: efficientnet_lite, or"),
        (["--from", "no/such.safetensors"], "no/such.safetensors: no such supernet"),
        (["--data", "no/such/folder"], "no such folder"),
        (["--data", "few"], "data few: of 1 validation images 1 are for reports and predictors, and 0 for"),
        (["--data", "recorded"], "the data are signals, and tiny takes images"),
        (["--space", "resnet"], "starts a supernet of the space tiny, not of resnet: stem.width is 8, not"),
        (["--space", "nowhere"], "nowhere: no such search space"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--output", "subnet.onnx"], "--output subnet.onnx: expected the name of a .safetensors file"),
        (["--output", ".safetensors"], "--output .safetensors: expected the name of a .safetensors file"),
        (["--output", "a_file/first.safetensors"], "a_file/first.safetensors: cannot be written"),
        (["--output", "folder.safetensors"], "folder.safetensors: expected the name of a .safetensors file"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(
    flags: list[str],
    message: str,
    refused: Callable[..., str],
    small: SmallSupernet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").write_text("")
    Path("folder.safetensors").mkdir()
    write_few_images(Path("few"))
    write_signals(Path("recorded"))
    before = sorted(tmp_path.rglob("*"))
    arguments = ("--from", small.name, "--output", "out/first.safetensors", *flags)
    assert message in refused("bootstrap", *arguments)
    assert sorted(tmp_path.rglob("*")) == before
