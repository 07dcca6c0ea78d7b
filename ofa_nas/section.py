"""Sections of TOML and JSON files: unknown keys and wrong values are refused with file and key path."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_nas.errors import OfaNasError
from ofa_nas.files import read_bytes
from ofa_nas.plugins import is_trusted, plugin_names, trusted_help

LARGEST = 1 << 20  # bytes of a TOML file


def read_toml(path: Path, *, error: type[OfaNasError]) -> "Section":
    """Read a whole TOML file as its root section.

    Raises:
        OfaNasError: In the class `error`, when the file is missing or not TOML.
    """
    text = read_bytes(path, error=error, most=LARGEST)
    try:
        content = tomllib.loads(text.decode("utf-8-sig"))  # editors of Windows begin files with a mark
    except (ValueError, RecursionError) as cause:  # ValueError: no TOML, no UTF-8, a number of 5000 digits
        raise error(f"{path}: not valid TOML: {cause!s:.200}") from cause
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
    error: type[OfaNasError]
    known: list[str] = field(default_factory=list)
    is_toml: bool = False

    def refusal(self, key: str, message: str) -> OfaNasError:
        """The error that a value deserves: `FILE: KEY.PATH: message`; to be raised."""
        dotted = f"{self.key}.{key[:80]}" if self.key else key[:80]
        return self.error(f"{self.path}: {dotted}: {message}")

    def _take(self, key: str, *, default: Any) -> Any:
        self.known.append(key)
        if key in self.content:
            return self.content[key]
        if default is None:
            raise self.refusal(key, "is missing")
        return default

    def has(self, key: str) -> bool:
        """Whether a key is there; it may be left out."""
        self.known.append(key)
        return key in self.content

    def lacks(self, key: str) -> bool:
        """Whether a key is missing, or null."""
        self.known.append(key)
        return self.content.get(key) is None

    def text(self, key: str, *, default: str | None = None, choices: tuple[str, ...] = ()) -> str:
        """A string, one of `choices` if there are any."""
        value = self._take(key, default=default)
        if not isinstance(value, str) or (choices and value not in choices):
            expected = f"one of {', '.join(choices)}" if choices else "a string"
            raise self.refusal(key, f"expected {expected}, got {shown(value)}")
        if "\0" in value:  # no path, no word of a command line and no name may hold it
            raise self.refusal(key, f"expected a string without the character NUL, got {shown(value)}")
        return value

    def plugin(self, key: str, kind: str, *, default: str | None = None) -> str:
        """The name of a plug-in of a kind, such as `space.blocks`; no code that the user does not trust."""
        value = self.text(key, default=default)
        if value not in plugin_names(kind) and not is_trusted(value):
            names = ", ".join(plugin_names(kind))
            raise self.refusal(key, f"expected one of {names}, {trusted_help()}; got {shown(value)}")
        return value

    def integer(
        self, key: str, *, default: int | None = None, minimum: int = 1, maximum: int = 100_000
    ) -> int:
        """An integer within bounds."""
        value = self._take(key, default=default)
        if not _is_integer(value) or not minimum <= value <= maximum:
            expected = f"an integer from {minimum} to {maximum}" if minimum < maximum else f"{minimum}"
            raise self.refusal(key, f"expected {expected}, got {shown(value)}")
        return int(value)

    def number(self, key: str, *, default: float | None = None, minimum: float, maximum: float) -> float:
        """A number within bounds."""
        value = self._take(key, default=default)
        if not (_is_integer(value) or isinstance(value, float)) or not minimum <= value <= maximum:
            raise self.refusal(key, f"expected a number from {minimum} to {maximum}, got {shown(value)}")
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        value = self._take(key, default=default)
        if not isinstance(value, bool):
            raise self.refusal(key, f"expected true or false, got {shown(value)}")
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
            raise self.refusal(
                key, f"expected rising integers from {minimum} to {maximum}, got {shown(value)}"
            )
        return tuple(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; what is missing or null is an empty one."""
        items = self._items(key, "strings")
        return tuple(map(items.text, items.content))

    def numbers(self, key: str, *, minimum: float, maximum: float) -> tuple[float, ...]:
        """A list of numbers within bounds; what is missing or null is an empty one."""
        items = self._items(key, "numbers")
        return tuple(items.number(place, minimum=minimum, maximum=maximum) for place in items.content)

    def _items(self, key: str, kind: str) -> "Section":
        value = [] if self.lacks(key) else self.content[key]
        if not isinstance(value, list):
            raise self.refusal(key, f"expected a list of {kind}, got {shown(value)}")
        return self._below(key, {str(place): item for place, item in enumerate(value)})

    def section(self, key: str) -> "Section":
        """A sub-table."""
        value = self._take(key, default=None)
        if not isinstance(value, dict):
            expected = f"a table [{key}]" if self.is_toml else "an object"
            raise self.refusal(key, f"expected {expected}, got {shown(value)}")
        return self._below(key, value)

    def sections(self, key: str) -> list["Section"]:
        """A non-empty array of tables."""
        value = self._take(key, default=None)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            expected = f"one table [[{key}]] or more" if self.is_toml else "a list of one object or more"
            raise self.refusal(key, f"expected {expected}")
        return [self._below(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def _below(self, key: str, content: dict[str, Any]) -> "Section":
        dotted = f"{self.key}.{key}" if self.key else key
        return Section(self.path, dotted, content, self.error, is_toml=self.is_toml)

    def close(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.content:
            if key not in self.known:
                raise self.refusal(
                    key, f"is not known here; known keys: {', '.join(sorted(set(self.known)))}"
                )


def shown(value: object) -> str:
    """The beginning of a value of a file, for a message."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python writes no number of more than 4300 digits, and TOML may hold one in hex
        return "a number too long to write"
    except RecursionError:
        return "a value nested too deeply to write"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
