"""Ctrl-C within an import waits for its end: compiled modules that are interrupted abort the process."""

import _thread
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ofa_nas.cli.signals import ended_in_order, signals_noted
from ofa_nas.cli.step_run import _passed_on

SLOW_IMPORT = """
import _thread, time
half = True
_thread.interrupt_main()
for _ in range(10):
    time.sleep(0.005)
whole = True
"""


@pytest.fixture
def slow_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "slow_import_of_a_test.py").write_text(SLOW_IMPORT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_import_of_a_test", raising=False)
    return "slow_import_of_a_test"


def import_and_wait(name: str) -> None:
    with ended_in_order():
        __import__(name)
        threading.Event().wait(30)


def interrupt_and_wait() -> None:
    with ended_in_order():
        _thread.interrupt_main()
        threading.Event().wait(30)
        pytest.fail("nothing interrupted")


def test_an_import_is_finished_before_the_interrupt_comes(slow_import: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        import_and_wait(slow_import)
    assert sys.modules[slow_import].whole


def test_elsewhere_it_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_and_wait()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_handles_it_otherwise_keeps_doing_so() -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        with ended_in_order():
            _thread.interrupt_main()
            for _ in range(3):
                pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT]


def end_and_clean_up(*numbers: int) -> None:
    with ended_in_order():
        try:
            os.kill(os.getpid(), numbers[0])
            pytest.fail("nothing interrupted")
        finally:
            for number in numbers[1:]:
                os.kill(os.getpid(), number)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whatever_asks_for_an_end_is_one_interrupt(number: int, times: int) -> None:
    """The shell and the system may both tell that a terminal was closed; a supervisor and `run` SIGTERM."""
    with pytest.raises(KeyboardInterrupt) as caught:
        end_and_clean_up(*[number] * times)
    assert (caught.value.__context__, caught.value.args) == (None, (number,))
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_step_is_finished_though_the_end_is_told_twice(number: int) -> None:
    with ended_in_order(), signals_noted() as noted:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert noted == [number]


@pytest.mark.parametrize("end", ["ended_in_order", "signals_noted"])
def test_a_later_sigterm_waits_for_nothing(end: str) -> None:
    program = f"""
import os, signal, threading, time
from ofa_nas.cli import signals

signals.SAME_S = 0.01
with signals.{end}():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(30)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=20)
    assert done.returncode == -signal.SIGTERM


def test_a_sigterm_told_twice_is_one_though_a_long_call_puts_it_off() -> None:
    """Python sees what came within a call of C, such as a step backward of torch's, at its end."""
    program = """
import hashlib, os, signal, threading, time
from ofa_nas.cli import signals

signals.SAME_S = 0.05

def tell_again():
    time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

with signals.ended_in_order(), signals.signals_noted() as noted:
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=tell_again).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_500_000)
print(noted)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, capture_output=True)
    assert (done.returncode, done.stdout) == (0, f"[{signal.SIGTERM.value}]\n".encode())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_to_be_ignored_stays_so(number: int) -> None:
    """As `nohup` asks for, and a shell for what runs in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    process = subprocess.Popen(["true"])
    try:
        with ended_in_order(), signals_noted() as noted, _passed_on(process) as passed:
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
        process.wait()
    assert (noted, passed) == ([], [])


def test_another_thread_is_left_alone() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with ended_in_order():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
