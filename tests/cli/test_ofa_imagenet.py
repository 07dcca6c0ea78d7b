"""`ofa-imagenet`: once-for-all's space and published predictor, without its weights and with them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_nas.data import Source
from ofa_nas.data.sample import save_sample
from ofa_nas.predictor_file import load_predictor
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.pretrained import imagenet_class_ids
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from tests.cli.conftest import Command
from tests.official_checkpoints import flat_tensors, lively_tensors, spelt_as_published
from tests.small_supernet import write_images

Refused = Callable[..., str]
NETWORK = "ofa_mbv3_d234_e346_k357_w1.2"
SHIPPED = SupernetFiles.find("ofa-imagenet")
SPACE = SearchSpace.load("mobilenet_v3_w1.2")
WHERE = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets/ofa_mbv3_d234_e346_k357_w1.2"
SMALL_BUDGET = ("--macs", "80M")


@pytest.mark.slow
def test_a_search_needs_no_weights(command: Command) -> None:
    assert not SHIPPED.weights.exists()
    printed = command(
        "search", "--supernet", "ofa-imagenet", "--device", "rpi4", "--latency", "30ms", "--json"
    )
    assert (printed.status, printed.err) == (0, "")
    document, predicted = printed.document, printed.document["predicted"]
    assert document["space"] == "mobilenet_v3_w1.2"
    assert SPACE.parse(document["architecture"])
    assert predicted["latency_ms"]["rpi4"] <= 30
    assert 0.79 < predicted["accuracy"] < 0.82
    assert predicted["accuracy_half_width"] is None
    assert "predicted by the published OFA predictor: 3.4 points above" in document["predictor"]
    assert tuple(document["search"]["resolutions"]) == SPACE.resolutions


@pytest.mark.slow
@pytest.mark.parametrize("latency", ["20ms", "15,20,25ms"])
def test_people_are_told_who_predicts_and_how_far_off(latency: str, command: Command) -> None:
    printed = command("search", "--supernet", "ofa-imagenet", "--device", "note10", "--latency", latency)
    assert printed.status == 0
    assert "narrowed to 160, 164, 168," in printed.text
    assert "accuracy ImageNet top-1, predicted by the published OFA predictor: 3.4 points" in printed.text
    assert "±" not in printed.text
    assert "subnets scored in" in printed.text
    assert " by evolution, for the predictor is no sum over the blocks, which alone is" in printed.text
    assert "seeds one: --seeds 5 takes the best of five" in printed.text


def test_what_needs_weights_says_where_they_are(refused: Refused, tmp_path: Path) -> None:
    output, data = tmp_path / "subnet.onnx", write_images(tmp_path / "data", train=2, val=2)
    for arguments in (
        ("search", "--supernet", "ofa-imagenet", "--device", "rpi4", "--latency", "30ms", "--export", output),
        ("search", "--supernet", "ofa-imagenet", "--macs", "200M", "--data", data),
        ("export", "smallest", "--supernet", "ofa-imagenet", "--output", output),
        ("evaluate", "--supernet", "ofa-imagenet"),
        ("bootstrap", "--from", "ofa-imagenet", "--output", tmp_path / "first.safetensors"),
        ("train", "--from", "ofa-imagenet", "--data", data, "--output", tmp_path / "run"),
        ("predictor", "collect", "--supernet", "ofa-imagenet", "--data", "sample"),
        ("predictor", "fit", "--supernet", "ofa-imagenet"),
        ("import", "ofa-imagenet", "--export-official", tmp_path / "back.pth"),
    ):
        line = refused(*arguments)
        for text in (WHERE, "d75a3613bae216091f61fc4b7df77d49cc82ed32", f"ofa-nas import {NETWORK}"):
            assert text in line, arguments
    assert list(tmp_path.iterdir()) == [data]


def test_a_card_that_does_not_say_where_is_refused(refused: Refused, tmp_path: Path) -> None:
    document = json.loads(SHIPPED.card.read_text())
    (tmp_path / "net.json").write_text(json.dumps(document | {"published": {"network": "net"}}))
    line = refused("evaluate", "--supernet", tmp_path / "net.safetensors")
    assert "net.json: published: expected an object with the texts network, address, git_object" in line


def test_its_card_and_the_documents_name_the_same_files() -> None:
    card = SupernetCard.load(SHIPPED.card)
    root = Path(__file__).parents[2]
    assert (card.space.digest, card.class_names) == (SPACE.digest, imagenet_class_ids())
    assert card.published
    for text in (card.published.git_object, card.made_by["imported"]["git_object"]):
        assert text in (root / "docs" / "official_checkpoints.md").read_text()
    assert card.made_by["imported"]["sha256"] in (root / "supernets" / "README.md").read_text()


@pytest.mark.slow
def test_an_imported_checkpoint_is_searched_by_the_same_predictor_and_exported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": spelt_as_published(lively_tensors(NETWORK))}, NETWORK)
    document = command("import", NETWORK, "--json").document
    files = SupernetFiles(Path("runs/import") / f"{NETWORK}.safetensors")
    assert document["predictor"] == str(files.predictor)
    add_images(files)
    searched = ("--supernet", files.weights, *SMALL_BUDGET, "--json")
    printed = command("search", *searched, "--export", "subnet.onnx")
    assert printed.status == 0
    alone = command("search", "--supernet", "ofa-imagenet", *searched[2:]).document
    for key in ("architecture", "predicted", "predictor", "front"):
        assert printed.document[key] == alone[key]
    assert printed.document["measured"]["accuracy"] <= 1.0
    verified = command("verify", "subnet.onnx", "--supernet", files.weights)
    assert verified.status == 0
    assert "outside the predictor's interval" not in verified.text


def add_images(files: SupernetFiles) -> None:
    """Put a few images beside a supernet, as `bootstrap --data` does."""
    pixels = np.random.default_rng(0).integers(256, size=(6, 40, 40, 3), dtype=np.uint8)
    source = Source(np.arange(6), imagenet_class_ids(), 40, "noise", lambda index: pixels[index])
    for path in (files.calibration, files.held_out):
        save_sample(path, source, np.arange(6))


def test_other_networks_get_no_predictor(command: Command, tmp_path: Path) -> None:
    network = "ofa_mbv3_d234_e346_k357_w1.0"
    torch.save(flat_tensors(network), tmp_path / network)
    output = tmp_path / "out" / "net.safetensors"
    document = command("import", tmp_path / network, "--output", output, "--json").document
    assert document["predictor"] is None
    assert not SupernetFiles(output).predictor.exists()


@pytest.mark.slow
def test_a_predictor_becomes_a_supernet_without_weights(
    command: Command, refused: Refused, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "own.pth"
    shapes = {"0": (400, 128), "2": (400, 400), "4": (400, 400), "6": (1, 400)}
    tensors = {f"{key}.weight": 0.05 * torch.randn(shape) for key, shape in shapes.items()}
    torch.save(tensors | {f"{key}.bias": torch.randn(shape[:1]) for key, shape in shapes.items()}, path)
    output = tmp_path / "out" / "own.safetensors"
    printed = command("import", path, "--output", output)
    assert printed.status == 0
    assert "without weights" in printed.text
    assert sorted(one.name for one in output.parent.iterdir()) == ["own.json", "own.predictor.json"]
    found = command("search", "--supernet", output, *SMALL_BUDGET, "--json").document
    assert found["supernet"] == "own"
    assert "predicted by own.pth (SHA-256" in found["predictor"]
    assert WHERE in refused("evaluate", "--supernet", output)
    output.write_bytes(b"weights")
    assert "has weights, and this would replace their card" in refused("import", path, "--output", output)


def test_the_published_file_gives_what_ships(command: Command, tmp_path: Path) -> None:
    published = Path(os.environ.get("OFA_NAS_DATA", ""), "ofa", "acc_predictor.pth")
    if "OFA_NAS_DATA" not in os.environ or not published.is_file():
        pytest.skip("OFA_NAS_DATA names no folder with ofa/acc_predictor.pth")
    output = tmp_path / "again.safetensors"
    assert command("import", published, "--output", output).status == 0
    for again, shipped in (
        (SupernetFiles(output).predictor, SHIPPED.predictor),
        (SupernetFiles(output).card, SHIPPED.card),
    ):
        one, other = json.loads(again.read_text()), json.loads(shipped.read_text())
        for document in (one, other):
            document.pop("provenance", None)
            document.get("made_by", {}).pop("provenance", None)
        assert one == other


def test_the_predictor_that_ships_is_small_and_has_no_interval() -> None:
    encoding = Encoding.of(SPACE)
    found = load_predictor(SHIPPED.predictor, encoding, weights="")
    assert not found.predictor.half_widths(encoding.sample(5, np.random.default_rng(0))).any()
    assert SHIPPED.predictor.stat().st_size < 3_000_000
