"""A place where nothing can be written is refused before any work.

Root may write everywhere: the places are below a file, or folders where a file is meant.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.simulated_board import ADDRESS, simulated_table
from tests.small_supernet import SmallSupernet

Refused = Callable[..., str]
PLACES = (("a_file/deep/out", "a_file is no folder"), ("a_folder/out", "it is a folder"))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where a folder is needed, and folders where a file is."""
    monkeypatch.chdir(tmp_path)
    Path("a_file").write_bytes(b"in the way")
    for suffix in ("onnx", "json", "zip", "safetensors", "pth"):
        Path(f"a_folder/out.{suffix}").mkdir(parents=True)


# Behind each output stands an input that is wrong too: it would be named if the work had begun.
@pytest.mark.parametrize(("place", "reason"), PLACES)
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["search", "--device", "toaster", "--latency", "3ms"], "--export OUT.onnx"),
        (["export", "no_such", "--device", "toaster"], "--output OUT.onnx"),
        (["profile", "--device", "toaster://x"], "--output OUT.json"),
        (["profile", "--space", "no_such"], "--bundle OUT.zip"),
        (["profile", "--collect", "no", "--bundle", "no.zip", "--name", "x"], "--output OUT.json"),
        (["import", "no_such.pth"], "--export-official OUT.pth"),
        (["devices", "calibrate", "no_such", "no_such.csv"], "--output OUT.json"),
        (["devices", "import", "x", "no_such.yaml", "--space", "no_such"], "--output OUT.json"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_first(
    arguments: list[str], option: str, place: str, reason: str, refused: Refused, small: SmallSupernet
) -> None:
    name, path = option.replace("OUT", place).split()
    supernet = ["--supernet", small.name] if arguments[0] in ("search", "export") else []
    line = refused(*arguments, *supernet, name, path)
    assert line.startswith(f"error: {name} {path}: cannot be written: {reason}; give ")


@pytest.mark.parametrize(
    "arguments", [["bootstrap", "--from", "no_such"], ["import", "no_such.pth"]], ids=["bootstrap", "import"]
)
def test_a_supernet_that_cannot_be_written_is_refused_first(arguments: list[str], refused: Refused) -> None:
    line = refused(*arguments, "--output", "a_file/out.safetensors")
    assert "--output a_file/out.safetensors: cannot be written: a_file is no folder" in line
    line = refused(*arguments, "--output", "a_folder/out.safetensors")
    assert "--output a_folder/out.safetensors: expected the name of a .safetensors file" in line


@pytest.mark.parametrize("place", ["a_file", "a_file/below"])
def test_a_run_folder_that_cannot_be_made_is_refused_first(place: str, refused: Refused) -> None:
    line = refused("train", "--data", "no/such/folder", "--output", place)
    assert f"--output {place}: cannot be written: a_file is no folder" in line


def test_what_goes_beside_a_supernet_is_refused_first(
    refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    samples = files.samples.read_bytes()
    files.samples.unlink()
    files.samples.mkdir()
    line = refused("predictor", "collect", "--supernet", files.weights, "--data", "no/such/folder")
    assert f"{files.samples}: cannot be written: it is a folder" in line
    files.samples.rmdir()
    files.samples.write_bytes(samples[:-9])
    files.predictor.unlink()
    files.predictor.mkdir()
    line = refused("predictor", "fit", "--supernet", files.weights, "--kind", "oracle")
    assert f"{files.predictor}: cannot be written: it is a folder" in line


@pytest.mark.parametrize(
    "arguments", [["profile", "--space", "tiny"], ["search", "--latency", "3ms"]], ids=["profile", "search"]
)
def test_a_cache_that_cannot_be_written_is_refused_before_a_measurement(
    arguments: list[str], refused: Refused, small: SmallSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "a_file")
    supernet = ["--supernet", small.name] if arguments[0] == "search" else []
    line = refused(*arguments, *supernet, "--device", ADDRESS)  # this board cannot be measured
    assert line.startswith("error: a_file/ofa-nas/latency_tables/simulated-tiny-")
    assert "cannot be written: a_file is no folder" in line


def test_a_table_that_cannot_keep_its_verification_is_not_verified(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_table().save(Path("board.json"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    line = refused("verify-table", "board.json", "--device", f"{ADDRESS}break_at=1")
    assert "board.json: cannot be written: no permission to write into " in line


@pytest.mark.parametrize("name", ["table.txt", "table", "json"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "--device", "toaster://x"],
        ["devices", "calibrate", "no_such", "no_such.csv"],
        ["devices", "import", "x", "no_such.yaml", "--space", "no_such"],
    ],
)
def test_a_table_is_a_json_file(arguments: list[str], name: str, refused: Refused) -> None:
    line = refused(*arguments, "--output", name)
    assert f"--output {name}: cannot be written: expected the name of a .json file" in line
