"""An append-only store of measured accuracies, which several processes may share."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ofa_nas.accuracy import MOST_IMAGES, AccuracySample
from ofa_nas.errors import ArchitectureError, DataError
from ofa_nas.files import parse_json, read_bytes
from ofa_nas.locks import lock, try_lock_byte
from ofa_nas.space.architecture import Architecture


class SampleStore:
    """A JSON-lines file that only grows; a run that was killed leaves a torn last line at most.

    Such a line is not read, and is cut off by the next append. Several processes may append to one store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, sample: AccuracySample) -> None:
        """Add one sample; it is on the disk when this returns.

        Raises:
            DataError: The file cannot be written, or the sample is none that could be read again.
        """
        _checked(asdict(sample), str(self.path))
        line = json.dumps(asdict(sample), ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                lock(file.fileno())
                _mend_tail(self.path, file.fileno())
                os.write(file.fileno(), line)
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error

    @contextmanager
    def claim(self, sample: AccuracySample) -> Iterator[bool]:
        """Whether this process may do an evaluation that nobody has stored, nor is doing anywhere else.

        A claim ends with the block, and with its process: what was being evaluated by one that was killed can
        be claimed again.

        Args:
            sample: What is to be evaluated; what it found does not matter.

        Raises:
            DataError: The claims cannot be written.
        """
        digest = hashlib.sha256(str(sample.unmeasured).encode()).digest()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.with_name(f".{self.path.name}.claims").open("ab")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be claimed: {error.strerror}") from error
        with file:
            is_mine = try_lock_byte(file.fileno(), int.from_bytes(digest[:7]))
            # Only now: it may have been stored since anybody looked.
            yield is_mine and sample.arch not in self.evaluated(sample)

    def evaluated(self, sample: AccuracySample) -> list[str]:
        """Texts of the architectures that are stored from the same weights, images and calibration."""
        return [one.arch for one in self.read() if one.is_alike(sample)]

    def read(self) -> list[AccuracySample]:
        """Every sample, in the order first stored; of an evaluation that was stored again, the latest.

        Raises:
            DataError: A line is no sample; the message names file and line.
        """
        content = read_bytes(self.path, error=DataError) if self.path.exists() else b""
        *lines, tail = content.split(b"\n")
        samples = [_read_line(line, f"{self.path}:{number}") for number, line in enumerate(lines, start=1)]
        if _is_json(tail):
            samples.append(_read_line(tail, f"{self.path}:{len(lines) + 1}"))
        return list({sample.unmeasured: sample for sample in samples}.values())


def _mend_tail(path: Path, descriptor: int) -> None:
    """End a whole last line that lacks its newline; cut off a torn one."""
    content = read_bytes(path, error=DataError)
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    if _is_json(tail):
        os.write(descriptor, b"\n")
    elif tail:
        os.ftruncate(descriptor, end)


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def _read_line(line: bytes, where: str) -> AccuracySample:
    try:
        return _checked(parse_json(line), where)
    except ValueError as error:
        raise DataError(f"{where}: not a JSON line; delete the line or restore the file") from error


def _checked(content: Any, where: str) -> AccuracySample:
    known = {field.name: field.type for field in fields(AccuracySample)}
    if not isinstance(content, dict) or not {"arch", "correct", "images", "split"} <= set(content) <= set(
        known
    ):
        raise DataError(f"{where}: expected an object with the keys {', '.join(known)}")
    for key, value in content.items():
        if type(value) is not known[key]:
            raise DataError(f"{where}: {key}: expected {_type_name(known[key])}, got {value!r:.80}")
    sample = AccuracySample(**content)
    if not max(0, sample.correct_even) <= sample.correct <= sample.images <= MOST_IMAGES or sample.images < 1:
        raise DataError(f"{where}: {sample.correct!s:.20} of {sample.images!s:.20} images cannot be right")
    if not all(0.0 <= half <= 1.0 for half in sample.halves or ()):
        told = f"{sample.correct_even} of {sample.correct}"
        raise DataError(f"{where}: correct_even: {told} cannot be those among every other image")
    try:
        Architecture.parse(sample.arch)
    except ArchitectureError as error:
        raise DataError(f"{where}: {error}") from error
    return sample


def _type_name(kind: object) -> str:
    return "an integer" if kind is int else "a string"
