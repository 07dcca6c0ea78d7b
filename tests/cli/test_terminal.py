"""What a real terminal shows, and what a pipe gets: colours, bars and plots."""

import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

import pytest

import ofa_nas
from ofa_nas.cli.plot import CHOSEN, HEIGHT, POINT, WIDTH, plot_lines
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet

ROOT = Path(ofa_nas.__file__).parents[1]
ESCAPE = "\x1b["
PREPARED = """
import sys
from ofa_nas.cli.console import progress
with progress("measuring", total=3) as bar:
    bar.advance(note="first")
"""


def on_terminal(words: Sequence[str], *, columns: int = 120, **variables: str) -> str:
    """What a process shows on a terminal of its own."""
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **variables}
    process = subprocess.Popen(
        [sys.executable, *words], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:  # Linux tells so that the other end is closed
        pass
    os.close(controller)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def search(small: SmallSupernet, *words: str) -> list[str]:
    return ["-m", "ofa_nas", "search", "--supernet", small.name, "--macs", "1G", *words]


@pytest.mark.slow
def test_a_terminal_gets_colours_and_a_plot_and_a_pipe_neither(small: SmallSupernet) -> None:
    shown = on_terminal(search(small))
    assert ESCAPE in shown
    assert "top-1 └" in shown
    assert CHOSEN in shown
    piped = subprocess.run(
        [sys.executable, *search(small)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ESCAPE not in piped.stdout + piped.stderr
    assert "top-1 └" not in piped.stdout


@pytest.mark.slow
def test_no_color_turns_colours_off(small: SmallSupernet) -> None:
    shown = on_terminal(search(small), NO_COLOR="1")
    assert "subnet" in shown
    assert not any(f"{ESCAPE}{code}" in shown for code in ("31", "32", "33", "34", "35", "36", "38"))


@pytest.mark.slow
def test_a_narrow_terminal_gets_no_plot_unless_it_is_asked_for(small: SmallSupernet) -> None:
    assert "top-1 └" not in on_terminal(search(small), columns=80)
    assert "top-1 └" in on_terminal(search(small, "--plot"), columns=80)
    assert "top-1 └" not in on_terminal(search(small, "--no-plot"))


def test_a_bar_is_drawn_on_a_terminal_with_what_is_left(tmp_path: Path) -> None:
    script = tmp_path / "bar.py"
    script.write_text(PREPARED)
    shown = on_terminal([str(script)])
    assert "measuring" in shown
    assert "1/3" in shown
    assert ":" in shown.split("1/3")[1]  # the time that it took and the time that is left


def test_a_plot_has_its_points_where_they_belong() -> None:
    lines = plot_lines([1.0, 2.0, 3.0], [0.5, 0.7, 0.9], chosen=[2])
    assert [len(line) for line in lines] == [WIDTH] * HEIGHT
    assert lines[0].index(CHOSEN) == WIDTH - 1
    assert lines[HEIGHT // 2][(WIDTH - 1) // 2 + 1] == POINT
    assert lines[-1][0] == POINT
    assert "".join(lines).count(POINT) == 2


def test_the_chosen_point_is_never_hidden_and_equal_points_are_no_error() -> None:
    assert "".join(plot_lines([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], chosen=[0])).strip() == CHOSEN


def test_a_wide_span_is_logarithmic() -> None:
    lines = plot_lines([1.0, 10.0, 100.0], [0.1, 0.2, 0.3], chosen=[0])
    assert lines[HEIGHT // 2].index(POINT) in ((WIDTH - 1) // 2, (WIDTH - 1) // 2 + 1)


def test_a_plot_names_its_ends(command: Command, small: SmallSupernet) -> None:
    text = command("search", "--supernet", small.name, "--macs", "1G", "--plot").text
    assert "top-1 └" in text
    ends = text.split("└")[1].split("subnet")[0]
    assert ends.count("k MACs") == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", [["search", "--plot"], ["spaces"], ["devices"], ["devices", "--json"]])
def test_a_reader_that_wants_one_line_is_given_no_traceback(words: list[str]) -> None:
    """As in `ofa-nas … | head -1`: the reader leaves while the rest is on its way."""
    line = f'"{sys.executable}" -m ofa_nas {" ".join(words)} | head -1'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, env=environment)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
