"""Ctrl-C within an import waits for its end: compiled modules that are interrupted abort the process."""

import _thread
import signal
import sys
import threading
from pathlib import Path

import pytest

from ofa_nas.cli.signals import imports_finished_first

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
    with imports_finished_first():
        __import__(name)
        threading.Event().wait(30)


def interrupt_and_wait() -> None:
    with imports_finished_first():
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
        with imports_finished_first():
            _thread.interrupt_main()
            for _ in range(3):
                pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT]


def test_another_thread_is_left_alone() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with imports_finished_first():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
