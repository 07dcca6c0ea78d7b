"""`ofa-nas profile` of boards: over ssh, and by bundle."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ofa_nas.devices import ssh
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.devices.conftest import Loopback, board

__all__ = ["board"]  # a fixture

TINY = ("--space", "tiny", "--resolution", "24", "--rounds", "2")


@pytest.mark.slow
def test_a_board_becomes_a_table_that_search_finds_by_name(
    board: Loopback,
    command: Command,
    few: Path,
) -> None:
    space = ("--space", few, "--rounds", "2")
    printed = command("profile", "--device", board.address, "--name", "my-board", *space, "--json")
    assert printed.status == 0, printed.err
    told = printed.document
    assert told["name"] == told["device"]["name"] == "my-board"
    table = LatencyTable.load(Path(told["path"]))
    assert table.measured
    assert table.measured.environment["onnxruntime"]
    assert not list((board.home / ssh.FOLDER).iterdir())  # nothing is left there
    *_, found = device_table("my-board", SearchSpace.load(few))
    assert isinstance(found, LatencyTable)
    assert found.made_by == table.made_by


@pytest.mark.slow
def test_a_bundle_becomes_a_table(command: Command, own_cache: Path, few: Path, tmp_path: Path) -> None:
    bundle, folder = tmp_path / "board.zip", tmp_path / "board"
    printed = command("profile", "--bundle", bundle, "--space", few, "--rounds", "2")
    assert printed.status == 0, printed.err
    assert re.search(r"^\d+ networks, about .*B; --resolution takes fewer", printed.err)
    assert f"ofa-nas profile --collect results.jsonl --bundle {bundle} --name my-board" in printed.text
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    subprocess.run([sys.executable, "agent.py"], cwd=folder, check=True, capture_output=True)
    results = ("--collect", folder / "results.jsonl", "--bundle", bundle)
    printed = command("profile", *results, "--name", "my-board", "--json")
    assert printed.status == 0, printed.err
    path = Path(printed.document["path"])
    assert path.is_relative_to(own_cache)
    assert path.name.startswith("my-board-few-")
    assert "my-board" in command("devices").text
    printed = command("profile", *results, "--name", "my-board", "--output", tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json").name == "my-board"
    assert "errors on unseen networks" in printed.text


def test_a_bundle_says_what_it_holds(command: Command, tmp_path: Path) -> None:
    printed = command("profile", "--bundle", tmp_path / "board.zip", *TINY, "--json")
    assert printed.document["networks"] > 20
    assert printed.document["bytes"] == (tmp_path / "board.zip").stat().st_size
    with zipfile.ZipFile(tmp_path / "board.zip") as archive:
        protocol = json.loads(archive.read("job.json"))["protocol"]
    assert (protocol["rounds"], protocol["max_rounds"], protocol["threads"]) == (2, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--collect", "results.jsonl"], "--collect needs the --bundle that was measured, and a --name"),
        (["--collect", "r", "--bundle", "b"], "--collect needs the --bundle that was measured, and a --name"),
        (
            ["--collect", "r", "--bundle", "b", "--name", "x", "--rounds", "3"],
            "--rounds cannot be given here",
        ),
        (
            ["--collect", "r", "--bundle", "b", "--name", "x", "--space", "tiny"],
            "--space cannot be given here",
        ),
        (["--collect", "r", "--bundle", "b", "--name", "x", "--threads", "2"], "--threads cannot be given"),
        (["--collect", "r", "--bundle", "b", "--name", "x", "--precision", "int8"], "--precision cannot be"),
        (
            ["--bundle", "b.zip", "--device", "host"],
            "--device cannot be given here: a bundle is not measured here",
        ),
        (["--bundle", "b.zip", "--name", "x"], "--name cannot be given here"),
        (["--name", "rpi4"], "choose one such as my-rpi4"),
        (["--name", "../rpi4"], "expected a name such as my-rpi4"),
        (["--rounds", "0"], "--rounds 0: expected 1 to 1000"),
        (["--device", "ssh://-oProxyCommand=x"], "is no address of a board"),
        (
            ["--collect", "nothing.jsonl", "--bundle", "nothing.zip", "--name", "x"],
            "nothing.zip: cannot be read",
        ),
    ],
)
def test_refusals(arguments: list[str], told: str, refused: Callable[..., str]) -> None:
    assert told in refused("profile", *arguments)
