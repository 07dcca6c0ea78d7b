"""The schemas of `docs/schemas`: what every command's `--json` prints, key by key."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from ofa_nas.cli import COMMANDS

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
ACTIONS = {
    "data": ("dead-leaves", "noise"),
    "devices": ("list", "calibrate", "explain", "import"),
    "predictor": ("collect", "fit", "report"),
}
NAMES = sorted(
    f"{command.name}-{action}" if action else command.name
    for command in COMMANDS
    for action in ACTIONS.get(command.name, ("",))
)


def schema_name(words: Sequence[str]) -> str:
    """Name of the schema of a command line."""
    command, actions = words[0], ACTIONS.get(words[0], ())
    found = [word for word in words[1:] if word in actions]
    return f"{command}-{(found or actions)[0]}" if actions else command


def check_document(words: Sequence[str], document: object) -> None:
    """Hold a document against the schema of its command; unknown and missing keys are errors."""
    _compiled(schema_name(words))(document)


@cache
def _compiled(name: str) -> Callable[[object], Any]:
    validate: Callable[[object], Any] = fastjsonschema.compile(read_schema(name))
    return validate


def read_schema(name: str) -> dict[str, Any]:
    """A schema by its name."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return schema
