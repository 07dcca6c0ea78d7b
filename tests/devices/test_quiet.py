"""Turns of a machine: who measures there is alone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ofa_nas.devices import HOST
from ofa_nas.devices.quiet import quiet, working
from ofa_nas.errors import FileError

BOARD, OTHER = "ssh://pi", "ssh://nano"
LONG_S, SHORT_S = 20.0, 0.2
Turn = Callable[[], AbstractContextManager[None]]


class Elsewhere:
    """A turn that another worker takes, in a thread of its own, and keeps until it is let go."""

    def __init__(self, turn: Turn) -> None:
        self.has_it, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._take, args=(turn,), daemon=True)
        self._thread.start()

    def _take(self, turn: Turn) -> None:
        with turn():
            self.has_it.set()
            self._go.wait(LONG_S)

    def leave(self) -> None:
        """Let go as soon as it has the turn."""
        self._go.set()

    def let_go(self) -> None:
        self._go.set()
        self._thread.join(LONG_S)


def is_taken(address: str) -> bool:
    """Whether another would have to wait for a device."""
    other = Elsewhere(lambda: quiet(address))
    has_it = other.has_it.wait(SHORT_S)
    other.leave()
    return not has_it


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(round(LONG_S / 0.05)):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come")


@pytest.mark.parametrize(
    ("held", "wanted", "is_at_once"),
    [
        (working, working, True),
        (working, lambda: quiet(HOST), False),
        (lambda: quiet(HOST), working, False),
        (lambda: quiet(HOST), lambda: quiet(HOST), False),
        (lambda: quiet(BOARD), lambda: quiet(BOARD), False),
        (lambda: quiet(BOARD), lambda: quiet(OTHER), True),
        (lambda: quiet(HOST), lambda: quiet("host+openvino"), False),
        (lambda: quiet("host+openvino"), working, False),
        (lambda: quiet(BOARD), lambda: quiet("ssh+cuda://pi"), False),
        (lambda: quiet(BOARD), working, True),
        (working, lambda: quiet(BOARD), True),
        (lambda: quiet(BOARD), lambda: quiet("ssh://root@pi/opt/python3"), False),
        (lambda: quiet(BOARD), lambda: quiet("ssh://pi:2222"), True),
        (lambda: quiet("my_lab.board://tty/0"), lambda: quiet("my_lab.board://tty/1"), True),
    ],
)
def test_who_waits_for_whom(held: Turn, wanted: Turn, is_at_once: bool) -> None:
    first = Elsewhere(held)
    assert first.has_it.wait(LONG_S)
    second = Elsewhere(wanted)
    assert second.has_it.wait(LONG_S if is_at_once else SHORT_S) == is_at_once
    first.let_go()
    assert second.has_it.wait(LONG_S)
    second.let_go()


@pytest.mark.parametrize("again", [HOST, "host+openvino", None])
def test_who_has_this_machine_may_ask_for_it_again(again: str | None) -> None:
    @contextmanager
    def twice() -> Iterator[None]:
        with quiet(HOST):
            with working() if again is None else quiet(again):
                pass
            assert is_taken(HOST)  # still
            yield

    taker = Elsewhere(twice)
    assert taker.has_it.wait(LONG_S)
    taker.let_go()
    assert not is_taken(HOST)


def test_work_that_begins_later_lets_a_measurement_go_first() -> None:
    before = Elsewhere(working)
    assert before.has_it.wait(LONG_S)
    measurement = Elsewhere(lambda: quiet(HOST))
    assert not measurement.has_it.wait(SHORT_S)
    later = Elsewhere(working)
    assert not later.has_it.wait(SHORT_S)
    before.let_go()
    assert measurement.has_it.wait(LONG_S)
    assert not later.has_it.is_set()
    measurement.let_go()
    assert later.has_it.wait(LONG_S)
    later.let_go()


def test_a_process_that_is_killed_leaves_no_lock_and_was_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = (
        "from ofa_nas.devices.quiet import quiet\n"
        "with quiet('host'):\n    print('mine', flush=True)\n    input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=os.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"mine\n"
        waiting = Elsewhere(lambda: quiet(HOST, patience_s=0.0))
        wait_for(lambda: f"another measurement on this machine: process {process.pid} of " in caplog.text)
        assert not waiting.has_it.is_set()
        process.kill()
        assert waiting.has_it.wait(LONG_S)
        waiting.let_go()


def test_a_cache_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = r"file/ofa-nas/locks/.* cannot be written: .*; set XDG_CACHE_HOME"
    with pytest.raises(FileError, match=told), working():
        pass


def test_a_cache_folder_that_cannot_be_written_keeps_nobody_from_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with quiet(HOST), quiet(BOARD):
        pass


@pytest.mark.usefixtures("no_locks")
def test_without_locks_nobody_waits() -> None:
    with working(), quiet(HOST), quiet(BOARD):
        pass
