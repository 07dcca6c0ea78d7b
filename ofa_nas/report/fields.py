"""Fields of a JSON document as a report needs them: what may be missing or null, amounts, architectures."""

from collections.abc import Callable
from typing import TypeVar

from ofa_nas.errors import ArchitectureError
from ofa_nas.section import Section
from ofa_nas.space.architecture import Architecture

LARGEST = 1e18
Read = TypeVar("Read")


def each(section: Section, key: str, read: Callable[[Section], Read]) -> tuple[Read, ...]:
    """Read a list of objects; what is missing or null is an empty one."""
    return () if section.lacks(key) or section.content[key] == [] else tuple(map(read, section.sections(key)))


def optional(section: Section, key: str, read: Callable[[Section], Read]) -> Read | None:
    """Read an object that may be missing or null."""
    return None if section.lacks(key) else read(section.section(key))


def amount(section: Section, key: str) -> float:
    """A number from 0 up."""
    return section.number(key, minimum=0.0, maximum=LARGEST)


def amount_or_none(section: Section, key: str) -> float | None:
    """The same, where it may be missing or null."""
    return None if section.lacks(key) else amount(section, key)


def amounts(section: Section, key: str) -> dict[str, float]:
    """An object of such numbers."""
    found = section.section(key)
    return {name: amount(found, name) for name in found.content}


def difference(section: Section, key: str) -> float:
    """A number of either sign."""
    return section.number(key, minimum=-LARGEST, maximum=LARGEST)


def differences(section: Section, key: str) -> dict[str, float]:
    """An object of numbers of either sign."""
    found = section.section(key)
    return {name: difference(found, name) for name in found.content}


def architecture_text(section: Section) -> str:
    """The text of an architecture."""
    text = section.text("architecture")
    try:
        Architecture.parse(text)
    except ArchitectureError as error:
        raise section.refusal("architecture", str(error)) from error
    return text
