"""int8 all the way: searched with the int8 table, exported as int8, verified as int8."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ofa_nas.cli.file_form import read_batch
from ofa_nas.errors import ConfigError
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet


def test_search_export_verify_in_int8(command: Command, small: SmallSupernet, tmp_path: Path) -> None:
    path, precision = tmp_path / "subnet.onnx", ("--precision", "int8")
    budgets = ("--peak-memory", "60kB", "--model-size", "20kB")
    arguments = ("search", "--supernet", small.name, "--device", "rpi4", "--latency", "10ms", *budgets)
    fp32 = command(*arguments, "--json")
    assert fp32.status == 1  # no fp32 network is as small
    printed = command(*arguments, *precision, "--export", path, "--json")
    document = printed.document
    assert document["precision"] == "int8"
    assert [one["name"] for one in document["devices"]] == ["rpi4_int8"]
    assert document["predicted"]["weight_bytes"] <= 20e3
    assert {"agreement", "accuracy_drop", "planned_ort_bytes"} <= document["measured"].keys()
    shown = command("show", path, "--json").document
    assert (shown["precision"], shown["arch"]) == ("int8", document["architecture"])
    verified = command("verify", path, "--supernet", small.name, *budgets, "--json")
    checks = {check["quantity"]: check for check in verified.document["checks"]}
    assert checks["accuracy"]["measured"] == document["measured"]["accuracy"]
    assert checks["accuracy_drop"]["measured"] == document["measured"]["accuracy_drop"]
    assert verified.status == printed.status == (0 if verified.document["is_met"] else 1)
    assert checks["file_size"]["predicted"] == shown["predicted"]["weight_bytes"]


def test_people_are_told_that_the_accuracy_is_of_fp32(command: Command, small: SmallSupernet) -> None:
    text = command("search", "--supernet", small.name, "--device", "rpi4", "--precision", "int8").text
    assert "top-1 is predicted of fp32, and nothing is taken off" in text
    assert "int8" not in command("search", "--supernet", small.name, "--device", "rpi4").text


@pytest.mark.parametrize(
    "command_line", [("search", "--latency", "9ms"), ("export", "smallest", "--output", "x.onnx")]
)
def test_a_table_of_another_precision_is_refused_by_name(
    command_line: tuple[str, ...], refused: Callable[..., str], small: SmallSupernet
) -> None:
    line = refused(*command_line, "--supernet", small.name, "--device", "rpi4_int8")
    assert (
        "latency table rpi4_int8 is of int8 networks, and the file will be fp32: give --precision int8"
        in line
    )


def test_a_measured_study_is_of_fp32(refused: Callable[..., str], small: SmallSupernet) -> None:
    line = refused("search", "--supernet", small.name, "--measured", "--data", "x", "--precision", "int8")
    assert "--measured" in line


@pytest.mark.parametrize(("text", "batch"), [("1", 1), ("32", 32), ("dynamic", None)])
def test_batches(text: str, batch: int | None) -> None:
    assert read_batch(text) == batch


@pytest.mark.parametrize("text", ["", "0x1", "-1", "1.5", "two", "²"])
def test_no_batch(text: str) -> None:
    with pytest.raises(ConfigError, match="--batch"):
        read_batch(text)
