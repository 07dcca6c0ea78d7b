"""The frame of the command line: help, exit statuses, one JSON document."""

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from itertools import chain
from pathlib import Path

import pytest

import ofa_nas.cli
from ofa_nas import plugins
from ofa_nas.cli import COMMANDS, add_arguments, main, module_name

FRAME = {
    "argument_groups",
    # modules of the command line that are no commands
    "budget_arguments",
    "console",
    "contest",
    "delivery",
    "device_actions",
    "device_arguments",
    "device_tables",
    "file_form",
    "measured",
    "plain",
    "plot",
    "predictor_report",
    "profile_report",
    "reference",
    "search_report",
    "signals",
    "step_process",
    "step_run",
    "streams",
    "supernet_arguments",
    "torch_process",
    "training_arguments",
    "training_run",
    "window_arguments",
}
NAMES = [command.name for command in COMMANDS]


def test_every_command_module_is_listed_and_every_listed_one_is_there() -> None:
    modules = {module.name for module in pkgutil.iter_modules(ofa_nas.cli.__path__)} - FRAME
    assert modules == {module_name(name) for name in NAMES}


def test_groups_stand_together() -> None:
    order = ["find", "measure", "learn", "adapt", "inspect"]
    groups = [command.group for command in COMMANDS]
    assert groups == sorted(groups, key=order.index)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in shown
        assert command.help in shown
        assert not command.help.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert shown.startswith(f"usage: ofa-nas {name} ")


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["devices"], "usage: ofa-nas devices [ACTION] [OPTIONS]\n"),
        (["devices", "explain"], "usage: ofa-nas devices explain NAME ARCH … [OPTIONS]\n"),
        (
            ["devices", "calibrate"],
            "usage: ofa-nas devices calibrate NAME CSV --output FILE [OPTIONS]\n",
        ),
    ],
)
def test_help_of_an_action_is_as_that_of_a_command(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(usage)
    with pytest.raises(SystemExit, match="0"):
        main(["spaces", "--help"])
    title = "options of every command:"
    same = capsys.readouterr().out.partition(title)[2]
    assert " ".join(same.split()) == " ".join(shown.partition(title)[2].split())


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"ofa-nas {ofa_nas.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["nope"], ["spaces", "--nope"], ["--json", "spaces"], ["spaces", "--js"]]
)
def test_misuse_exits_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: ofa-nas" in captured.err


def test_a_misspelt_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        ([], "COMMAND is missing; ofa-nas --help lists the commands"),
        (["serach"], "there is no command 'serach', maybe search; ofa-nas --help lists the commands"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["search", "--latncy", "3ms"],
            "there is no option '--latncy', maybe --latency; ofa-nas search --help lists the options",
        ),
        (["search", "--latncy=3ms"], "there is no option '--latncy', maybe --latency;"),
        (["spaces", "--zzz"], "there is no option '--zzz'; ofa-nas spaces --help lists the options"),
        (["devices", "explain", "rpi4", "largest", "--clases", "9"], "'--clases', maybe --classes;"),
        (
            ["search", "3ms"],
            "ofa-nas search: error: unexpected argument '3ms'; ofa-nas search --help lists the arguments",
        ),
        (["--json", "spaces"], "'--json' stands before COMMAND: options of a command go after its name"),
    ],
)
def test_an_option_that_is_none_gets_the_nearest_one_of_its_command(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert told in capsys.readouterr().err


def test_a_refusal_is_one_line_and_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "nope"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: nope: no such search space")
    assert captured.err.count("\n") == 1


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Namespace) -> None:
        raise error

    monkeypatch.setattr(plugins, "_own_packages", set())  # other tests load plug-ins of this very package
    monkeypatch.setattr(importlib.import_module("ofa_nas.cli.spaces"), "run", run)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (KeyboardInterrupt("of somebody else's"), 130),
        (KeyboardInterrupt(signal.SIGINT), 130),
        (KeyboardInterrupt(signal.SIGTERM), 143),
    ],
)
def test_an_interrupt_exits_with_the_status_of_its_signal(
    error: KeyboardInterrupt,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(error, monkeypatch)
    assert main(["spaces"]) == status
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_bug_shows_its_traceback_only_when_asked(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OFA_NAS_DEBUG", debug)
    fail_with(ZeroDivisionError("oops"), monkeypatch)
    assert main(["spaces"]) == 1
    shown = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oops (run with OFA_NAS_DEBUG=1 for the traceback)" in shown
    assert ("Traceback" in shown) == bool(debug)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 4608"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
    ids=["python", "torch", "onnxruntime", "loader"],
)
def test_too_little_memory_is_told_whoever_finds_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(error, monkeypatch)
    assert main(["spaces"]) == 1
    assert capsys.readouterr().err == "error: not enough memory for this\n"


def test_a_package_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ModuleNotFoundError("No module named 'onnx'", name="onnx"), monkeypatch)
    assert main(["spaces"]) == 1
    told = "a package that ofa-nas needs cannot be used: No module named 'onnx'; install it anew"
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    root = Path(ofa_nas.__file__).parents[1]
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, str(root / "cli.py"), "spaces", "--json"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_spaces_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    spaces = {space["name"]: space for space in document["spaces"]}
    assert spaces["tiny"]["architectures"] == 800
    assert spaces["tiny"]["smallest"]["architecture"] == "24/3x2/3x2"
    assert round(spaces["mobilenet_v3"]["largest"]["macs"] / 1e6, 1) == 566.2


