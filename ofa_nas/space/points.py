"""Hand-designed architectures of a space, by name: what a searched one is compared with."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ofa_nas.errors import ArchitectureError
from ofa_nas.section import Section
from ofa_nas.space.architecture import Architecture

if TYPE_CHECKING:
    from ofa_nas.space.search_space import SearchSpace

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
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise section.refusal(
                name, f"expected a name of small letters, digits and _, other than {', '.join(_TAKEN)}"
            )
        point = section.section(name)
        text, note = point.text("architecture"), point.text("note", default="")
        point.close()
        try:
            points[name] = Point(parse(text), note)
        except ArchitectureError as error:
            raise point.refusal("architecture", str(error)) from error
    return points


def named_architecture(space: "SearchSpace", text: str) -> Architecture:
    """An architecture by its text, `smallest`, `middle` or `largest`, or a named point of the space.

    Raises:
        ArchitectureError: The text is no architecture of the space; the message lists the names there are.
    """
    named = {"smallest": space.smallest, "middle": space.middle, "largest": space.largest}
    named |= {name: point.architecture for name, point in space.points.items()}
    if text not in named and "/" not in text:
        raise ArchitectureError(
            f"architecture {text[:80]!r}: {space.name} has {', '.join(named)}; any other is given as its "
            f"text, such as {space.smallest}"
        )
    return named[text] if text in named else space.parse(text)
