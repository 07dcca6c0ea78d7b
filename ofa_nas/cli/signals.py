"""Signals that ask work to end, so that it can end well."""

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

IMPORTS = "<frozen importlib"  # how the names of the import system's own code objects begin
AGAIN_S = 0.02


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM instead of dying of it in the middle of a step."""
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def imports_finished_first() -> Iterator[None]:
    """Put off a Ctrl-C that comes within an import until the import is done.

    A compiled module (onnx's, torch's) that is interrupted while it registers itself ends the process with a
    C++ traceback. Elsewhere, in another thread, and where somebody else handles Ctrl-C, nothing changes.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, at once or when the import within which the signal came is done."""
    if _within_import(frame):
        _thread.start_new_thread(_interrupt_soon, ())  # without a lock that the main thread may hold
    else:
        signal.default_int_handler(number, frame)


def _within_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTS):
            return True
        frame = frame.f_back
    return False


def _interrupt_soon() -> None:
    time.sleep(AGAIN_S)
    _thread.interrupt_main()
