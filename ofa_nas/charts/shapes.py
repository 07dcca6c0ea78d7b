"""What a drawing is made of, in px from its upper left corner."""

from collections.abc import Sequence
from dataclasses import dataclass

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `text` for those who point at it."""

    place: Place
    size: Place
    fill: str
    stroke: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Joined places."""

    places: Sequence[Place]
    colour: str
    width: float = 1.0
    is_dashed: bool = False
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A point; `kind` as `Series.marker` has it, `text` for those who point at it."""

    kind: str
    place: Place
    radius: float
    colour: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of words; `anchor` is `start`, `middle` or `end`; an upright one reads from below."""

    place: Place
    text: str
    colour: str
    anchor: str = "start"
    size: float = 12.0
    is_bold: bool = False
    is_upright: bool = False


Shape = Box | Line | Mark | Text
