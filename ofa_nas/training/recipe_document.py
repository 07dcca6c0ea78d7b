"""A recipe as cards and checkpoints keep it, in JSON."""

from dataclasses import asdict, fields
from typing import Any

from ofa_nas.training.recipe import Recipe

# Keys that cards and checkpoints did not always have: left out where they say nothing new.
_LATER = ("flip", "brightness", "saturation", "balance")
_DEFAULTS = {field.name: field.default for field in fields(Recipe) if field.name in _LATER}


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Every number of a recipe; later keys only where they are not what they were before they were keys."""
    return {
        name: value
        for name, value in asdict(recipe).items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }


def with_later_keys(document: object) -> object:
    """The document of a recipe, with what it leaves out; what is no such document stays what it is."""
    if not isinstance(document, dict):
        return document
    return {**document, **{name: value for name, value in _DEFAULTS.items() if name not in document}}
