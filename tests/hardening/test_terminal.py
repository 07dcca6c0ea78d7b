"""Names, notes and paths are shown, never obeyed: no escape sequence, no markup, no broken line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.cli import main
from ofa_nas.cli.console import err, make_table, out, progress, wide
from ofa_nas.cli.plain import LONGEST, one_line, own_markup, visible

HOSTILE = (
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\x9b31m",
    "a\u202eb",
    "\r",
    "\ud800",
    "[/red]",
    "[/nobody]",
    "[link=x]",
    ":bug:",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("console", [out, wide, err], ids=["out", "wide", "err"])
def test_hostile_text_is_shown_and_not_obeyed(
    text: str, console: object, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table("a column")
    table.add_row(f"{text} in a cell")
    for shown in (f"{text} in a line", table, f"[bold]{text}[/bold]"):
        console.print(shown)  # type: ignore[attr-defined]  # pytest shows an object by its name
    captured = capsys.readouterr()
    told = captured.out + captured.err
    assert not set(told) & set("\x1b\x07\x9b\u202e\r\ud800")
    if text[0] in "[:":
        assert told.count(text) == 3
    told.encode()


def test_hostile_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", total=3) as bar:
        bar.move_to(1, note="[/red] \x1b[2J")
        bar.tell("[/red]")
    assert "[/red]" in capsys.readouterr().err


def test_our_own_styles_stay() -> None:
    assert own_markup("[bold]a[/bold] [red]b[/red] [1] [x=y]") == "[bold]a[/bold] [red]b[/red] \\[1] \\[x=y]"
    assert visible("± 90 % – naïve 数\n\t") == "± 90 % – naïve 数\n\t"


def test_an_error_is_one_printable_line_of_bearable_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line("a\r\nb\x1b[2J\u2028c") == "a b\\x1b[2J c"
    assert len(one_line("x" * 10**6)) == LONGEST + 1
    assert main(["spaces", "no\x1b[2J\nsuch\x07"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: no\\x1b[2J such\\x07: no such search space")
    assert told.count("\n") == 1


def test_a_hostile_description_and_a_hostile_path_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "[bold] \x1b[2J"
    folder.mkdir()
    space = (asset_folder("search_spaces") / "tiny.toml").read_text(encoding="utf-8")
    path = folder / "tiny.toml"
    path.write_text(f'source = "[/bold] \\u001b[2J [/x]"\n{space}', encoding="utf-8")
    assert main(["spaces", str(path)]) == 0
    told = capsys.readouterr().out
    assert "Source: [/bold] \\x1b[2J [/x]" in told
    shutil.move(path, folder / "broken.toml")
    (folder / "broken.toml").write_text('"\\u001b[2J\\n" = 1\n', encoding="utf-8")
    assert main(["spaces", str(folder / "broken.toml")]) == 1
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert told.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
@pytest.mark.parametrize("arguments", [["spaces"], ["spaces", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "ofa_nas", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: cannot write: No space left on device\n")