def test_spaces_lists_every_space_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces"]) == 0
    shown = capsys.readouterr().out
    texts = ("efficientnet_lite ", "mobilenet_v3 ", "mobilenet_v3_w1.2 ", "tiny ", "566 M", "800", "tiny 10.")
    for text in texts:
        assert text in shown
    assert "…" not in shown


def test_one_space_shows_its_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert "32/5x3.5x3/5x3.5x3" in shown
    assert "hard_swish" in shown
    assert "Classes: 10," in shown
    assert main(["spaces", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][1]["depths"] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--macs", "1M", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (
            ["search", "--device", "host", "--latency", "1ms", "--threads", "0"],
            "--threads 0: expected 1 to 4096",
        ),
        (["train", "--data", "x", "--threads", "-2"], "--threads -2: expected 1 or more"),
        (["train", "--data", "x", "--held-out", "-5"], "--held-out -5: expected 1 or more"),
        (["evaluate", "--seed", "-4"], "--seed -4: expected 0 or more"),
    ],
)
def test_a_number_too_small_is_refused_by_its_flag(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"error: {message}\n"


def test_every_command_refuses_a_seed_below_zero(capsys: pytest.CaptureFixture[str]) -> None:
    seeded = 0
    for command in COMMANDS:
        parser = ArgumentParser()
        add_arguments(parser, command)
        options = {option for action in parser._actions for option in action.option_strings}
        needed = [one for one in parser._actions if one.required]
        words = [str(next(iter(one.choices or ["x"]))) for one in needed]
        given = [[*one.option_strings[:1], word] for one, word in zip(needed, words, strict=True)]
        if "--seed" in options:
            seeded += 1
            assert main([command.name, *chain.from_iterable(given), "--seed", "-1"]) == 1, command
            assert capsys.readouterr() == ("", "error: --seed -1: expected 0 or more\n"), command
    assert seeded > 10


def test_a_document_can_be_kept_beside_what_people_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "tiny.json"
    assert main(["spaces", "tiny", "--json-file", str(path)]) == 0
    assert "32/5x3.5x3/5x3.5x3" in capsys.readouterr().out
    kept = path.read_text()
    assert main(["spaces", "tiny", "--json", "--json-file", str(path)]) == 0
    assert capsys.readouterr().out == kept == path.read_text()
    assert main(["spaces", "tiny", "--json-file", str(tmp_path)]) == 1
    assert "--json-file" in capsys.readouterr().err
