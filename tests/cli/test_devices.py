"""`ofa-nas devices`: list, explain, calibrate, import."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.latency.roofline import FOLDER, RooflineModel
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.latency.test_lookup_table import write_file
from tests.pipeline.simulated_board import SPACE, simulated_table

SMALL, LARGE = "24/3x2/3x2", "32/5x3.5x3/5x3.5x3"
TINY = ("--space", "tiny")
BOARD = RooflineModel(9.0, 1.4, 4.0, 0.002)


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """Two networks of the tiny space, timed on a board that nobody has."""
    space = SearchSpace.load("tiny")
    path = tmp_path / "measured.csv"
    lines = [
        f"tiny,{text},{sum(map(BOARD.layer_ms, space.layers(space.parse(text))))}" for text in (SMALL, LARGE)
    ]
    path.write_text("\n".join(["space,architecture,ms", *lines]), encoding="utf-8")
    return path


def test_what_ships_is_listed_with_what_it_is_worth(command: Command) -> None:
    printed = command("devices")
    assert printed.status == 0
    for text in (
        "rpi4",
        "estimated",
        "3.8%",
        "note10",
        "imported",
        "unknown",
        "not measured yet",
        "ranks only",
    ):
        assert text in printed.out
    assert "ofa-nas profile --device host" in printed.text
    assert "ofa-nas devices calibrate NAME CSV" in printed.text
    assert "…" not in printed.out
    assert command("devices", "list").out == printed.out


def test_the_list_tells_where_tables_of_ones_own_lie(command: Command, own_cache: Path) -> None:
    folder = own_cache / "ofa-nas" / "latency_tables"
    assert f"\nYours lie in {folder}\n" in command("devices").out
    table = replace(simulated_table(), name="my-board")
    for threads in (1, 4):
        table.save(named_table_path(SPACE, "my-board", threads=threads))
    first, second = sorted(folder.iterdir())
    assert f"\nYours lie in {folder}:\n  {first}\n  {second}\n" in command("devices").out


@pytest.mark.parametrize("arguments", [("--json",), ("list", "--json"), ("--json", "list")])
def test_the_list_is_one_json_document(arguments: tuple[str, ...], command: Command) -> None:
    document = json.loads(command("devices", *arguments).out)
    tables = {one["name"]: one for one in document["tables"]}
    assert tables["rpi4"]["provenance"] == "estimated"
    assert tables["note10"]["provenance"] == "imported"
    assert tables["note10"]["error"] is None
    assert "Apache-2.0" in tables["note10"]["licence"]
    boards = {one["name"]: one for one in document["rooflines"]}
    assert boards["rpi4"]["gmac_per_s"] == 28.8
    assert all(board["promises"] == "ranks only" for board in boards.values())


def test_explain_tells_layer_by_layer_what_binds(command: Command) -> None:
    printed = command("devices", "explain", "rpi4", LARGE, *TINY)
    assert printed.status == 0
    assert "ranks only" in printed.text
    assert "s1b1" in printed.out
    assert "layers are memory-bound; memory binds for" in printed.text
    assert " ms" not in printed.text
    document = json.loads(command("devices", "explain", "rpi4", LARGE, *TINY, "--json").out)
    (one,) = document["architectures"]
    assert (one["architecture"], one["latency_ms"], document["calibrated"]) == (LARGE, None, False)
    assert sum(layer["share"] for layer in one["layers"]) == pytest.approx(1.0)
    assert {layer["bound"] for layer in one["layers"]} <= {"memory", "compute"}


def test_explain_ranks_several(command: Command) -> None:
    printed = command("devices", "explain", "rpi5", LARGE, SMALL, *TINY)
    assert printed.out.index(SMALL) < printed.out.index(LARGE)
    document = json.loads(command("devices", "explain", "rpi5", LARGE, SMALL, *TINY, "--json").out)
    first, second = document["architectures"]
    assert (first["architecture"], first["relative"]) == (SMALL, 1.0)
    assert second["relative"] > 1.0


def test_an_architecture_may_be_told_by_its_name(command: Command, tmp_path: Path) -> None:
    printed = command("devices", "explain", "rpi5", "smallest", "largest", *TINY)
    assert printed.out.index(SMALL) < printed.out.index(LARGE)
    fewer = command("devices", "explain", "rpi5", "smallest", "--classes", 7, *TINY)
    assert "; tiny, 7 classes (" in fewer.text
    timed = tmp_path / "timed.csv"
    timed.write_text("space,architecture,ms\ntiny,smallest,1\ntiny,largest,3\n", encoding="utf-8")
    calibrated = command("devices", "calibrate", "rpi5", timed, "--output", tmp_path / "board.json")
    assert f"tiny {SMALL}" in calibrated.out


def test_calibrate_writes_a_table_that_search_and_explain_take(
    command: Command, timed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    printed = command("devices", "calibrate", "rpi5", timed, "--output", path, "--runtime", "onnxruntime")
    assert printed.status == 0
    assert "fitted to 2 networks" in printed.text
    assert "networks left out: off by" in printed.text
    assert LARGE in printed.out
    table = LatencyTable.load(path)
    assert (table.provenance, table.device.runtime) == ("estimated", "onnxruntime")
    shown = command("devices", "explain", path, LARGE, *TINY).text
    assert "a calibrated roofline: estimated" in shown
    assert " ms." in shown
    document = json.loads(command("devices", "calibrate", "rpi5", timed, "--output", path, "--json").out)
    assert document["judged_on"] == "networks"
    assert [one["measured_ms"] > 0 for one in document["timings"]] == [True, True]


def test_a_roofline_in_another_unit_is_doubted(command: Command, timed: Path, tmp_path: Path) -> None:
    board, table = tmp_path / "board.toml", tmp_path / "table.json"
    text = (asset_folder(FOLDER) / "rpi5.toml").read_text(encoding="utf-8")
    board.write_text(text.replace("gb_per_s = 10.0", "gb_per_s = 10000"), encoding="utf-8")
    told = "Doubtful: 76.8 GMAC/s beside 10000 GB/s"
    assert told in command("devices", "explain", board, LARGE, *TINY).err
    assert told not in command("devices", "explain", "rpi5", LARGE, *TINY).err
    assert told in command("devices", "calibrate", board, timed, "--output", table).text
    assert told not in command("devices", "explain", table, LARGE, *TINY).err  # that was fitted


def test_networks_of_other_classes_are_calibrated(command: Command, timed: Path, tmp_path: Path) -> None:
    wanted = ("devices", "calibrate", "rpi5", timed, "--output", tmp_path / "table.json", "--json")
    of_ten, same, of_hundred = (
        command(*wanted, *more).document["model"] for more in ((), ("--classes", 10), ("--classes", 100))
    )
    assert of_ten == same != of_hundred


def test_import_writes_a_table_and_says_what_it_is(command: Command, tmp_path: Path) -> None:
    files = [write_file(tmp_path / f"{size}.yaml", size) for size in (164, 168)]
    path = tmp_path / "phone.json"
    wanted = ("devices", "import", "phone", *files, "--space", "mobilenet_v3_w1.2", "--output", path)
    printed = command(*wanted, "--board", "A phone", "--source", "somebody", "--licence", "MIT")
    assert printed.status == 0
    assert "192 layers of mobilenet_v3_w1.2 at 164-168 px, imported" in printed.text
    assert "source somebody; licence MIT; Nobody here timed anything" in printed.text
    assert "doubtful (kernel)" in printed.text  # the values are random
    assert LatencyTable.load(path).device.name == "A phone"
    document = json.loads(command(*wanted, "--json").out)
    assert (document["provenance"], document["licence"]) == ("imported", "not stated")
    assert "kernel" in {finding["rule"] for finding in document["findings"]}


def test_a_table_that_could_not_be_read_is_not_calibrated(
    refused: Callable[..., str], timed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "board.json"
    command = ("devices", "calibrate", "rpi5", timed, "--output", output)
    assert "--threads 5000: expected 4096 or less" in refused(*command, "--threads", "5000")
    assert "board.json: device: expected printable text" in refused(*command, "--runtime", "a\x1b[2J")
    named = timed.rename(tmp_path / "a\x1b[2J.csv")
    assert "expected printable text" in refused(*command[:3], named, *command[4:])
    assert not output.exists()


def test_a_table_without_time_is_not_imported(refused: Callable[..., str], tmp_path: Path) -> None:
    path = write_file(tmp_path / "164.yaml", 164)
    head, _, rest = path.read_text(encoding="utf-8").partition("mean: ")
    path.write_text(f"{head}mean: -{rest}", encoding="utf-8")
    output = tmp_path / "phone.json"
    line = refused("devices", "import", "phone", path, "--space", "mobilenet_v3_w1.2", "--output", output)
    assert f"{path}: " in line
    assert "expected a mean from 1e-06 to 1e+07 ms" in line
    assert not output.exists()


def test_a_latency_against_a_roofline_is_refused_in_one_line(refused: Callable[..., str]) -> None:
    line = refused("search", "--device", "rpi5", "--latency", "30ms")
    assert "rpi5 is a roofline of Raspberry Pi 5 B: it ranks and promises no milliseconds" in line
    assert "ofa-nas devices calibrate rpi5 measured.csv --output rpi5.json" in line


def test_what_cannot_be_done_is_refused(refused: Callable[..., str], timed: Path, tmp_path: Path) -> None:
    assert "nope: no such roofline" in refused("devices", "explain", "nope", LARGE, *TINY)
    assert "is not in tiny" in refused("devices", "explain", "rpi4", "99/3x2", *TINY)
    table = tmp_path / "table.json"
    command = ("devices", "calibrate", "rpi4", timed, "--output", table)
    assert "--threads 0: expected 1 or more" in refused(*command, "--threads", "0")
    timed.write_text("\n".join(timed.read_text(encoding="utf-8").splitlines()[:2]), encoding="utf-8")
    assert "holds 1 different networks" in refused(*command)
    assert not table.exists()
    line = refused("devices", "explain", "latency_tables/rpi4.json", LARGE, *TINY)
    assert "is no calibrated roofline" in line


def test_notes_and_medians_are_listed(command: Command) -> None:
    printed = command("devices")
    assert "p50 2.8%" in printed.out
    assert "rpi4:" in printed.out.splitlines()
    assert "  The middle half of those took 0.86 to 1.24 times as long." in printed.out.splitlines()
    tables = {one["name"]: one for one in command("devices", "--json").document["tables"]}
    assert (tables["rpi4"]["p50"], tables["note10"]["p50"]) == (0.0284, None)
