"""`ofa-nas show`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from ofa_nas.export.card import ModelCard, read_model, with_card
from ofa_nas.pipeline.delivery.deliver import save_model
from ofa_nas.supernet_card import SupernetCard
from tests.cli.conftest import Command
from tests.small_supernet import LICENCE, SmallSupernet


@pytest.fixture(scope="module")
def shown(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ofa_nas.cli import main

    path = tmp_path_factory.mktemp("shown") / "subnet.onnx"
    arguments = ["export", "smallest", "--supernet", small.name, "--output", str(path), "--device", "rpi4"]
    assert main([*arguments, "--precision", "int8", "--batch", "2", "--preprocess", "--json"]) == 0
    return path


def test_a_file_tells_all_that_it_knows(command: Command, shown: Path, small: SmallSupernet) -> None:
    document = command("show", shown, "--json").document
    card = SupernetCard.load(small.files.card)
    assert document["bytes"] == shown.stat().st_size
    assert document["arch"] == str(card.space.smallest)
    assert document["supernet_sha256"] == card.sha256
    assert document["class_names"] == list(card.class_names)
    assert document["input"] == {"name": "image", "shape": [2, 24, 24, 3], "type": "uint8"}
    assert document["output"] == {"name": "logits", "shape": [2, 10], "type": "float"}
    assert (document["opset"], document["precision"], document["batch"]) == (17, "int8", "2")
    assert document["preprocessing"] is True
    assert document["licence"] == card.licence == LICENCE
    assert [one["device"] for one in document["latencies"]] == ["rpi4_int8"]
    assert document["quantization"]["method"] in {"minmax", "entropy", "percentile"}
    assert 0.0 < document["measured"]["accuracy"] <= 1.0
    assert document["measured"]["threads"] == 1.0


def test_the_long_name_of_the_standard_operators_is_the_same(
    command: Command, shown: Path, tmp_path: Path
) -> None:
    model = onnx.load(shown)
    for entry in model.opset_import:
        entry.domain = entry.domain or "ai.onnx"
    onnx.save(model, tmp_path / "long.onnx")
    assert command("show", tmp_path / "long.onnx", "--json").document["opset"] == 17


def test_how_images_become_square_is_shown(command: Command, shown: Path, tmp_path: Path) -> None:
    assert "fit" not in command("show", shown, "--json").document
    assert "crop: the central square" in command("show", shown).text
    model = onnx.load(shown)
    card = replace(ModelCard.from_model(model, shown), fit="pad")
    save_model(tmp_path / "padded.onnx", with_card(model, card))
    assert command("show", tmp_path / "padded.onnx", "--json").document["fit"] == "pad"
    assert "pad: the whole image on a square of grey 127" in command("show", tmp_path / "padded.onnx").text


def test_people_read_it_too(command: Command, shown: Path) -> None:
    text = command("show", shown).text
    for part in (
        "int8 subnet 24/",
        "image (2, 24, 24, 3) uint8",
        "inside; resized by the caller",
        "opset 17",
        f"licence {LICENCE}",
    ):
        assert part in text
    for part in ("latency_ms on rpi4_int8 (estimated)", "planned_ort_bytes", "left in fp32: ", "onnxruntime"):
        assert part in text


def test_older_files_are_shown_as_what_they_are(command: Command, shown: Path, tmp_path: Path) -> None:
    model, later = (
        read_model(shown),
        {"precision", "batch", "preprocessing", "quantization", "measured", "made_by", "licence"},
    )
    kept = {one.key: one.value for one in model.metadata_props if one.key.split(".")[1] not in later}
    onnx.helper.set_model_props(model, kept)
    save_model(tmp_path / "older.onnx", model)
    assert "licence not stated" in command("show", tmp_path / "older.onnx").text
    document = command("show", tmp_path / "older.onnx", "--json").document
    assert (document["precision"], document["batch"], document["quantization"]) == ("fp32", "1", None)


def test_a_licence_that_a_terminal_would_obey_is_refused(
    refused: Callable[..., str], shown: Path, tmp_path: Path
) -> None:
    model = read_model(shown)
    found = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, {**found, "ofa_nas.licence": "\x1b[2J"})
    save_model(tmp_path / "other.onnx", model)
    assert "damaged: licence must be printable text" in refused("show", tmp_path / "other.onnx")


def test_labels_are_one_class_a_line_in_the_order_of_the_outputs(
    command: Command, shown: Path, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "labels.txt"
    printed = command("show", shown, "--labels", path)
    assert printed.status == 0
    assert printed.text.endswith(f"labels {path}")
    names = SupernetCard.load(small.files.card).class_names
    assert path.read_text(encoding="utf-8") == "".join(f"{name}\n" for name in names)
    path.write_text("older")
    assert command("show", shown, "--labels", path, "--json").document["class_names"] == list(names)
    assert path.read_text(encoding="utf-8").splitlines() == list(names)


@pytest.mark.parametrize("name", ["", "two\nlines", "two\u2028lines", "end\r"])
def test_a_class_whose_name_is_not_one_line_has_no_labels(
    refused: Callable[..., str], shown: Path, tmp_path: Path, name: str
) -> None:
    model = read_model(shown)
    card = ModelCard.from_model(model, shown)
    path = tmp_path / "odd.onnx"
    save_model(path, with_card(model, replace(card, class_names=(*card.class_names[:3], name, *"efghij"))))
    line = refused("show", path, "--labels", tmp_path / "labels.txt")
    assert "labels.txt: output 3 is of the class" in line
    assert "not one line" in line
    assert not (tmp_path / "labels.txt").exists()


def test_labels_of_no_names_and_to_no_file_are_one_line(
    refused: Callable[..., str], shown: Path, tmp_path: Path
) -> None:
    line = refused("show", shown, "--labels", shown)
    assert f"--labels {shown}: cannot be written: expected the name of a .txt file" in line
    labels = tmp_path / "labels.txt"
    model = read_model(shown)
    kept = {one.key: one.value for one in model.metadata_props if one.key != "ofa_nas.class_names"}
    onnx.helper.set_model_props(model, kept)
    save_model(tmp_path / "nameless.onnx", model)
    assert "lack 'class_names'" in refused("show", tmp_path / "nameless.onnx", "--labels", labels)
    onnx.helper.set_model_props(model, {})
    save_model(tmp_path / "foreign.onnx", model)
    assert "not exported by this version of ofa-nas" in refused(
        "show", tmp_path / "foreign.onnx", "--labels", labels
    )
    assert not labels.exists()


def test_wrong_files_are_one_line(refused: Callable[..., str], shown: Path, tmp_path: Path) -> None:
    assert "nope.onnx: cannot be read" in refused("show", tmp_path / "nope.onnx")
    (tmp_path / "torn.onnx").write_bytes(shown.read_bytes()[:-99])
    assert "torn.onnx: not a valid ONNX model" in refused("show", tmp_path / "torn.onnx")
    model = read_model(shown)
    for key, value in (("batch", "many"), ("preprocessing", "1"), ("precision", "int4"), ("measured", "[1]")):
        props = {one.key: one.value for one in model.metadata_props} | {f"ofa_nas.{key}": value}
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(model)
        onnx.helper.set_model_props(spoilt, props)
        save_model(tmp_path / "spoilt.onnx", spoilt)
        assert "spoilt.onnx: its metadata are damaged" in refused("show", tmp_path / "spoilt.onnx"), key
    del model.metadata_props[:]
    save_model(tmp_path / "foreign.onnx", model)
    assert "not exported by this version of ofa-nas" in refused("show", tmp_path / "foreign.onnx")
    assert json.loads("1") == 1
