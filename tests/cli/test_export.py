"""`ofa-nas export`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard
from tests.cli.conftest import Command
from tests.small_supernet import LICENCE, SmallSupernet


@pytest.mark.parametrize("name", ["smallest", "32/5x3.3x2/3x2"])
def test_an_architecture_of_the_users_choice_is_exported(
    name: str, command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    printed = command(
        "export", name, "--supernet", small.name, "--output", path, "--device", "rpi4", "--json"
    )
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    assert document.keys() == {"architecture", "predicted", "measured", "file", "is_met", "licence"}
    assert document["architecture"] == (str(tiny.smallest) if name == "smallest" else name)
    assert document["is_met"] is True
    assert document["licence"] == LICENCE
    card = ModelCard.from_model(read_model(path), path)
    assert str(card.arch) == document["architecture"]
    (latency,) = card.latencies
    assert (latency.device, latency.provenance) == ("rpi4", "estimated")
    assert {**card.predicted, "latency_ms": {"rpi4": latency.latency_ms}} == document["predicted"]
    assert "latency_ms" not in document["measured"]  # no Raspberry Pi is here to measure


def test_people_get_the_table_of_checks(command: Command, small: SmallSupernet, tmp_path: Path) -> None:
    printed = command("export", "middle", "--supernet", small.name, "--output", tmp_path / "subnet.onnx")
    assert printed.status == 0
    for text in ("numerics", "top-1", "peak memory", "file size", "points", "every promise kept"):
        assert text in printed.text
    assert f"licence {LICENCE} {tmp_path}/subnet.onnx: every promise kept" in printed.text


def test_nothing_is_said_of_terms_that_nobody_stated(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "own")
    replace(SupernetCard.load(files.card), licence="").save(files.card)
    printed = command("export", "middle", "--supernet", files.weights, "--output", tmp_path / "subnet.onnx")
    assert printed.status == 0
    assert "licence" not in printed.text


@pytest.mark.parametrize("arch", ["", "huge", "32/3x2", "32/7x2/3x2", "25/3x2/3x2"])
def test_a_wrong_architecture_is_one_line(
    arch: str, refused: Callable[..., str], small: SmallSupernet, tmp_path: Path
) -> None:
    refused("export", arch, "--supernet", small.name, "--output", tmp_path / "out" / "subnet.onnx")
    assert list(tmp_path.iterdir()) == []


def test_corrupt_weights_are_one_line_and_leave_nothing(
    refused: Callable[..., str], small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    content = bytearray(files.weights.read_bytes())
    content[-5] ^= 0x40
    files.weights.write_bytes(content)
    line = refused("export", "middle", "--supernet", files.weights, "--output", tmp_path / "subnet.onnx")
    assert "supernet.safetensors: its digest is not the one that supernet.json names" in line
    assert not (tmp_path / "subnet.onnx").exists()
