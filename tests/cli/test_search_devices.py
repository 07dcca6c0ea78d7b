"""`ofa-nas search` with several devices, and with a list of budgets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.cli.device_arguments import DeviceArgument, read_devices
from ofa_nas.cli.plot import CHOSEN
from ofa_nas.devices import MeasuringProtocol, open_device
from ofa_nas.errors import ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, exact_table

Refused = Callable[..., str]


@pytest.fixture
def board(tiny: SearchSpace, tmp_path: Path) -> Path:
    """A table beside the one of rpi4."""
    path = tmp_path / "board.json"
    replace(exact_table(tiny), name="my-board").save(path)
    return path


def test_a_latency_belongs_to_the_device_before_it() -> None:
    given = [
        ("--device", "rpi4"), ("--latency", "30ms"), ("--measure", "ssh://pi"),
        ("--device", "host"), ("--device", "note10"), ("--latency", "6ms"),
    ]  # fmt: skip
    assert read_devices(given) == (
        DeviceArgument("rpi4", "30ms", "ssh://pi"),
        DeviceArgument("host"),
        DeviceArgument("note10", "6ms"),
    )
    assert [device.address for device in read_devices(given)] == ["ssh://pi", "host", ""]
    assert read_devices([("--latency", "6ms"), ("--device", "host")]) == (DeviceArgument("host", "6ms"),)
    assert read_devices([]) == ()


def test_threads_are_those_of_the_device_before_them_or_of_all() -> None:
    given = [("--device", "pi"), ("--threads", "4"), ("--device", "nuc")]
    assert [one.threads for one in read_devices(given)] == [4, 1]
    assert [one.threads for one in read_devices([("--threads", "2"), *given])] == [4, 2]
    with pytest.raises(ConfigError, match="--threads 2 needs a device: add --device host"):
        read_devices([("--threads", "2")])
    assert [one.threads for one in read_devices([("--threads", "2"), ("--device", "pi")])] == [2]
    for text in ("0", "4097", "four", "-1", "1.5", "9" * 20):
        with pytest.raises(ConfigError, match=rf"^--threads {text}: expected 1 to 4096$"):
            read_devices([("--device", "pi"), ("--threads", text)])


def test_devices_of_one_search_have_threads_of_their_own(
    command: Command, refused: Refused, small: SmallSupernet, board: Path, tiny: SearchSpace, tmp_path: Path
) -> None:
    table = exact_table(tiny)
    four = tmp_path / "four.json"
    replace(table, name="four", device=replace(table.device, threads=4)).save(four)
    devices = ("--device", board, "--latency", "4ms", "--device", four)
    assert "measured with 4 threads, not 1" in refused("search", "--supernet", small.name, *devices)
    found = command("search", "--supernet", small.name, *devices, "--threads", "4", "--json")
    assert list(found.document["predicted"]["latency_ms"]) == ["my-board", "four"]
    assert "measured with 1 thread, not 4" in refused(
        "search", "--supernet", small.name, "--threads", "4", *devices
    )


def test_the_document_names_every_device(command: Command, small: SmallSupernet, board: Path) -> None:
    printed = command(
        "search", "--supernet", small.name, "--device", board, "--latency", "4ms",
        "--device", "rpi4", "--latency", "1s", "--margin", "0", "--json",
    )  # fmt: skip
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    assert document["devices"] == [
        {"name": "my-board", "provenance": "measured"},
        {"name": "rpi4", "provenance": "estimated"},
    ]
    assert [(one["name"], one["device"], one["limit"]) for one in document["budgets"]] == [
        ("latency", "my-board", 4.0),
        ("latency", "rpi4", 1000.0),
    ]
    assert list(document["predicted"]["latency_ms"]) == ["my-board", "rpi4"]
    assert document["predicted"]["latency_ms"]["my-board"] <= 4.0
    latencies = [one["predicted"]["latency_ms"]["my-board"] for one in document["front"]]
    assert latencies == sorted(latencies)


@pytest.mark.parametrize(
    ("command_of_table", "told"),
    [
        (
            "ofa-nas profile --device ssh://pi@board:2222/usr/bin/python3 --name my-board",
            "ssh://pi@board:2222/usr/",
        ),
        ("ofa-nas profile --device host --name my-board", "ssh://USER@HOST times finalists"),
        ("ofa-nas search --device host --device ssh://pi@other", "ssh://USER@HOST times finalists"),
        ("ofa-nas profile --device ssh://\x1b[2J --name my-board", "ssh://USER@HOST times finalists"),
        ("ofa-nas profile --device my.own://x --name my-board", "ssh://USER@HOST times finalists"),
    ],
)
def test_finalists_may_be_timed_where_the_table_was_measured(
    command_of_table: str,
    told: str,
    command: Command,
    small: SmallSupernet,
    tiny: SearchSpace,
    tmp_path: Path,
) -> None:
    path = tmp_path / "board.json"
    table = replace(exact_table(tiny), name="my-board")
    replace(table, made_by={**table.made_by, "command": command_of_table}).save(path)
    text = command("search", "--supernet", small.name, "--device", path, "--latency", "4ms").text
    assert f"measured nothing: the latency on my-board is predicted. --measure {told}" in text


def test_people_see_a_column_and_a_line_for_each_device(
    command: Command, small: SmallSupernet, board: Path
) -> None:
    text = command(
        "search", "--supernet", small.name, "--device", board, "--latency", "4ms", "--device", "rpi4"
    ).text
    assert "device my-board (one core; onnxruntime): measured" in text
    assert "device rpi4 (BCM2711" in text
    assert "top-1 latency on my-board latency on rpi4 MACs" in text
    assert "budget latency on my-board ≤ 4 ms: binds; no margin" in text
    assert "latency on rpi4 ≤" not in text
    assert "measured nothing: the latencies on my-board and rpi4 are predicted" in text


def test_the_exported_file_names_the_promise_of_every_device(
    command: Command, small: SmallSupernet, board: Path, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    arguments = ("--device", board, "--latency", "4ms", "--device", "rpi4", "--latency", "1s")
    printed = command("search", "--supernet", small.name, *arguments, "--export", path)
    assert printed.status == 0
    latencies = ModelCard.from_model(read_model(path), path).latencies
    assert [(one.device, one.provenance) for one in latencies] == [
        ("my-board", "measured"),
        ("rpi4", "estimated"),
    ]
    assert 0.0 < latencies[0].latency_ms <= 4.0
    for one in latencies:
        assert f"predicted on {one.device} ({one.provenance}), not measured" in printed.text


def keep_host_table(space: SearchSpace) -> None:
    """Measure this machine, roughly, into the cache that a search looks in."""
    device = open_device("host")
    protocol = MeasuringProtocol(
        rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1
    )
    *_, table = profile_device(device, space, protocol=protocol)
    assert isinstance(table, LatencyTable)
    table.save(named_table_path(space, "host"))


@pytest.mark.slow
def test_on_a_device_at_hand_finalists_and_file_are_timed(
    command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    keep_host_table(tiny)
    path = tmp_path / "subnet.onnx"
    arguments = ("search", "--supernet", small.name, "--device", "host", "--latency", "1s", "--margin", "0")
    printed = command(*arguments, "--finalists", "2", "--export", path, "--json")
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    assert document["finalists"].keys() == {
        "device",
        "address",
        "slowdown",
        "slowdowns",
        "stale",
        "threads",
        "networks",
    }
    assert (document["finalists"]["device"], document["finalists"]["address"]) == ("host", "host")
    first = document["finalists"]["networks"][0]
    assert first.keys() == {"architecture", "predicted", "measured", "is_within", "round"}
    assert first["measured"].keys() == {"latency_ms", "latency_p90_ms"}
    assert first["architecture"] == document["architecture"]
    assert document["measured"].keys() >= {"latency_ms", "latency_p90_ms"}
    shown = command(*arguments).text
    assert "finalists timed on host, a" in shown  # at the table's speed, or as fast as it is now
    assert "kept, chosen" in shown
    assert "measured nothing" not in shown


@pytest.mark.campaign
def test_finalists_are_timed_on_the_first_device_at_hand_and_the_file_on_each(
    command: Command, small: SmallSupernet, tiny: SearchSpace, board: Path, tmp_path: Path
) -> None:
    keep_host_table(tiny)
    path = tmp_path / "subnet.onnx"
    arguments = (
        "--device", board, "--latency", "4ms", "--device", "rpi4", "--measure", "host", "--latency", "1s",
        "--device", "host", "--latency", "1s", "--margin", "0", "--finalists", "2",
    )  # fmt: skip
    document = command("search", "--supernet", small.name, *arguments, "--export", path, "--json").document
    assert (document["finalists"]["device"], document["finalists"]["address"]) == ("rpi4", "host")
    assert document["measured"]["latency_ms"].keys() == {"rpi4", "host"}
    assert document["measured"]["latency_p90_ms"].keys() == {"rpi4", "host"}
    assert document["predicted"]["latency_ms"].keys() == {"my-board", "rpi4", "host"}
    verified = command("verify", path, "--supernet", small.name, "--json").document  # on host, of itself
    (check,) = (check for check in verified["checks"] if check["quantity"] == "latency")
    assert check["device"] == "host"
    assert check["predicted"] == pytest.approx(document["predicted"]["latency_ms"]["host"])


def test_the_document_of_a_list_has_an_answer_for_each_budget(
    command: Command, small: SmallSupernet, board: Path
) -> None:
    arguments = ("search", "--supernet", small.name, "--device", board, "--json")
    printed = command(*arguments, "--latency", "1us,3,4ms", "--peak-memory", "40kB")
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    assert document.keys() == {
        "answers", "space", "supernet", "weights", "predictor", "precision", "devices", "tables", "front",
        "search", "made_by",
    }  # fmt: skip
    unmet, *answers = document["answers"]
    assert unmet.keys() == {"budgets", "unmet"}
    assert unmet["budgets"][0]["limit"] == pytest.approx(1e-3)
    assert "latency on my-board ≤ 0.001 ms cannot be met" in unmet["unmet"]
    assert [answer["budgets"][0]["limit"] for answer in answers] == [3.0, 4.0]
    for answer, text in zip(answers, ("3ms", "4ms"), strict=True):
        alone = command(*arguments, "--latency", text, "--peak-memory", "40kB").document
        assert answer == {key: alone[key] for key in answer}
        assert answer.keys() == {
            "architecture", "network", "budgets", "predicted", "objective", "accuracy_bound", "is_exact",
            "by_seed",
        }  # fmt: skip


def test_people_see_a_row_for_each_budget_of_a_list(
    command: Command, small: SmallSupernet, board: Path
) -> None:
    arguments = ("--device", board, "--latency", "4ms", "--macs", "1,200,500k")
    printed = command("search", "--supernet", small.name, *arguments)
    assert printed.status == 0
    assert "searched all 8e+02 subnets, exactly" in printed.text
    assert "budget latency on my-board ≤ 4 ms; no margin" in printed.text
    assert "budgets MACs, one subnet for each" in printed.text
    assert "1 k MACs cannot be met" in printed.text
    assert "unmet MACs ≤ 1 k MACs cannot be met: the smallest that tiny reaches is" in printed.text
    rows = [line.split() for line in printed.out.splitlines() if " MACs " in line and "%" in line]
    assert [row[0] for row in rows] == ["200", "500"]


def test_a_front_and_what_binds_come_with_the_answers_of_a_list(
    command: Command, small: SmallSupernet, board: Path
) -> None:
    search = ("search", "--supernet", small.name, "--device", board)
    answers = command(*search, "--latency", "3,4ms", "--json").document["answers"]
    told = command(*search, "--latency", "3,4ms", "--plot")
    assert told.out.count("latency on my-board   32/") + told.out.count("latency on my-board   24/") == 2
    assert "front against latency on my-board top-1" in told.text
    for answer in answers:
        assert told.out.count(f" {answer['architecture']} ") == 2  # in the table of answers, and on the front
    assert told.out.count(CHOSEN) == 2
    assert CHOSEN not in command(*search, "--latency", "3,4ms").out
    told = command(*search, "--peak-memory", "30,40kB", "--macs", "900k")
    assert "front against latency on my-board, within peak memory ≤ 40 kB" in told.text
    document = command(*search, "--peak-memory", "30,40kB", "--macs", "900k", "--json").document
    assert max(one["predicted"]["peak_activation_bytes"] for one in document["front"]) <= 40_000
    for answer in document["answers"]:
        titles = {"peak_memory": "peak memory", "macs": "MACs"}
        binding = ", ".join(titles[one["name"]] for one in answer["budgets"] if one["binds"]) or "none"
        assert f"{binding} {answer['architecture']}" in told.text


def test_a_list_of_one_value_is_a_budget(command: Command, small: SmallSupernet) -> None:
    document = command("search", "--supernet", small.name, "--macs", "500k,500k", "--json").document
    assert [budget["limit"] for budget in document["budgets"]] == [500e3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--device rpi4 --latency 1s --latency 2s", "--latency 2s: rpi4 has --latency 1s already; put each"),
        ("--device rpi4 --device rpi4", "--device rpi4 is given twice: give each device once"),
        ("--device BOARD --device PARENT//board.json", "latency tables my-board, my-board: each must have"),
        ("--latency 1s --device rpi4 --device host", "--latency 1s: put it behind the --device that it is"),
        ("--measure host --device rpi4 --device BOARD", "--measure host: put it behind the --device that"),
        (
            "--device rpi4 --measure host --measure ssh://pi",
            "--measure says where the device of a table is, and host is known",
        ),
        ("--device rpi4 --latency 1,2s --macs 1M,2M", "latency on rpi4 and MACs are lists: only one budget"),
        (
            "--device rpi4 --latency 1,2s --device BOARD --latency 1,2s",
            "latency on rpi4 and latency on BOARD are lists: only one budget",
        ),
        ("--macs 1M,lots", "--macs 'lots': expected MACs such as 200M"),
        ("--device rpi4 --latency 10,,20ms", "--latency '': expected latency such as 30ms"),
        ("--macs 1,2k", "MACs ≤ 2 k MACs cannot be met: the smallest that tiny reaches is"),
        ("--macs 1M,2M --export subnet.onnx", "--export is for one subnet, not for a list of budgets"),
        ("--macs 1M,2M --device rpi4 --measure host", "--measure is for one subnet, not for a list"),
        ("--macs 1M,2M --device host --finalists 2", "--finalists is for one subnet, not for a list"),
        ("--macs 1M,2M --margin 5%", "--margin is a share of the latency budget"),
        (
            "--device rpi4 --latency 1us --device BOARD --latency 1us",
            "latency on rpi4 ≤ 0.001 ms cannot be met",
        ),
    ],
)
def test_a_wrong_input_is_one_line(
    arguments: str, message: str, refused: Refused, small: SmallSupernet, board: Path
) -> None:
    flags = arguments.replace("BOARD", str(board)).replace("PARENT", f"{board.parent}/.").split()
    assert message.replace("BOARD", str(board)) in refused("search", "--supernet", small.name, *flags)
    assert [path.name for path in board.parent.iterdir()] == [board.name]
