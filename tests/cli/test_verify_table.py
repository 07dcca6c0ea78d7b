"""`ofa-nas verify-table`, and what other commands say of a table that failed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.cli.device_tables import describe_table
from ofa_nas.devices import MeasuringProtocol, open_device, ssh
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from tests.cli.conftest import Command
from tests.devices.conftest import Loopback, board
from tests.pipeline.simulated_board import ADDRESS, SPACE, simulated_table, with_prices

__all__ = ["board"]  # a fixture
FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "board.json"
    simulated_table().save(path)
    return path


def measure(address: str, path: Path) -> None:
    """A table that was really measured, in little time."""
    device = open_device(address)
    *_, table = profile_device(device, SPACE, protocol=FAST, resolutions=[24])
    assert isinstance(table, LatencyTable)
    table.save(path)
    device.forget()


def falsify(path: Path, factor: float) -> None:
    table = LatencyTable.load(path)
    assert table.measured
    with_prices(table, [factor * row.ms for row in table.measured.rows]).save(path)


def test_a_good_table_passes_with_all_that_was_found(command: Command, path: Path) -> None:
    printed = command("verify-table", path, "--device", ADDRESS)
    assert printed.status == 0
    for text in (
        "20 fresh networks of tiny at 24, 32 px",
        "threads: 1, fp32",
        "100% within 10 %, at least 95% needed",
        "of MACs fitted linearly needed",
        "nothing of the environment has changed",
        "noise floor",
        "times as long as for the table",
        "missed most",
    ):
        assert text in printed.text
    assert printed.text.endswith("passed")
    assert printed.err.endswith(f"wrote {path}\n")
    assert "stale" not in describe_table(LatencyTable.load(path))


def test_the_document_tells_what_the_history_keeps(command: Command, path: Path) -> None:
    document = command("verify-table", path, "--device", f"{ADDRESS}speed=1.1", "--json").document
    assert (document["table"], document["path"], document["space"]) == ("simulated", str(path), "tiny")
    assert (document["passed"], document["faults"], len(document["stale"])) == (True, [], 1)
    assert {one["name"]: one["is_met"] for one in document["criteria"]}["macs_linear"] is True
    (kept,) = json.loads(path.read_text(encoding="utf-8"))["history"]
    assert kept == {key: document[key] for key in kept}
    assert len(document["networks"]) == 20


def test_a_wrong_table_fails_and_every_command_says_so(command: Command, own_cache: Path) -> None:
    path = named_table_path(SPACE, "simulated")
    simulated_table().save(path)
    assert path.is_relative_to(own_cache)
    falsify(path, 1.3)
    printed = command("verify-table", "simulated", "--device", f"{ADDRESS}speed=1.1", "--networks", 24)
    assert printed.status == 1
    assert printed.text.endswith("failed")
    assert "fails bias +" in printed.text
    told = " ".join(describe_table(LatencyTable.load(path)).split())
    assert "[bold]failed[/bold] when verified on 20" in told
    assert "at most ±2% allowed" in told
    assert re.search(r"the references take 1\.(09|10)\d times as long as they did", told)
    (listed,) = [one for one in command("devices", "--json").document["tables"] if one["name"] == "simulated"]
    assert listed["marks"] == ["failed", "stale"]
    shown = command("devices").out
    for text in ("failed", "stale", "verified", listed["verified_on"]):
        assert text in shown
    assert "…" not in shown


def test_a_table_that_only_is_stale_says_that_it_passed(command: Command, path: Path) -> None:
    assert command("verify-table", path, "--device", f"{ADDRESS}speed=0.9").status == 0
    assert "[bold]passed, but is stale[/bold] when verified" in describe_table(LatencyTable.load(path))


def test_ctrl_c_writes_nothing(command: Command, path: Path) -> None:
    before = path.read_bytes()
    printed = command("verify-table", path, "--device", f"{ADDRESS}break_at=40")
    assert (printed.status, printed.out) == (130, "")
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_shipped_table_is_not_written(command: Command) -> None:
    printed = command("verify-table", "rpi4", "--device", ADDRESS, "--space", "tiny", "--threads", "4")
    assert printed.status == 1
    assert "threads: 4 (the table does not tell its own), fp32" in printed.text
    assert "nothing was held against that" in printed.text
    assert "not kept: the table ships with ofa-nas" in printed.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "nothing: no such latency table"),
        (["nothing.json"], "nothing.json: no such latency table"),
        (["rpi5"], "rpi5 is a roofline"),
        (["rpi4"], "rpi4 is estimated and prices any space"),
        (["rpi4", "--space", "tiny"], "there is nothing to verify it on"),
        (["note10"], "note10 is imported: there is nothing to verify it on"),
        (["TABLE"], "was measured on another machine (Cortex-A72)"),
        (["TABLE", "--networks", "19"], "--networks 19: expected 20 to 200"),
        (["TABLE", "--networks", "201"], "--networks 201: expected 20 to 200"),
        (["TABLE", "--precision", "int8"], "simulated is of fp32, 1 thread: --precision and --threads say"),
        (["TABLE", "--threads", "2"], "simulated is of fp32, 1 thread: --precision and --threads say"),
        (["TABLE", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (["TABLE", "--device", "toaster"], "--device toaster: expected host, or ssh://USER@HOST"),
        (["TABLE", "--device", "toaster://x"], "there is no 'toaster://x'"),
        (["TABLE", "--space", "mobilenet_v3"], "not of mobilenet_v3, whose digest is"),
    ],
)
def test_refusals(arguments: list[str], told: str, path: Path, refused: Callable[..., str]) -> None:
    before = path.read_bytes()
    assert told in refused("verify-table", *(str(path) if word == "TABLE" else word for word in arguments))
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_table_of_this_machine_is_verified_here_and_a_falsified_one_fails(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "host.json"
    measure("host", path)
    document = command("verify-table", path, "--json").document
    assert (document["device"], document["changes"], len(document["networks"])) == ("host", [], 20)
    assert all(one["architecture"].startswith("24/") for one in document["networks"])
    assert document["speed"] > 0
    assert document["figures"]["macs_linear"]["mape"] > 0
    falsify(path, 10.0)
    printed = command("verify-table", path)
    assert printed.status == 1
    assert "fails 0% within 10 %" in printed.text
    assert len(LatencyTable.load(path).history) == 2


@pytest.mark.campaign
def test_a_board_is_found_again_by_its_history(board: Loopback, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    measure(board.address, path)
    first = command("verify-table", path, "--device", board.address, "--json").document
    assert (first["device"], first["changes"]) == (board.address, [])
    assert not list((board.home / ssh.FOLDER).iterdir())  # nothing is left there
    assert command("verify-table", path, "--json").document["device"] == board.address


def test_texts_of_a_table_are_no_markup(command: Command, path: Path) -> None:
    table = LatencyTable.load(path)
    assert table.measured
    replace(table, held=replace(table.measured, environment={"governor": "[red]\x1b"})).save(path)
    printed = command("verify-table", path, "--device", ADDRESS)
    assert r"fails governor was '[red]\x1b', is 'performance'" in printed.text
    assert r"governor was '\[red]" in describe_table(LatencyTable.load(path))
