"""`ofa-nas profile` and `ofa-nas devices` on this machine."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from ofa_nas.cli import main, profile, profile_report
from ofa_nas.devices import agent
from ofa_nas.errors import TableError
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.tables import device_table
from tests.cli.conftest import Command
from tests.pipeline.simulated_board import ADDRESS, SPACE, simulated_table


@pytest.mark.slow
def test_profile_writes_a_table_and_devices_lists_it(
    own_cache: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "--space", str(few), "--resolution", "24", "--rounds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["provenance"] == "measured"
    assert set(told["resolutions"]) == {"24"}
    assert told["resolutions"]["24"]["macs_linear"]["mape"] > 0
    path = Path(told["path"])
    assert path.is_relative_to(own_cache)
    assert LatencyTable.load(path).address == "host"
    error = LatencyTable.load(path).error
    assert error
    assert error.mape == pytest.approx(told["table"]["mape"])
    path.with_name("broken.json").write_text("{}", encoding="utf-8")
    assert main(["devices", "--json"]) == 0
    shown = capsys.readouterr()
    tables = {one["name"]: one for one in json.loads(shown.out)["tables"]}
    assert tables["host"]["provenance"] == "measured"
    assert tables["rpi4"]["provenance"] == "estimated"
    assert "broken.json" in shown.err
    assert main(["devices"]) == 0
    assert "measured" in capsys.readouterr().out


def test_a_profile_replaces_no_other_table_of_its_name(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, output = named_table_path(SPACE, "one"), tmp_path / "one.json"
    whole = replace(simulated_table(), name="one").measured_at(ADDRESS)
    faster = replace(whole, device=replace(whole.device, runtime="onnxruntime 1.32"))
    monkeypatch.setattr(profile, "_measure_once", lambda *_, **__: faster)
    for target in (path, output):
        whole.save(target)
    arguments = ("profile", "--device", ADDRESS, "--space", "tiny")
    assert command(*arguments, "--name", "one").status == 0
    assert LatencyTable.load(path).device == faster.device
    assert LatencyTable.load(path.parent / "superseded-1" / path.name).device == whole.device
    assert command(*arguments, "--output", output).status == 0  # that was asked for
    assert [one.name for one in tmp_path.iterdir()] == ["one.json"]
    path.write_text('{"schema": 2}', encoding="utf-8")
    assert "made by a newer ofa-nas" in command(*arguments, "--name", "one").err


def test_a_fresh_table_is_written_where_it_is_wanted_and_another_is_measured_for_both_places(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, output = named_table_path(SPACE, "simulated"), tmp_path / "one.json"
    measured = simulated_table(seed=1)
    monkeypatch.setattr(device_table, "profile_device", lambda *_, **__: iter([measured]))
    arguments = ("profile", "--device", ADDRESS, "--space", "tiny", "--unless-fresh", "--output", output)
    assert command(*arguments).status == 0
    assert output.read_bytes() == path.read_bytes()
    assert LatencyTable.load(output).address == ADDRESS
    simulated_table(seed=2).save(path)
    assert command(*arguments, "--json").status == 0
    assert output.read_bytes() == path.read_bytes()
    kept = LatencyTable.load(output).measured
    assert kept
    assert kept.seed == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "x.json", "--rounds", "3"], "--rounds cannot be given here: --unless-fresh takes"),
        (["--output", "x.json", "--resolution", "24"], "--resolution cannot be given here"),
        (["--output", "x.json", "--clock", "cpu"], "--clock cannot be given here"),
        (["--output", "x.json", "--name", "one"], "--name cannot be given here"),
        (["--bundle", "x.zip"], "--bundle cannot be given here"),
        (["--output", "x.json", "--device", "rpi4"], "--device rpi4: expected host, or ssh://USER@HOST"),
        ([], "--unless-fresh writes one table to an --output"),
        (["--output", "x.json", "--threads", "1", "2"], "--unless-fresh writes one table to an --output"),
    ],
)
def test_what_a_fresh_table_cannot_be_asked_for(
    arguments: list[str], told: str, refused: Callable[..., str]
) -> None:
    assert told in refused("profile", "--space", "tiny", "--unless-fresh", *arguments)


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_a_table_for_each_number_of_threads_in_int8(command: Command, few: Path) -> None:
    int8 = ("--space", few, "--rounds", "2", "--precision", "int8")
    printed = command("profile", *int8, "--threads", "1", "2", "--json")
    assert printed.status == 0, printed.err
    told = json.loads(printed.out)
    paths = [Path(one["path"]) for one in told]
    assert [path.name.rpartition("-few-")[2][13:] for path in paths] == ["1t-int8.json", "2t-int8.json"]
    for threads, path in enumerate(paths, start=1):
        device = LatencyTable.load(path).device
        assert (device.threads, device.precision) == (threads, "int8")
    listed = [one for one in command("devices", "--json").document["tables"] if one["name"] == "host"]
    assert {(one["threads"], one["precision"]) for one in listed} == {(1, "int8"), (2, "int8")}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--threads", "4096"], "4096 threads, but host has"),
        (["--threads", "1", "1"], "--threads 1 1: expected different numbers from 1 on"),
        (["--provider", "cuda"], "here the address names it, --device host+cuda"),
        (
            ["--device", "ssh://pi:22/usr/bin/python3", "--provider", "cuda"],
            "here the address names it, --device ssh+cuda://pi:22/usr/bin/python3",
        ),
        (["--threads", "1", "2", "--output", "x.json"], "--threads 1 2 make 2 tables"),
        (["--threads", "1", "2", "--bundle", "x.zip"], "a bundle is measured with one number"),
        (["--resolution", "99"], "resolution 99 is not in tiny"),
        (["--threads", "0"], "--threads"),
        (["--rounds", "1001"], "--rounds 1001: expected 1 to 1000"),
        (["--threads", "2", "--clock", "cpu"], "wall clock"),
        (["--device", "toaster"], "there is no 'toaster' to measure: this machine is host, a board ssh://"),
        (["--device", "agent"], "there is no 'agent' to measure: this machine is host"),
        (["--device", "rpi4"], "there is no 'rpi4' to measure (that is a latency table)"),
    ],
)
def test_refusals(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--space", "tiny", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_a_space_too_small_for_hold_outs_is_refused(command: Command, few: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(few.read_text().replace("depths = [1, 2]", "depths = [1]"), encoding="utf-8")
    bundle = tmp_path / "fewer.zip"
    for more in ((), ("--bundle", bundle)):
        printed = command("profile", "--space", fewer, *more)
        assert (printed.status, printed.out) == (1, "")
        assert "\nerror: fewer has 2 architectures at 24 px, a latency table needs 6 or" in f"\n{printed.err}"
    assert not bundle.exists()


def test_a_quota_is_looked_at_for_all_threads_before_anything_is_measured(
    refused: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "cpu_quota", lambda: 2.5)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def stop(*_: object, **__: object) -> NoReturn:
        raise TableError("it would be measured now")

    monkeypatch.setattr(profile, "_measure_once", stop)
    told = refused("profile", "--space", "tiny", "--threads", "1", "4")
    assert "host: --threads 4, but a CPU quota of 2.5 cores" in told
    assert main(["profile", "--space", "tiny", "--threads", "1", "2"]) == 1
    warnings = " ".join(capsys.readouterr().err.split()).split("host warns: ")
    assert [text for text in warnings if "a CPU quota of 2.5 cores for --threads 2: " in text]
    assert warnings[-1].endswith("error: it would be measured now")


def test_a_board_is_not_asked_for_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ("--device", "ssh://nobody@127.0.0.1:1", "--name", "mine")
    assert main(["profile", *nowhere, "--space", "tiny", "--resolution", "97"]) == 1
    assert capsys.readouterr().err == "error: resolution 97 is not in tiny; it has 24, 32\n"


def test_after_one_visit_the_noise_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    table = simulated_table()
    assert table.measured
    once = tuple(replace(one, uncertainty=0.0) for one in table.measured.holdouts)
    measured = replace(table.measured, holdouts=once)
    profile_report._show(replace(table, held=measured))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.split()[1:2] in (["table"], ["MACs"])]
    assert len(rows) == 6
    assert all(row.rstrip().endswith("unknown") for row in rows)
    assert profile_report._document(replace(table, held=measured))["noise_floor"] is None
