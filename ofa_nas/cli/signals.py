"""Signals that ask work to end, so that it can end well."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # of a terminal that is closed
    ENDS.append(signal.SIGHUP)
SAME_S = 1.0  # for which another SIGTERM is the first one, told again
IMPORTS = "<frozen importlib"  # how the names of the import system's own code objects begin
AGAIN_S = 0.02


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Collect the first of `ENDS` instead of dying of it in the middle of a step."""
    noted: list[int] = []
    before = heeded()

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        if number != signal.SIGINT:
            before[number] = _second(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heeded() -> dict[int, Any]:
    """Handlers of those of `ENDS` that whoever started this process did not have ignored, as `nohup` does."""
    handlers = {number: signal.getsignal(number) for number in ENDS}
    return {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Make SIGTERM and a closed terminal what Ctrl-C is, and put each off that comes within an import.

    So files that are half written are removed, devices told, trials given back. A compiled module (onnx's,
    torch's) that is interrupted while it registers itself ends the process with a C++ traceback. Another
    thread, and a signal that somebody else handles, are left alone.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.default_int_handler, signal.SIG_DFL)
        before = {number: handler for number, handler in heeded().items() if handler in usual}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise a KeyboardInterrupt of a signal, at once or when the import within which it came is done."""
    if _within_import(frame):
        _thread.start_new_thread(_interrupt_soon, (number,))  # without a lock that the main thread may hold
        return
    if number != signal.SIGINT:
        signal.signal(number, _second(number))
    raise KeyboardInterrupt(number)


def _second(number: int) -> Any:
    """A handler of further signals of a kind: another SIGTERM waits for nothing, another SIGHUP does nothing.

    Both may be told twice at once: a closed terminal by the system and the shell, SIGTERM by a supervisor to
    all processes of a service and by one of these to another. Python sees only at the end of a long call when
    that came, so the time in which they are one ends by a signal too, and falls together with it there.
    """
    began, is_over = time.monotonic(), False

    def again(number: int, _frame: object) -> None:
        nonlocal is_over
        if time.monotonic() - began < SAME_S:
            return
        signal.signal(number, signal.SIG_DFL)
        if is_over:
            signal.raise_signal(number)
        is_over = True

    def end() -> None:
        time.sleep(SAME_S)
        if signal.getsignal(number) is again:
            _tell_main(number)

    if number != signal.SIGTERM:
        return signal.SIG_IGN
    _thread.start_new_thread(end, ())
    return again


def status_of(error: KeyboardInterrupt) -> int:
    """Exit status as of a shell: 128 and the signal that the error is of; Ctrl-C's where it names none."""
    return 128 + next((number for number in ENDS if number in error.args), signal.SIGINT)


def _within_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTS):
            return True
        frame = frame.f_back
    return False


def _interrupt_soon(number: int) -> None:
    time.sleep(AGAIN_S)
    _tell_main(number)


def _tell_main(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(signal.Signals(number))
    else:  # that wakes the main thread, should it wait for something by now
        signal.pthread_kill(threading.main_thread().ident or 0, number)
