"""Hand-designed architectures of a space, by name: what a searched one is compared with."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ofa_nas.errors import ArchitectureError, SpaceError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.toml_reader import Section

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_TAKEN = ("smallest", "middle", "largest")


@dataclass(frozen=True, slots=True)
class Point:
    """An architecture that somebody designed by hand.

    Attributes:
        architecture: The nearest one that the space holds.
        note: Where it differs from what it is named after; empty if nowhere.
    """

    architecture: Architecture
    note: str


def read_points(root: Section, parse: Callable[[str], Architecture]) -> dict[str, Point]:
    """Read `[points]`, a table of tables with `architecture` and `note`, which may be left out.

    Args:
        root: Of the space's file.
        parse: Reads an architecture, and refuses one of another space.

    Raises:
        SpaceError: A name is none, or an architecture is not in the space.
    """
    if not root.has("points"):
        return {}
    section, points = root.section("points"), {}
    for name in section.content:
        where = f"{root.path}: points.{name[:60]}"
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise SpaceError(
                f"{where}: expected a name of small letters, digits and _, other than {', '.join(_TAKEN)}"
            )
        point = section.section(name)
        text, note = point.text("architecture"), point.text("note", default="")
        point.close()
        try:
            points[name] = Point(parse(text), note)
        except ArchitectureError as error:
            raise SpaceError(f"{where}.architecture: {error}") from error
    return points
