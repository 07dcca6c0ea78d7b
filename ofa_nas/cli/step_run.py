"""Run a command of `ofa-nas` in a process of its own.

Nothing that is measured depends on what ran before: a training takes its threads and its memory with it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ofa_nas.cli.signals import heeded


def run_process(arguments: Sequence[str], *, lock: int, is_quiet: bool) -> int:
    """Run a command and wait for it; what asks for an end is passed on, and it may finish what it must.

    Args:
        arguments: Of `ofa-nas`.
        lock: Descriptor that is to stay open for as long as the command runs.
        is_quiet: Throw its stdout away.

    Returns:
        Its exit status, negative for the signal that killed it.

    Raises:
        KeyboardInterrupt: The user asked for an end, and it came; of the signal.
    """
    held, kept = os.pipe()
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ofa_nas.cli.step_process", str(held), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if is_quiet else None,
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(held, lock),
            process_group=0,  # a Ctrl-C reaches it once, from here
        )
        with _passed_on(process) as signals:
            status = process.wait()
    finally:
        os.close(held)
        os.close(kept)
    if signals:
        raise KeyboardInterrupt(signals[0])
    return status


@contextmanager
def _passed_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Send every signal that asks for an end to a process, and note it."""
    noted: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in heeded()}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
