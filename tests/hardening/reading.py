"""What a reader of files is, and what is wrong with how it read one."""

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ofa_nas.errors import OfaNasError
from tests.hardening.mutations import spoil_bytes, spoil_document, to_json

LONGEST = 1500  # characters of a message that is still read
READ, REFUSED = "read", "refused"
Document = Any


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: Of it, as `SAMPLES` has it.
        file: Its name; what lies beside it is there too.
        read: Reads a path, and uses all that it got as commands do.
        parse: From bytes to a document whose places can be spoilt; None where bytes alone are.
        build: The way back; it mends digests, so that what is behind them is reached.
    """

    name: str
    file: str
    read: Callable[[Path], object]
    parse: Callable[[bytes], Document] | None = None
    build: Callable[[Document], bytes] = to_json

    def spoilt(self, content: bytes, rng: Random) -> bytes:
        """A content that is wrong in some way, or just unusual."""
        if self.parse is None or rng.random() < 0.25:
            return spoil_bytes(content, rng)
        document = spoil_document(self.parse(content), rng)
        try:
            return self.build(document)
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError, RuntimeError):
            return spoil_bytes(content, rng)  # not a document of this kind any more


def fault_of(reader: Reader, path: Path) -> str | None:
    """What is wrong with how a file was read; None where it was read, or refused as it should be."""
    outcome = outcome_of(reader, path)
    return None if outcome in (READ, REFUSED) else outcome


def outcome_of(reader: Reader, path: Path) -> str:
    """`READ`, `REFUSED`, or what is wrong with how the file was read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks of libraries on metadata that they skip
            reader.read(path)
    except OfaNasError as error:
        return _fault_of_message(str(error), path) or REFUSED
    except MemoryError:
        return "MemoryError"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        where = traceback.extract_tb(error.__traceback__)
        own = [
            f"{Path(frame.filename).name}:{frame.lineno}" for frame in where if "ofa_nas/" in frame.filename
        ]
        return f"{type(error).__name__}: {error!s:.200} at {' '.join(own[-3:])}"
    return READ


def _fault_of_message(message: str, path: Path) -> str | None:
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters: {message[:300]}"
    if path.name not in message and path.parent.name not in message:
        return f"a message that names no file: {message}"
    if "internal error" in message:
        return message
    return None
