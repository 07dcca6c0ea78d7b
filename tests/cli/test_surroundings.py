"""Where a command may find itself: without streams, letters, a home or a folder to stand in."""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

import ofa_nas
from ofa_nas.cli import main

ROOT = Path(ofa_nas.__file__).parents[1]


def shell(line: str, arguments: Sequence[str], folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run `ofa-nas` where a line of shell puts `"$@"`; gives status, stdout and stderr."""
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "ofa_nas", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["spaces", "tiny"], ["spaces", "--json"]])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_leads_nowhere(closed: str, arguments: list[str], tmp_path: Path) -> None:
    status, shown, told = shell(f'"$@" {closed}', arguments, tmp_path)
    assert (status, told) == (0, "")
    assert ("tiny" in shown) == (">&-" not in closed.split())


def test_no_file_of_ours_takes_the_place_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "from ofa_nas.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        "kept = open('kept', 'w')\n"
        "print('to stdout', flush=True)\n"
        "os.write(2, b'of a library')\n"
        "subprocess.run(['sh', '-c', 'echo of a child; echo of a child >&2'], check=True)\n"
    )
    command = [sys.executable, str(script)]
    line = '"$@" <&- >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert (tmp_path / "kept").read_text() == ""


def test_letters_that_a_stream_lacks_are_spelt_out(tmp_path: Path) -> None:
    status, shown, told = shell('"$@"', ["--help"], tmp_path, PYTHONIOENCODING="ascii")
    assert (status, told) == (0, "")
    assert r"COMMAND \u2026" in shown


@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&1 >/dev/null | true"])
def test_a_note_that_nobody_can_read_ends_no_work(stream: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from ofa_nas.cli.console import err\n"
        "from ofa_nas.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        "for _ in range(200):\n"
        "    err.print('a note ' * 20)\n"
        "    time.sleep(0.001)\n"
        "open('done', 'w').close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = f'"$@" {stream}'
    subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, str(script)], check=True, cwd=tmp_path, env=environment
    )
    assert (tmp_path / "done").exists()


def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    status, shown, told = shell('rmdir "$PWD"; "$@"', ["spaces", "tiny"], folder)
    assert (status, shown) == (1, "")
    assert told == "error: the current folder is gone: somebody removed it; change into another\n"


def test_without_a_home_it_is_told_how_to_name_a_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user has a number and no name."""

    def no_name(_: int) -> NoReturn:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_name)
    assert main(["devices"]) == 1
    told = "the cache folder: there is no home to put it into; set XDG_CACHE_HOME to a folder of your own"
    assert capsys.readouterr().err == f"error: {told}\n"
