"""What long work tells of itself while it goes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Activity:
    """What is going on, for people, and how far: `done` of `total` steps, 0 of 0 where it is one step."""

    name: str
    done: int = 0
    total: int = 0
