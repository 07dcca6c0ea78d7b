"""Shells really ask, and are really answered."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ofa_nas
from tests.cli.conftest import Command

ROOT = Path(ofa_nas.__file__).parents[1]
BASH = """
source <(ofa-nas completion bash)
while IFS= read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    read -ra COMP_WORDS <<< "$COMP_LINE"
    [[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _python_argcomplete ofa-nas "${COMP_WORDS[COMP_CWORD]}" before
    echo "${COMPREPLY[@]}"
done
"""
QUESTIONS = {  # what is typed, and some of what is offered
    "ofa-nas verify": {"verify", "verify-table"},
    "ofa-nas search --device rpi": {"rpi4", "rpi4_int8"},
    "ofa-nas search --supernet e": {"efficientnet_lite"},
    "ofa-nas train --from efficientnet_lite": {"efficientnet_lite", "efficientnet_lite0"},
    "ofa-nas profile --precision ": {"fp32", "int8"},
    "ofa-nas devices explain --sp": {"--space"},
    "ofa-nas run own": {"own.toml"},
    "ofa-nas verify-table my": {"my_table.json"},
    "ofa-nas data d": {"dead-leaves"},
    "ofa-nas pretrain --recipe l": {"largest"},
    "ofa-nas nonsense --": {"--help", "--version"},
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, and an `ofa-nas` on the PATH."""
    script = tmp_path / "bin" / "ofa-nas"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ofa_nas "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("own.toml", "own.txt", "my_table.json", "my_notes.txt"):
        (folder / name).touch()
    return folder


def needed(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed here")
    return path


@pytest.mark.slow
def test_bash_completes_commands_options_choices_names_and_files(shell: Path) -> None:
    asked = "".join(f"{line}\n" for line in QUESTIONS)
    command = [needed("bash"), "--norc", "-c", BASH]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=shell, check=True)
    answers = dict(zip(QUESTIONS, done.stdout.splitlines(), strict=True))
    for line, expected in QUESTIONS.items():
        assert set(answers[line].split()) == expected, line
    assert done.stderr == ""


@pytest.mark.slow
def test_fish_completes(shell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(shell))
    asked = "; ".join(f'complete -C "{line}"; echo ---' for line in QUESTIONS)
    command = [needed("fish"), "--no-config", "-c", f"ofa-nas completion fish | source; {asked}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=shell, check=True)
    answers = [
        {line.split("\t")[0].strip() for line in part.splitlines() if line}
        for part in done.stdout.split("---\n")[:-1]
    ]
    for (line, expected), found in zip(QUESTIONS.items(), answers, strict=True):
        assert expected <= found, line


@pytest.mark.slow
def test_zsh_completes_on_a_terminal(shell: Path) -> None:
    controller, terminal = pty.openpty()
    start = 'PS1=READY; autoload -U compinit; compinit -D; eval "$(ofa-nas completion zsh)"; clear\n'
    process = subprocess.Popen(
        [needed("zsh"), "-f", "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=shell,
        close_fds=True,
    )
    os.close(terminal)
    try:
        type_until(controller, start, "READY")
        type_until(controller, "ofa-nas spa\t", "spaces")
        type_until(controller, "ti\t", "tiny")
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def type_until(controller: int, text: str, expected: str) -> None:
    """Type, and read the screen until a text is there."""
    os.write(controller, text.encode())
    seen, deadline = "", time.monotonic() + 120.0
    while expected not in seen.rsplit("clear", maxsplit=1)[-1]:
        ready, _, _ = select.select([controller], [], [], 0.5)
        seen += os.read(controller, 4096).decode(errors="replace") if ready else ""
        assert time.monotonic() < deadline, seen


def test_the_code_says_where_it_belongs(command: Command) -> None:
    printed = command("completion", "bash")
    assert printed.out.startswith('# eval "$(ofa-nas completion bash)"  # in ~/.bashrc\n')
    assert "complete " in printed.out
    document = command("completion", "fish", "--json").document
    assert document.keys() == {"shell", "code", "use"}
    assert document["use"].startswith("ofa-nas completion fish | source")
