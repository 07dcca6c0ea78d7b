"""Whatever ends a command, every file is the old one or the new one, and the next call goes on.

The campaigns themselves run, in processes that may be killed; docs/reliability.md tells of the long ones.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hardening.interruptions import WAYS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def campaign(module: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", f"tests.hardening.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.campaign
@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes_leaves_whole_files() -> None:
    assert "fine" in campaign("writers", "--kills", "8")


@pytest.mark.campaign
@pytest.mark.slow
def test_commands_that_are_broken_off_leave_whole_files_and_go_on() -> None:
    commands = ("predictor fit", "search --export")
    told = campaign("interruptions", "--trials", "1", *commands)
    assert told.count(" fine") == len(WAYS) * len(commands)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after_s"),
    [
        (signal.SIGINT, 0.0),
        (signal.SIGINT, 0.3),
        (signal.SIGINT, 1.0),
        (signal.SIGTERM, 1.0),
        (signal.SIGHUP, 1.0),
    ],
)
def test_an_interrupt_is_one_line_and_its_status_whenever_it_comes(
    number: int, after_s: float, tmp_path: Path
) -> None:
    arguments = ["profile", "--space", "mobilenet_v3", "--bundle", "board.zip"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-m", "ofa_nas", *arguments],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while "numpy" not in maps.read_text(encoding="utf-8"):  # the command line itself has been read
        time.sleep(0.01)
    time.sleep(after_s)
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    *before, last = told.splitlines()
    assert last == "interrupted"
    assert all("networks, about" in line for line in before)  # a fast machine has got as far as this
    # Python ends by the signal itself where it came while C code ran Python code; to a shell both are one.
    assert process.returncode in (128 + number, -number)
    assert list(tmp_path.iterdir()) == []
