"""The standard streams as they may be found: closed, full, left by their reader, short of letters."""

import io
import os
import sys
from contextlib import suppress

_NAMES = ("stdin", "stdout", "stderr")  # by their descriptors


class Notes(io.TextIOWrapper):
    """A stderr whose lines are lost where it takes none: no note is worth the work that it tells of."""

    def write(self, text: str, /) -> int:
        """Write what can be written."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what can be handed on."""
        with suppress(OSError):
            super().flush()


def prepare_streams() -> None:
    """Make something of each standard stream, before a file is opened in the place of one that is closed.

    A closed one leads nowhere, a letter that one cannot encode is spelt out, and a stderr that takes nothing
    ends no work.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            _lead_nowhere(number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        raw = open(sys.stderr.fileno(), "wb", closefd=False)  # noqa: SIM115
        sys.stderr = Notes(raw, sys.stderr.encoding, "backslashreplace", line_buffering=True)


def _lead_nowhere(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(nowhere, number)
            os.close(nowhere)


def drop_stdout() -> None:
    """Keep the interpreter from flushing into a stream that takes no more."""
    with suppress(OSError, ValueError):  # ValueError: a stream of a test's own has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
