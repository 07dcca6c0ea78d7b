"""Read TOML, and JSON, into records, refusing unknown keys and wrong types with file and key path."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_nas.errors import FileError


def read_toml(path: Path, *, error: type[FileError]) -> "Section":
    """Read a whole TOML file as its root section.

    Raises:
        FileError: In the class `error`, when the file is missing or not TOML.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror}") from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise error(f"{path}: not valid TOML: {cause}") from cause
    return Section(path, "", content, error, is_toml=True)


@dataclass(slots=True)
class Section:
    """One table of a TOML file, or object of JSON; every key must be taken, and `close` refuses the rest.

    Attributes:
        path: File, for messages.
        key: Key path of this table, empty at the root.
        content: What the file says.
        error: Class to raise.
        known: Keys asked for so far.
        is_toml: Whether the file is TOML, for messages.
    """

    path: Path
    key: str
    content: dict[str, Any]
    error: type[FileError]
    known: list[str] = field(default_factory=list)
    is_toml: bool = False

    def _fail(self, key: str, message: str) -> FileError:
        dotted = f"{self.key}.{key}" if self.key else key
        return self.error(f"{self.path}: {dotted}: {message}")

    def _take(self, key: str, *, default: Any) -> Any:
        self.known.append(key)
        if key in self.content:
            return self.content[key]
        if default is None:
            raise self._fail(key, "is missing")
        return default

    def has(self, key: str) -> bool:
        """Whether a key is there; it may be left out."""
        self.known.append(key)
        return key in self.content

    def text(self, key: str, *, default: str | None = None, choices: tuple[str, ...] = ()) -> str:
        """A string, one of `choices` if there are any."""
        value = self._take(key, default=default)
        if not isinstance(value, str) or (choices and value not in choices):
            expected = f"one of {', '.join(choices)}" if choices else "a string"
            raise self._fail(key, f"expected {expected}, got {value!r}")
        return value

    def integer(
        self, key: str, *, default: int | None = None, minimum: int = 1, maximum: int = 100_000
    ) -> int:
        """An integer within bounds."""
        value = self._take(key, default=default)
        if not _is_integer(value) or not minimum <= value <= maximum:
            expected = f"an integer from {minimum} to {maximum}" if minimum < maximum else f"{minimum}"
            raise self._fail(key, f"expected {expected}, got {value!r}")
        return int(value)

    def number(self, key: str, *, default: float | None = None, minimum: float, maximum: float) -> float:
        """A number within bounds."""
        value = self._take(key, default=default)
        if not (_is_integer(value) or isinstance(value, float)) or not minimum <= value <= maximum:
            raise self._fail(key, f"expected a number from {minimum} to {maximum}, got {value!r}")
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        value = self._take(key, default=default)
        if not isinstance(value, bool):
            raise self._fail(key, f"expected true or false, got {value!r}")
        return value

    def integers(self, key: str, *, minimum: int = 1, maximum: int = 10_000) -> tuple[int, ...]:
        """A non-empty list of rising integers, or `{from, to, step}`."""
        value = self._take(key, default=None)
        if isinstance(value, dict):
            span = self._below(key, value)
            start, stop = span.integer("from", maximum=maximum), span.integer("to", maximum=maximum)
            step = span.integer("step", maximum=maximum)
            span.close()
            value = list(range(start, stop + 1, step))
        good = isinstance(value, list) and value and all(_is_integer(item) for item in value)
        if not good or sorted(set(value)) != value or value[0] < minimum or value[-1] > maximum:
            raise self._fail(key, f"expected rising integers from {minimum} to {maximum}, got {value!r}")
        return tuple(value)

    def section(self, key: str) -> "Section":
        """A sub-table."""
        value = self._take(key, default=None)
        if not isinstance(value, dict):
            expected = f"a table [{key}]" if self.is_toml else "an object"
            raise self._fail(key, f"expected {expected}, got {value!r:.80}")
        return self._below(key, value)

    def sections(self, key: str) -> list["Section"]:
        """A non-empty array of tables."""
        value = self._take(key, default=None)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            expected = f"one table [[{key}]] or more" if self.is_toml else "a list of one object or more"
            raise self._fail(key, f"expected {expected}")
        return [self._below(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def _below(self, key: str, content: dict[str, Any]) -> "Section":
        dotted = f"{self.key}.{key}" if self.key else key
        return Section(self.path, dotted, content, self.error, is_toml=self.is_toml)

    def close(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.content:
            if key not in self.known:
                raise self._fail(key, f"is not known here; known keys: {', '.join(sorted(self.known))}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
