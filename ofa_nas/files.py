"""Write files so that a reader finds the old one or the new one, never half; read them without a trap."""

import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ofa_nas.errors import FileError, OfaNasError

_OWN_FOLDER = "give a folder of your own"
ABANDONED_S = 6 * 3600.0  # a temporary file that nobody has written to for so long is swept away
_TOGETHER, _SUFFIX = ".ofa-nas-", ".tmp"
LARGEST = 256 << 20  # bytes of a file that is read as a whole, unless its reader allows more
_OPEN = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # a pipe must not be waited for
_HUGE = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{200}")  # a number that may be none any more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there takes its place when the block ends well.

    Raises:
        FileError: The folder cannot be made, or the file cannot be written.
    """
    if not path.name:
        raise FileError(f"{path}: cannot be written: it names no file")
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, f".{path.name}.")
        try:
            temporary.touch(
                mode=0o600, exist_ok=False
            )  # ours alone: a link that somebody laid there is refused
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(_mode(path))  # writers that make files private would hide them from others
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def moving_together(folder: Path) -> Iterator[Path]:
    """Give a temporary folder inside `folder`; its files move up together, when the block ends well.

    Raises:
        FileError: The folder cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, _TOGETHER)
        with tempfile.TemporaryDirectory(prefix=_TOGETHER, suffix=_SUFFIX, dir=folder) as name:
            temporary = Path(name)
            yield temporary
            for path in sorted(temporary.iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written to: {error.strerror or error}") from error


def check_writable(path: Path, *, option: str = "", suffix: str = "", advice: str = _OWN_FOLDER) -> None:
    """Refuse, before long work, a file that could not be written after it; nothing is made or changed.

    Args:
        path: File to write; folders above it may be missing.
        option: That it was given with, such as `--output`, for the message.
        suffix: That its name must have.
        advice: What helps where one may not write.

    Raises:
        FileError: Says what is wrong with it, and what would be right.
    """
    told = f"{option} {path}".strip()
    if not path.name or "\0" in str(path):
        raise FileError(f"{told}: cannot be written: it names no file")
    if suffix and path.suffix != suffix:
        raise FileError(f"{told}: cannot be written: expected the name of a {suffix} file")
    _check_folder(path.parent, told, advice)
    try:
        if path.is_dir():
            raise FileError(f"{told}: cannot be written: it is a folder; give the name of a file in it")
        if path.exists() and not path.is_file():  # such as /dev/null, which a rename would replace
            raise FileError(f"{told}: cannot be written: it is no regular file; give another name")
        with suppress(FileNotFoundError):
            _temporary(path).lstat()  # its name may be too long
    except OSError as error:
        raise FileError(f"{told}: cannot be written: {error.strerror or error}; give another name") from error


def check_folder_writable(folder: Path, *, option: str = "") -> None:
    """Refuse a folder in which no file could be written, or that cannot be made; nothing is made.

    Raises:
        FileError: Says what is wrong with it, and what would be right.
    """
    told = f"{option} {folder}".strip()
    _check_folder(folder, told, _OWN_FOLDER)
    try:
        with suppress(FileNotFoundError):
            folder.lstat()  # its name may be too long
    except OSError as error:
        raise FileError(f"{told}: cannot be written: {error.strerror}; give another name") from error


def _check_folder(folder: Path, told: str, advice: str) -> None:
    nearest = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    if not nearest.is_dir():
        raise FileError(f"{told}: cannot be written: {nearest} is no folder; give a place below a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise FileError(f"{told}: cannot be written: no permission to write into {nearest}; {advice}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file at once."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document, indented, ending in a newline."""
    write_bytes(path, (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def open_regular(path: Path, *, error: type[OfaNasError], most: int = 1 << 62) -> BinaryIO:
    """Open a file of at most so many bytes for reading: no folder, no pipe that may never answer, no device.

    Raises:
        OfaNasError: In the class `error`, when it is missing, something else or larger, or may not be read.
    """
    try:
        file = os.fdopen(os.open(path, _OPEN), "rb")
    except (OSError, ValueError) as cause:  # a name with a zero byte is a ValueError
        raise error(f"{path}: cannot be read: {getattr(cause, 'strerror', None) or cause}") from cause
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return file
    file.close()
    reason = f"it is larger than any such file, {most >> 20} MiB"
    if not stat.S_ISREG(status.st_mode):
        reason = os.strerror(errno.EISDIR) if stat.S_ISDIR(status.st_mode) else "it is no regular file"
    raise error(f"{path}: cannot be read: {reason}")


def read_bytes(path: Path, *, error: type[OfaNasError], most: int = LARGEST) -> bytes:
    """Read a whole regular file of at most so many bytes.

    Raises:
        OfaNasError: In the class `error`, as `open_regular` does.
    """
    with open_regular(path, error=error, most=most) as file:
        try:
            return file.read(most)  # it may grow meanwhile, or be one of those in /proc, which have no size
        except OSError as cause:
            raise error(f"{path}: cannot be read: {cause.strerror}") from cause


def read_json(path: Path, *, error: type[OfaNasError]) -> dict[str, Any]:
    """Read a JSON object of finite numbers and whole letters, which can be written again.

    Raises:
        OfaNasError: In the class `error`, when the file is missing or holds no such object.
    """
    content = read_bytes(path, error=error)
    try:
        document = parse_json(content)
    except ValueError as cause:
        raise error(f"{path}: not valid JSON: {cause!s:.200}") from cause
    if not isinstance(document, dict):
        raise error(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def parse_json(content: bytes | str) -> Any:
    """Parse JSON strictly: Python would also take NaN, infinities, halves of letters, and one key twice.

    Raises:
        ValueError: It is none, or nested too deeply.
    """
    text = content if isinstance(content, str) else content.decode()
    try:
        document = json.loads(
            text,
            parse_constant=_refuse,
            parse_float=_finite if _HUGE.search(text) else None,
            object_pairs_hook=_unique,
        )
    except RecursionError as cause:
        raise ValueError("nested too deeply") from cause
    if "\\ud" in text or "\\uD" in text:
        json.dumps(document, ensure_ascii=False).encode()  # a half of a letter cannot be written
    return document


def check_version(
    document: Mapping[str, Any], key: str, *, reads: int, where: object, error: type[OfaNasError], again: str
) -> None:
    """Refuse a file whose format has another version, and say which of the two is the older.

    Args:
        document: Of the file.
        key: That holds the version.
        reads: The version that is read.
        where: File or address, for the message.
        error: Class to raise.
        again: How an older file is made anew.

    Raises:
        OfaNasError: In the class `error`.
    """
    found = document.get(key)
    if type(found) is not int or found < 0:
        raise error(
            f"{where}: {key}: expected {reads}, got {'nothing' if found is None else f'{found!r:.80}'}"
        )
    if found != reads:
        age, advice = ("a newer", "update ofa-nas") if found > reads else ("an older", again)
        raise error(f"{where}: {key} {found!s:.20}: made by {age} ofa-nas; this one reads {reads}: {advice}")


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:80]!r} stands there twice")
    return document


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text[:40])


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what processes that were killed left behind, once nobody has written to it for so long."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)):
                continue
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < ABANDONED_S:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced; of a new one those that the user gives."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
